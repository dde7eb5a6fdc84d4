import json
import wave
from base64 import b64decode
from collections import Counter
from datetime import UTC, date, timedelta
from io import BytesIO
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.demo import media
from infra.demo.day import ZONE, real_day
from infra.demo.media import FOLDER
from infra.demo.message import ACCELEROMETER, AUDIO, GPS, HEART_RATE, REST_PATHS, SCREENSHOT
from infra.demo.send import BATCH, plan
from infra.demo.truth import DemoDay

DAY = date(2026, 11, 20)
DAYS = st.dates(min_value=date(2015, 1, 1), max_value=date(2040, 12, 31))
# The streams a demo day must have.
STREAMS = set(REST_PATHS)


@pytest.fixture(scope="module")
def demo() -> DemoDay:
    return real_day(DAY, seed=7)


@settings(max_examples=8, deadline=None)
@given(DAYS, st.integers(0, 1000))
def test_the_same_day_and_seed_give_the_same_messages_and_truth(day: date, seed: int) -> None:
    assert real_day(day, seed=seed) == real_day(day, seed=seed)


@settings(max_examples=15, deadline=None)
@given(DAYS | st.sampled_from([date(2026, 3, 29), date(2026, 10, 25)]))
def test_every_message_lies_in_the_day_in_utc_and_by_the_owners_clock(day: date) -> None:
    times = [message.ts for message in real_day(day, seed=1).messages]
    assert times == sorted(times)
    assert {ts.astimezone(UTC).date() for ts in times} == {day}
    assert {ts.astimezone(ZONE).date() for ts in times} == {day}


def test_another_seed_gives_other_ids_but_the_same_recordings(demo: DemoDay) -> None:
    other = real_day(DAY, seed=8)
    ids = {message.message_id for message in demo.messages}
    assert ids.isdisjoint(message.message_id for message in other.messages)
    assert [(m.ts, m.body["x"]) for m in demo.messages if m.stream == ACCELEROMETER] == [
        (m.ts, m.body["x"]) for m in other.messages if m.stream == ACCELEROMETER
    ]


def test_message_ids_are_unique_uuids(demo: DemoDay) -> None:
    ids = [message.message_id for message in demo.messages]
    assert len(set(ids)) == len(ids)
    assert all(UUID(one).version == 5 for one in ids)


def test_every_body_is_json_with_the_envelope_its_message_says(demo: DemoDay) -> None:
    for message in demo.messages:
        body = json.loads(json.dumps(message.body))
        assert body["device_id"] == message.device_id
        assert "+01:00" in body["recorded_at"]
        assert None not in body.values()


def test_all_ten_streams_come_from_three_devices(demo: DemoDay) -> None:
    assert set(demo.truth.counts) == STREAMS
    assert len({message.device_id for message in demo.messages}) == 3


def test_counts_and_generated_ids_say_what_was_written(demo: DemoDay) -> None:
    assert demo.truth.counts == Counter(message.stream for message in demo.messages)
    generated = {m.message_id for m in demo.messages if m.is_generated}
    assert demo.truth.generated == generated
    assert 0 < len(generated) < len(demo.messages) / 5


def test_the_day_is_small_enough_for_two_cores(demo: DemoDay) -> None:
    sounds = [m.body["duration_ms"] for m in demo.messages if m.stream == AUDIO]
    assert sum(sounds) <= 150_000
    assert demo.truth.counts[SCREENSHOT] <= 5
    assert len(demo.truth.photos) <= 6
    assert sum(len(requests) for requests in plan(demo.messages)) < 1500


def test_shipped_media_stay_under_eight_megabytes() -> None:
    sizes = [path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(sizes) < 8_000_000


def test_every_door_kind_is_used_and_no_batch_is_too_big(demo: DemoDay) -> None:
    work = [request for requests in plan(demo.messages) for request in requests]
    assert {request.door.kind for request in work} == {"rest", "batch", "socket"}
    assert max(len(request.messages) for request in work) <= BATCH
    assert {m.stream for m in demo.messages if m.door.kind == "batch"} == {
        GPS,
        ACCELEROMETER,
        HEART_RATE,
    }
    assert sum(len(request.messages) for request in work) == len(demo.messages)


def test_each_chunk_of_sound_is_either_spoken_or_quiet(demo: DemoDay) -> None:
    spoken = {item.message_id for item in demo.truth.spoken}
    quiet = set(demo.truth.quiet_ids)
    assert spoken | quiet == {m.message_id for m in demo.messages if m.stream == AUDIO}
    assert not spoken & quiet
    assert len(quiet) == 3


def test_a_spoken_sentence_lasts_as_long_as_its_wav(demo: DemoDay) -> None:
    bodies = {m.message_id: m.body for m in demo.messages if m.stream == AUDIO}
    for item in demo.truth.spoken:
        body = bodies[item.message_id]
        with wave.open(BytesIO(b64decode(body["data"]))) as sound:
            seconds = sound.getnframes() / sound.getframerate()
            assert sound.getframerate() == body["sample_rate"]
        assert abs((item.end - item.start).total_seconds() - seconds) < 0.001


def test_chunks_on_the_socket_do_not_overlap(demo: DemoDay) -> None:
    on_socket = {m.message_id for m in demo.messages if m.door.kind == "socket"}
    spans = [(s.start, s.end) for s in demo.truth.spoken if s.message_id in on_socket]
    assert len(spans) == 5
    assert all(end == start for (_, end), (start, _) in pairwise(spans))


def test_screens_answer_with_the_text_of_their_page(demo: DemoDay) -> None:
    assert {item.page for item in demo.truth.screens} == {
        "mail", "article", "table", "terminal", "chat"
    }  # fmt: skip
    assert all(len("".join(item.lines)) > 300 for item in demo.truth.screens)
    assert any("blue thermos" in line for item in demo.truth.screens for line in item.lines)


def test_activities_cover_exactly_the_accelerometer_samples(demo: DemoDay) -> None:
    times = [m.ts for m in demo.messages if m.stream == ACCELEROMETER]
    labels = [item.label for item in demo.truth.activities]
    assert labels == ["still", "walking", "running", "racket_sport"]
    for item in demo.truth.activities:
        assert sum(item.start <= ts < item.end for ts in times) == 1000
        assert item.end - item.start == timedelta(seconds=100)


def test_walking_is_measured_while_the_walk_is_recorded(demo: DemoDay) -> None:
    walking = next(item for item in demo.truth.activities if item.label == "walking")
    hike = next(item for item in demo.truth.trips if item.name == "hike")
    assert hike.start < walking.start < walking.end < hike.end
    assert not any(v.start < walking.end and walking.start < v.end for v in demo.truth.visits)


@settings(max_examples=20, deadline=None)
@given(DAYS)
def test_a_moved_track_keeps_its_first_wall_clock_and_its_pacing(day: date) -> None:
    recorded = media.track("hike")
    fixes = [m for m in real_day(day, seed=1).messages if m.stream == GPS and not m.is_generated]
    walked = [m for m in fixes if m.door.kind == "batch"]
    assert walked[0].body["recorded_at"][11:19] == "11:36:30"
    first = recorded[0].ts
    assert [m.ts - walked[0].ts for m in walked] == [fix.ts - first for fix in recorded]
    assert [m.body["latitude"] for m in walked] == [fix.latitude for fix in recorded]


def test_recorded_fixes_have_no_made_up_accuracy(demo: DemoDay) -> None:
    fixes = [m for m in demo.messages if m.stream == GPS]
    assert all(("accuracy" in m.body) == m.is_generated for m in fixes)


def test_visits_do_not_overlap(demo: DemoDay) -> None:
    visits = demo.truth.visits
    assert all(a.end <= b.start for a, b in pairwise(visits))


def test_questions_are_answered_by_messages_of_the_day(demo: DemoDay) -> None:
    ids = {message.message_id for message in demo.messages}
    assert len(demo.truth.questions) >= 5
    assert all(set(question.message_ids) <= ids for question in demo.truth.questions)


def test_motion_is_the_four_activities_at_ten_hertz_for_a_hundred_seconds() -> None:
    assert {len(media.motion(label)) for label in media.ACTIVITIES} == {1000}
