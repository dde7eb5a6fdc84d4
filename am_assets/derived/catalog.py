"""The one list of all enrichments: an enrichment stands after everything that it reads."""

from collections.abc import Sequence

from am_assets.derived import (
    device_sensor_accelerometer_windowed,
    media_audio_vad_filtered,
    media_text_ocr_cleaned,
    media_text_ocr_extracted,
    media_text_transcribed_words,
    moments,
    motion_classification_activity,
)
from am_assets.derived.enrichment import Enrichment


class UnknownEnrichmentError(KeyError):
    """No enrichment has this name."""

    def __str__(self) -> str:
        """Say which there are, without KeyError's quotes."""
        known = ", ".join(sorted(enrichment.name for enrichment in ENRICHMENTS))
        return f"there is no enrichment called {self.args[0]!r}; there are {known}"


ENRICHMENTS: tuple[Enrichment, ...] = (
    media_audio_vad_filtered.ENRICHMENT,
    media_text_transcribed_words.ENRICHMENT,
    media_text_ocr_extracted.ENRICHMENT,
    media_text_ocr_cleaned.ENRICHMENT,
    device_sensor_accelerometer_windowed.ENRICHMENT,
    motion_classification_activity.ENRICHMENT,
    moments.ENRICHMENT,
)


def find_enrichment(name: str) -> Enrichment:
    """By table or stream name. Raises: UnknownEnrichmentError."""
    for enrichment in ENRICHMENTS:
        if enrichment.name == name.replace(".", "_"):
            return enrichment
    raise UnknownEnrichmentError(name)


def downstream_of(
    stream: str, enrichments: Sequence[Enrichment] = ENRICHMENTS
) -> tuple[Enrichment, ...]:
    """All that reads this stream, directly or through others, in an order that works."""
    reached = {stream}
    found: list[Enrichment] = []
    for enrichment in enrichments:
        if reached.isdisjoint(source.name for source in enrichment.sources):
            continue
        found.append(enrichment)
        if enrichment.output:
            reached.add(enrichment.output.name)
    return tuple(found)
