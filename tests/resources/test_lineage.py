"""The way back from what a model said to what a device sent."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from am_assets.streams.audio import AUDIO, SPEECH
from am_assets.streams.motion import ACTIVITY, WINDOWS
from am_assets.streams.registry import REGISTRY, UnknownStreamError
from am_assets.streams.text import TRANSCRIPT
from resources.connections import Connections
from resources.lineage import MAX_STEPS, Source, trace
from resources.whole import WholeSnapshot, WholeStore
from tests.resources.rows import insert, lineage

NOON = datetime(2031, 6, 4, 12, tzinfo=UTC)
ANN, AMY = "lineage ann", "lineage amy"
CHUNK, SPEAKING, TEXT = UUID(int=1), UUID(int=2), UUID(int=3)
KEY = f"blobs/{ANN}/device.audio.raw/2031-06-04/abc"


@pytest.fixture(scope="module")
def ann(connections: Connections) -> Iterator[WholeSnapshot]:
    chunk = {"user_id": ANN, "ts": NOON, "event_id": CHUNK, "blob_key": KEY}
    insert(connections.database_url, AUDIO, [chunk, {**chunk, "user_id": AMY, "blob_key": "other"}])
    speech = {"user_id": ANN, "ts": NOON + timedelta(seconds=1), "event_id": SPEAKING}
    insert(connections.database_url, SPEECH, [{**speech, **lineage(AUDIO, CHUNK, blob_key=KEY)}])
    text = {"user_id": ANN, "ts": NOON + timedelta(seconds=1), "event_id": TEXT, "text": "hello"}
    made = lineage(SPEECH, SPEAKING, blob_key=KEY, confidence=0.9, model_id="whisper")
    insert(connections.database_url, TRANSCRIPT, [{**text, **made}])
    with WholeStore(connections).reader(ANN) as connection:
        yield connection


def test_a_transcript_leads_back_to_the_sound_that_was_sent(
    ann: WholeSnapshot,
) -> None:
    text, speech, sound = trace(ann, REGISTRY, Source(TRANSCRIPT.name, TEXT), near=NOON)
    assert text.values is not None
    assert text.values["text"] == "hello"
    assert text.made is not None
    assert (text.made.model_id, text.made.confidence) == ("whisper", 0.9)
    assert (speech.stream, speech.event_id) == (SPEECH.name, str(SPEAKING))
    assert (sound.stream, sound.made, sound.blob_key) == (AUDIO.name, None, KEY)
    assert sound.values is not None
    assert "user_id" not in sound.values
    assert "blob_sha256" in sound.values


def test_what_is_not_there_is_named_and_ends_the_way(connections: Connections) -> None:
    hour, window = uuid4(), uuid4()
    row = {"user_id": AMY, "ts": NOON, "event_id": window, "activity": "walking"}
    insert(connections.database_url, ACTIVITY, [{**row, **lineage(WINDOWS, hour)}])
    with WholeStore(connections).reader(AMY) as amy:
        activity, gone = trace(amy, REGISTRY, Source(ACTIVITY.name, window), near=NOON)
    assert activity.ts == NOON
    assert (gone.stream, gone.event_id, gone.ts) == (WINDOWS.name, str(hour), None)


def test_another_users_row_of_the_same_id_is_not_there(connections: Connections) -> None:
    with WholeStore(connections).reader(AMY) as amy:
        (text,) = trace(amy, REGISTRY, Source(TRANSCRIPT.name, TEXT), near=NOON)
        (sound,) = trace(amy, REGISTRY, Source(AUDIO.name, CHUNK), near=NOON)
    assert text.ts is None
    assert sound.blob_key == "other"


def test_a_circle_ends(connections: Connections) -> None:
    own = uuid4()
    row = {"user_id": AMY, "ts": NOON, "event_id": own}
    insert(connections.database_url, SPEECH, [{**row, **lineage(SPEECH, own)}])
    with WholeStore(connections).reader(AMY) as amy:
        steps = trace(amy, REGISTRY, Source(SPEECH.name, own), near=NOON)
    assert len(steps) == MAX_STEPS


def test_a_stream_that_is_not_declared_is_an_error(ann: WholeSnapshot) -> None:
    with pytest.raises(UnknownStreamError):
        trace(ann, REGISTRY, Source("no.such.stream.raw", TEXT), near=NOON)
