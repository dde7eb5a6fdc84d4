"""What orchestration costs: models called directly, by `process`, and by Dagster's runs."""

import base64
import io
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from am_assets.derived import (
    media_audio_vad_filtered,
    media_text_ocr_extracted,
    media_text_transcribed_words,
)
from am_assets.process import Tools, process
from infra.commands.demo import Backlog
from infra.demo.media import motion
from infra.ports import choose_free
from infra.stack import Stack
from infra.weights import ignore_progress, pull
from ingest_api.settings import Settings
from ingest_api.tokens import Scope, create_token
from resources.compute import LocalCompute, ModelChoice
from resources.connections import Connections
from resources.media import decode_sound

MEDIA = Path("infra/demo/media")
CLIPS = sorted((MEDIA / "audio").glob("austen-*.wav"))
SCREENS = sorted((MEDIA / "screens").glob("*.png"))
DAY = date(2026, 1, 2)
BEGIN = datetime(2026, 1, 2, 8, tzinfo=UTC)
SPOKEN = {  # a question, and a word that only the right clip holds
    "austen-0870": ("how much might be prudently in his power", "prudently"),
    "austen-0880": ("he was not an ill disposed young man", "young"),
    "austen-0890": ("cold hearted and rather selfish", "selfish"),
}
PATIENCE_S = 240
# Asking costs the processor that the answer waits for: a search embeds its question, a look at the
# backlog connects once for every enrichment.
SEARCH_PAUSE_S, BACKLOG_PAUSE_S = 0.25, 3.0
MOTION_BATCH, MOTION_BATCHES = timedelta(seconds=20), 5


@pytest.fixture(scope="module")
def choice() -> ModelChoice:
    """The tiny profile, its weights there."""
    models_dir = Settings().models_dir
    pull(models_dir, "tiny", ignore_progress)
    return ModelChoice("tiny", models_dir)


@contextmanager
def whole(home: Path, models_dir: Path, *, hot_worker: bool) -> Iterator[Stack]:
    """The whole stack as `am up` starts it, on ports of its own."""
    ports = choose_free(["api", "dagster"])
    settings = Settings(
        home=home,
        api_port=ports["api"],
        dagster_port=ports["dagster"],
        models_dir=models_dir.resolve(),
        hot_worker=hot_worker,
    )
    stack = Stack(home, settings=settings)
    stack.start()
    try:
        yield stack
    finally:
        stack.stop()


def bench_seconds_to_a_transcript_by_runs(
    choice: ModelChoice, tmp_path: Path, note: list[str]
) -> None:
    """Speech: seconds from a POST to the transcript in a search, through sensors and runs"""
    with whole(tmp_path / "runs", choice.models_dir, hot_worker=False) as stack:
        note += ["| clip | its length s | s until found |", "| --- | --- | --- |"]
        for name, seconds in _heard(stack):
            note.append(f"| {name} | {length_s(clip_of(name)):.1f} | {seconds:.1f} |")
    note.append("\nEach run loads its models anew.")


def bench_seconds_to_a_transcript_by_the_hot_worker(
    choice: ModelChoice, tmp_path: Path, note: list[str]
) -> None:
    """Speech: seconds from a POST to the transcript in a search, by the hot worker"""
    with whole(tmp_path / "hot", choice.models_dir, hot_worker=True) as stack:
        first = dict(_heard(stack))
        _await(lambda: not Backlog(stack.settings.connections()).open(), pause_s=BACKLOG_PAUSE_S)
        again = dict(_heard(stack))
    alone = _transcribed_alone(choice)
    note += [
        "| clip | its length s | s until found | the same, warm s | Whisper alone, warm s |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in SPOKEN:
        told = " | ".join(f"{lane[name]:.1f}" for lane in (first, again, alone))
        note.append(f"| {name} | {length_s(clip_of(name)):.1f} | {told} |")
    note.append(
        "\nThe first clip finds nothing loaded. Runs follow, to publish, and share the machine."
    )


def bench_seconds_to_an_activity(choice: ModelChoice, tmp_path: Path, note: list[str]) -> None:
    """Motion: seconds from a POST of 20 s of readings to their activity, by the hot worker"""
    note += ["| batch | s until its activity is there |", "| --- | --- |"]
    with whole(tmp_path / "motion", choice.models_dir, hot_worker=True) as stack:
        database_url = stack.settings.connections().database_url
        begin = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        with _client(stack) as client, psycopg.connect(database_url, autocommit=True) as database:
            for number in range(MOTION_BATCHES):
                batch_end = begin + (number + 1) * MOTION_BATCH
                body = _readings(batch_end - MOTION_BATCH, number)
                started = time.perf_counter()
                client.post(
                    "/v1/streams/device.sensor.accelerometer.raw", json=body
                ).raise_for_status()
                _await(partial(_is_moving_until, database, batch_end))
                note.append(f"| {number + 1} | {time.perf_counter() - started:.2f} |")


def bench_orchestration_overhead(
    connections: Connections, api_port: int, token: str, choice: ModelChoice, note: list[str]
) -> None:
    """Models: called directly, and by `process` with claiming, fetching, storing"""
    _send_all(api_port, token)
    tools = Tools.at(connections, LocalCompute(choice))
    process(media_audio_vad_filtered.ENRICHMENT, DAY, tools, run_id="bench")
    sounds = [decode_sound(clip.read_bytes(), "audio/wav") for clip in CLIPS]
    pictures = [screen.read_bytes() for screen in SCREENS]
    recognizer, reader = tools.compute.speech_recognition(), tools.compute.text_reading()
    recognizer.transcribe(sounds[:1])  # loaded and warm on both sides
    reader.read(pictures[:1])
    heard = _seconds(lambda: recognizer.transcribe(sounds))
    heard_by_process = _seconds(
        lambda: process(media_text_transcribed_words.ENRICHMENT, DAY, tools, run_id="bench")
    )
    read = _seconds(lambda: reader.read(pictures))
    read_by_process = _seconds(
        lambda: process(media_text_ocr_extracted.ENRICHMENT, DAY, tools, run_id="bench")
    )
    spoken_s = sum(length_s(clip) for clip in CLIPS)
    note += [
        "| task | directly | by `process` | ratio |",
        "| --- | --- | --- | --- |",
        f"| speech recognition, s a second of sound | {heard / spoken_s:.3f} "
        f"| {heard_by_process / spoken_s:.3f} | {heard_by_process / heard:.2f} |",
        f"| text reading, s a screenshot | {read / len(pictures):.2f} "
        f"| {read_by_process / len(pictures):.2f} | {read_by_process / read:.2f} |",
    ]


def message(clip: Path, ts: datetime) -> dict[str, Any]:
    """A clip as a phone sends it."""
    data = base64.b64encode(clip.read_bytes()).decode()
    return {
        "device_id": "phone",
        "recorded_at": ts.isoformat(),
        "message_id": str(uuid4()),
        "data": data,
    }


def length_s(clip: Path) -> float:
    """Seconds of sound."""
    with wave.open(io.BytesIO(clip.read_bytes())) as file:
        seconds: float = file.getnframes() / file.getframerate()
    return seconds


def clip_of(name: str) -> Path:
    """Its file."""
    return MEDIA / "audio" / f"{name}.wav"


def _client(stack: Stack) -> httpx.Client:
    with psycopg.connect(stack.settings.connections().database_url) as connection:
        token = create_token(
            connection, user_id="bench", device_id="*", scopes=frozenset({Scope.ADMIN})
        )
    url = f"http://127.0.0.1:{stack.settings.api_port}"
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60)


def _heard(stack: Stack) -> Iterator[tuple[str, float]]:
    """Each clip, and how long after its POST it was found."""
    with _client(stack) as client:
        for name, (question, word) in SPOKEN.items():
            at = datetime.now(UTC)
            begin = time.perf_counter()
            client.post("/audio/upload", json=message(clip_of(name), at)).raise_for_status()
            _await(partial(_is_found, client, question, word, at), pause_s=SEARCH_PAUSE_S)
            yield name, time.perf_counter() - begin


def _transcribed_alone(choice: ModelChoice) -> dict[str, float]:
    recognizer = LocalCompute(choice).speech_recognition()
    sounds = {name: decode_sound(clip_of(name).read_bytes(), "audio/wav") for name in SPOKEN}
    recognizer.transcribe(list(sounds.values())[:1])
    return {name: _seconds(partial(recognizer.transcribe, [s])) for name, s in sounds.items()}


def _readings(begin: datetime, number: int) -> list[dict[str, Any]]:
    step = timedelta(milliseconds=100)
    walking = motion("Walking")
    first = number * (MOTION_BATCH // step)
    return [
        {
            "device_id": "phone",
            "recorded_at": (begin + place * step).isoformat(),
            "x": one.x,
            "y": one.y,
            "z": one.z + 9.81,
        }
        for place in range(MOTION_BATCH // step)
        for one in (walking[(first + place) % len(walking)],)
    ]


def _is_moving_until(database: psycopg.Connection[Any], batch_end: datetime) -> bool:
    # A window is as long as five seconds and begins every four.
    row = database.execute(
        "SELECT max(ts + duration_ms * interval '1 ms') FROM am.motion_classification_activity"
    ).fetchone()
    return bool(row and row[0] and row[0] > batch_end - timedelta(seconds=5))


def _send_all(port: int, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60) as client:
        for index, clip in enumerate(CLIPS):
            body = message(clip, BEGIN + timedelta(minutes=index))
            client.post("/audio/upload", json=body).raise_for_status()
        for index, screen in enumerate(SCREENS):
            body = message(screen, BEGIN + timedelta(minutes=index))
            client.post("/images/screenshot", json=body).raise_for_status()


def _is_found(client: httpx.Client, question: str, word: str, since: datetime) -> bool:
    asked = {"q": question, "kind": "speech", "from": since.isoformat()}
    answer = client.get("/v1/search", params=asked)
    answer.raise_for_status()
    return any(word in hit["text"] for hit in answer.json()["hits"])


def _await(is_done: Callable[[], bool], *, pause_s: float = 0.05) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_done():
        assert time.monotonic() < deadline, "never found"
        time.sleep(pause_s)


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin
