"""That the documents tell of every stream."""

from am_assets.schemas.docs import catalogue, stream_kind, summary_table
from am_assets.streams.registry import REGISTRY


def test_the_catalogue_has_one_line_a_stream_and_counts_what_is_planned() -> None:
    text = catalogue(REGISTRY, readers={"device.audio.raw": ["media_audio_vad_filtered"]})
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    assert [line.split("`")[1] for line in lines].count("device.audio.raw") == 1
    assert len(lines) == len(REGISTRY)
    planned = sum(stream_kind(stream) == "planned" for stream in REGISTRY.values())
    assert text.startswith(f"{len(REGISTRY)} streams: ")
    assert f"{planned} planned." in text
    assert len({line.count("|") for line in lines}) == 1


def test_the_summary_counts_every_stream_once() -> None:
    rows = [line.split("|")[1:-1] for line in summary_table(REGISTRY).splitlines()[2:]]
    assert sum(int(count) for row in rows for count in row[1:4]) == len(REGISTRY)
    assert len({row[0] for row in rows}) == len(rows)
