"""What orchestration costs: models called directly, by `process`, and by Dagster's runs."""

import base64
import io
import time
import wave
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
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


@pytest.fixture(scope="module")
def choice() -> ModelChoice:
    """The tiny profile, its weights there."""
    models_dir = Settings().models_dir
    pull(models_dir, "tiny", ignore_progress)
    return ModelChoice("tiny", models_dir)


@pytest.fixture(scope="module")
def whole(choice: ModelChoice, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole stack as `am up` starts it, on ports of its own."""
    home = tmp_path_factory.mktemp("bench-whole")
    ports = choose_free(["api", "dagster"])
    settings = Settings(
        home=home,
        api_port=ports["api"],
        dagster_port=ports["dagster"],
        models_dir=choice.models_dir.resolve(),
    )
    stack = Stack(home, settings=settings)
    stack.start()
    yield stack
    stack.stop()


def bench_seconds_to_a_searchable_transcript(whole: Stack, note: list[str]) -> None:
    """Speech: seconds from a POST to the transcript in a search, through sensors and runs"""
    with psycopg.connect(whole.settings.connections().database_url) as connection:
        token = create_token(
            connection, user_id="bench", device_id="*", scopes=frozenset({Scope.ADMIN})
        )
    url = f"http://127.0.0.1:{whole.settings.api_port}"
    note += ["| clip | its length s | s until found |", "| --- | --- | --- |"]
    with httpx.Client(
        base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60
    ) as client:
        for name, (question, word) in SPOKEN.items():
            clip = MEDIA / "audio" / f"{name}.wav"
            begin = time.perf_counter()
            client.post("/audio/upload", json=message(clip, datetime.now(UTC))).raise_for_status()
            _await(lambda q=question, w=word: _is_found(client, q, w))  # type: ignore[misc]
            elapsed = time.perf_counter() - begin
            note.append(f"| {name} | {length_s(clip):.1f} | {elapsed:.1f} |")
    note.append("\nThe first clip finds nothing loaded; each run loads its models anew.")


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
        return file.getnframes() / file.getframerate()


def _send_all(port: int, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60) as client:
        for index, clip in enumerate(CLIPS):
            body = message(clip, BEGIN + timedelta(minutes=index))
            client.post("/audio/upload", json=body).raise_for_status()
        for index, screen in enumerate(SCREENS):
            body = message(screen, BEGIN + timedelta(minutes=index))
            client.post("/images/screenshot", json=body).raise_for_status()


def _is_found(client: httpx.Client, question: str, word: str) -> bool:
    answer = client.get("/v1/search", params={"q": question, "kind": "speech"})
    answer.raise_for_status()
    return any(word in hit["text"] for hit in answer.json()["hits"])


def _await(is_done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_done():
        assert time.monotonic() < deadline, "never found"
        time.sleep(0.2)


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin
