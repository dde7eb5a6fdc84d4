"""Omi's webhooks: sound as it is heard, live transcripts, whole conversations, day summaries.

Sound is bare PCM (16 bits, one channel) without a time: its end is its arrival. A live segment's
times count from the session's begin, so that it too is as old as its arrival.
"""

import base64
import io
import wave
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from ingest_api.adapters.adapter import (
    Adapter,
    AppRequest,
    Door,
    Event,
    Item,
    Landed,
    Reply,
    Setting,
    json_reply,
    unread,
)
from ingest_api.adapters.position import given
from ingest_api.adapters.readings import GENERIC, reading
from ingest_api.adapters.times import utc
from ingest_api.adapters.units import number
from ingest_api.bodies import read_json
from ingest_api.errors import MalformedBodyError, Reason, RejectedError

AUDIO = "device.audio.raw"
SAMPLE_BYTES = 2
RATES_HZ = range(4_000, 192_001)


def read(request: AppRequest) -> list[Item]:
    """What a webhook brings, told apart by its content.

    Raises: MalformedBodyError; RejectedError for sound without a rate.
    """
    if request.media_type == "application/octet-stream":
        return [_sound(request)] if request.body else []
    content = read_json(request.body)
    if isinstance(content, list):
        return [_segment(segment, request.query, request) for segment in content]
    if not isinstance(content, dict):
        raise MalformedBodyError("the body must be an object or an array of segments")
    if isinstance(content.get("segments"), list):
        about = {**request.query, **{k: v for k, v in content.items() if k != "segments"}}
        return [_segment(segment, about, request) for segment in content["segments"]]
    return [_record(content, request)]


def reply(_request: AppRequest, _landed: Landed) -> Reply:
    """Soon, and without a message: one would be shown to the wearer."""
    return json_reply({})


def _sound(request: AppRequest) -> Event:
    """The bytes as a WAV file; half a sample at the end is no sound."""
    rate_hz = number(request.query.get("sample_rate"))
    if not isinstance(rate_hz, int) or rate_hz not in RATES_HZ:
        raise RejectedError(Reason.BAD_VALUE, "sample_rate must be in the query, in Hz")
    frame_count = len(request.body) // SAMPLE_BYTES
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, SAMPLE_BYTES, rate_hz, frame_count, "NONE", "not compressed"))
        sound.writeframes(request.body[: frame_count * SAMPLE_BYTES])
    columns = {
        "recorded_at": request.received_at - timedelta(seconds=frame_count / rate_hz),
        "data": base64.b64encode(file.getvalue()).decode(),
        "is_time_of_arrival": True,
    }
    return Event(stream=AUDIO, columns=columns, sent=request.query)


def _segment(segment: Any, about: Mapping[str, Any], request: AppRequest) -> Item:
    """A piece of a live transcript; session, begin and words tell it from others."""
    if not isinstance(segment, dict):
        return unread(segment, code=Reason.NOT_AN_OBJECT, reason="a segment must be an object")
    session = given(about, "session_id")
    event = reading(
        "omi_transcript_segment",
        segment.get("text"),
        of={"recorded_at": request.received_at.isoformat()},
        readings=segment,
        sent={**about, "is_time_of_arrival": True},
    )
    sample = f"{session} {given(segment, 'start')}"
    return replace(event, columns={**event.columns, "sample": sample})


def _record(content: Mapping[str, Any], request: AppRequest) -> Event:
    """A conversation or a day's summary, whole."""
    is_day = "summary_json" in content
    when = utc(given(content, "started_at", "created_at"))
    return reading(
        "omi_day_summary" if is_day else "omi_conversation",
        None,
        of={"recorded_at": request.received_at.isoformat() if when is None else when},
        readings=content,
        sent={**request.query, "is_time_of_arrival": True if when is None else None},
    )


def _settings(door: Door) -> list[Setting]:
    url = f"{door.base}/omi/{door.token}"
    return [
        Setting(name="Developer: conversation webhook", value=url),
        Setting(name="Developer: real-time transcript webhook", value=url),
        Setting(name="Developer: audio bytes webhook", value=f"{url},10"),
        Setting(name="Developer: day summary webhook", value=url),
    ]


ADAPTER = Adapter(
    name="omi",
    app="Omi",
    systems="Android, iOS",
    streams=(AUDIO, GENERIC),
    read=read,
    reply=reply,
    settings=_settings,
)
