"""What went wrong, by stage of processing: views over failed work items and dead letters.

They are the streams `processing.errors.*` of the plan. Nobody has to write to them: what could not
be processed is a work item that says so, and what could not become a row is a dead letter.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from am_assets.schemas.postgres import READER, SCHEMA


@dataclass(frozen=True)
class Stage:
    """Which enrichments' failed items, and which raw streams' dead letters, belong to a stage."""

    enrichments: tuple[str, ...] = ()
    raw_streams: tuple[str, ...] = ()


STAGES: Mapping[str, Stage] = {
    "vad": Stage(("media_audio_vad_filtered",), ("device.audio.raw",)),
    "stt": Stage(("media_text_transcribed_words",)),
    "audio_classifier": Stage(("media_audio_environment_classified",)),
    "georegion": Stage(("location_georegion_detected",), ("device.sensor.gps.raw",)),
    "geocoding": Stage(("location_address_geocoded",)),
    "business_match": Stage(("location_business_identified",)),
    "app_lifecycle": Stage(("os_events_app_lifecycle_enriched",), ("os.events.app_lifecycle.raw",)),
    "accelerometer": Stage(
        ("device_sensor_accelerometer_windowed",), ("device.sensor.accelerometer.raw",)
    ),
    "activity_classification": Stage(("motion_classification_activity",)),
    "image_preprocessing": Stage(
        ("media_image_screenshot_preprocessed",), ("device.image.screenshot.raw",)
    ),
    "ocr": Stage(("media_text_ocr_extracted", "media_text_ocr_cleaned")),
    "email_fetch": Stage(
        ("external_email_parsed",), ("external.email.events.raw", "external.email.raw")
    ),
    "embedding": Stage(
        (
            "moments",
            "external_email_embedded",
            "external_calendar_embedded",
            "external_hackernews_embedded",
        )
    ),
    "calendar_fetch": Stage(
        ("external_calendar_enriched",), ("external.calendar.events.raw", "external.calendar.raw")
    ),
    "hn_scrape": Stage(("external_hackernews_content_fetched",), ("external.hackernews.liked",)),
    "vision_preprocessing": Stage(
        ("media_image_camera_preprocessed",), ("device.image.camera.raw",)
    ),
    "object_detection": Stage(("media_image_objects_detected", "media_image_objects_hashed")),
    "face_detection": Stage(("media_image_faces_detected",)),
}


def view_of(stage: str) -> str:
    """The view's name."""
    return f"{SCHEMA}.processing_errors_{stage}"


def error_views() -> tuple[str, ...]:
    """Statements that make all of them; each shows a reader that reader's rows only."""
    return tuple(statement for stage in STAGES for statement in _view(stage))


def _view(stage: str) -> tuple[str, ...]:
    name = view_of(stage)
    return (
        f"DROP VIEW IF EXISTS {name}",
        f"CREATE VIEW {name} WITH (security_invoker = true) AS {_select(STAGES[stage])}",
        f"COMMENT ON VIEW {name} IS 'What failed in the stage {stage}, and why.'",
        f"GRANT SELECT ON {name} TO {READER}",
    )


def _select(stage: Stage) -> str:
    return (
        "SELECT user_id, device_id, ts AS recorded_at, 'failed' AS error_type, "
        "reason AS error_message, source_stream AS original_topic, "
        "item_id AS original_message_id, attempts - 1 AS retry_count "
        f"FROM {SCHEMA}.work_item WHERE state = 'failed' "
        f"AND enrichment = ANY({_array(stage.enrichments)}) UNION ALL "
        "SELECT user_id, device_id, received_at, code, reason, stream, dead_letter_id, "
        f"times_seen - 1 FROM {SCHEMA}.dead_letter WHERE state = 'open' "
        f"AND stream = ANY({_array(stage.raw_streams)})"
    )


def _array(names: tuple[str, ...]) -> str:
    quoted = ", ".join(f"'{name}'" for name in names)
    return f"ARRAY[{quoted}]::text[]"
