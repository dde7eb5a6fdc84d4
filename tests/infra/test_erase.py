"""After an erasure nothing of it is in any file of the home, and everything else is as it was.

A real home: rows come through the public door, are published twice, looked at by ANALYZE, become
moments and digests; then one user's day goes, then the user. The other user's name differs by one
character.
"""

import base64
import json
import os
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from am_assets.out.day_digest import day_digest, keep_digests
from am_assets.streams.digital import NOTE
from am_assets.streams.registry import REGISTRY
from am_assets.streams.text import TRANSCRIPT
from infra.cli import app
from infra.commands.erase import carry_out
from infra.signing import verify
from infra.stack import Stack
from ingest_api.main import build_app
from ingest_api.settings import COPIES, Settings
from ingest_api.tokens import Scope as TokenScope
from ingest_api.tokens import create_token
from resources.blob_retention import add_hold, release_hold
from resources.blobs import BlobAbsentError, BlobStore
from resources.connections import Connections
from resources.duck import DuckOptions, query
from resources.duck import connect as duck_connect
from resources.erasure import Erasures, HeldError, UnfinishedError, signed_bytes
from resources.erasure_rows import Scope
from resources.hot import Fingerprint
from resources.lake import Lake
from resources.ledger import read_ledger
from resources.retention import Retention
from resources.vectors import VectorStore
from resources.whole import WholeStore
from tests.byte_search import database_folder, files_with
from tests.planting import Garden
from tests.resources.moments_data import DIMENSION, moment, table
from tests.variables import settings_of

pytestmark = pytest.mark.slow
TIMESCALE = os.environ.get("AM_TEST_TIMESCALE_URL")  # its files are not in the home
TABLES = "postgres/data/base/"
DAY, NEXT = date(2026, 5, 4), date(2026, 5, 5)
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
ANN, ANM = "ann", "anm"  # one character apart
MAIL = REGISTRY["external.email.events.raw"]
CLIPBOARD = REGISTRY["digital.clipboard.raw"]
DOCUMENT = REGISTRY["task.document.ingest"]
STREAMS = (NOTE, MAIL, CLIPBOARD, DOCUMENT, TRANSCRIPT)


@dataclass(frozen=True)
class Lives:
    """What two people have left behind, and where."""

    settings: Settings
    connections: Connections
    marker: str  # in what is erased
    kept: str  # in what is not

    def send(self, user: str, at: datetime, text: str) -> None:
        """A note, a mail, a clipboard, a document and something unreadable, through the door."""
        with psycopg.connect(self.connections.database_url) as database:
            token = create_token(
                database, user_id=user, device_id="*", scopes=frozenset({TokenScope.WRITE})
            )
        sent = {
            NOTE: {"title": f"title {text}", "content": f"{text} " * 3, "unknown": text},
            MAIL: {**MAIL.example, "subject": text, "body": text, "email_id": str(uuid4())},
            CLIPBOARD: {"content_type": "text", "content_text": text, "source_app": text},
            DOCUMENT: {
                **DOCUMENT.example,
                "filename": f"{text}.md",
                "file_data": base64.b64encode(f"document {text}".encode()).decode(),
            },
        }
        door = build_app(Settings(), self.connections)
        with TestClient(door, headers={"Authorization": f"Bearer {token}"}) as client:
            for stream, own in sent.items():
                body = {**own, "device_id": "phone", "recorded_at": at.isoformat()}
                answer = client.post(f"/v1/streams/{stream.name}", json=body)
                assert answer.json()["status"] == "success", answer.text
            wrong = {"device_id": "phone", "recorded_at": at.isoformat(), "content": {"a": [text]}}
            client.post(f"/v1/streams/{NOTE.name}", json={**wrong, "title": text * 3})
            large = {**wrong, "content": {"a": [f"{text} {uuid4()}"] * 8000}}
            client.post(f"/v1/streams/{NOTE.name}", json=large)

    def derive(self, user: str, at: datetime, text: str) -> None:
        """A transcript, a moment of it, and a work item each."""
        source = uuid4()
        values = {
            "source_stream": "device.audio.raw",
            "source_event_id": source,
            "model_id": "m",
            "model_version": "1",
            "enrichment_version": 1,
            "run_id": "r",
            "text": text,
            "words": [],
            "language": "en",
            "language_probability": 1.0,
            "duration_ms": 1000,
        }
        (event,) = Garden(self.connections, user_id=user).plant(TRANSCRIPT, [(at, values)])
        made = moment(text, user_id=user, ts=at, source_event_id=str(event), place=text, app=text)
        self.vectors.replace(
            [str(event)], table([made]), user_id=user, source_stream=TRANSCRIPT.name
        )
        with psycopg.connect(self.connections.database_url) as database:
            database.execute(
                "INSERT INTO am.work_item (enrichment, version, user_id, item_id, source_stream, "
                "device_id, day, ts, state, reason) VALUES ('e', 1, %s, %s, 's', 'd', %s, %s, "
                "'failed', %s)",
                (user, source, at.date(), at, text),
            )

    def publish(self) -> None:
        """All days, and the digests of both users."""
        whole = WholeStore(self.connections)
        lake = Lake(self.connections)
        for day in (DAY, NEXT):
            for stream in STREAMS:
                lake.publish(stream, day)
            now = datetime(2026, 5, 6, tzinfo=UTC)
            made = [(user, day_digest(whole, REGISTRY, user, day, now=now)) for user in (ANN, ANM)]
            keep_digests(self.connections, day, made)
        with psycopg.connect(self.connections.database_url, autocommit=True) as database:
            database.execute("ANALYZE")

    def ask(self) -> None:
        """A question, which leaves copies of the lake's files near."""
        options = DuckOptions(copies=self.settings.lake_copies())
        with duck_connect(self.connections, REGISTRY, has_hot=False, options=options) as duck:
            query(duck, f"SELECT title FROM lake.am.{NOTE.table}")
        assert list((self.settings.home / COPIES).rglob("*.parquet"))

    def found(self, text: str) -> list[str]:
        """The files of the home and of the database with a text in them."""
        found = files_with(self.settings.home, text)
        if TIMESCALE:
            name = urlsplit(self.connections.database_url).path.strip("/")
            folder = database_folder(TIMESCALE, name)
            found += [f"{TABLES}{name}" for name in files_with(folder, text)]
        return found

    def fingerprints(self, user: str, day: date) -> dict[str, Fingerprint | int]:
        """What is there of one user's day, in every tier."""
        begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
        scope = Scope(user, begin, begin + timedelta(days=1))
        plan = Erasures(self.connections, REGISTRY).plan(scope)
        rows = WholeStore(self.connections)
        tables = {
            stream.name: hash(str(_of(rows.read_day(stream, day).to_pylist(), user)))
            for stream in STREAMS
        }
        lake = {f"lake {name}": count for name, count in plan.lake.items()}
        moments = {f"vectors {name}": count for name, count in plan.vectors.items()}
        others = {"digests": plan.digests, "blobs": plan.blobs, **plan.records}
        return {**tables, **lake, **moments, **others}

    @property
    def vectors(self) -> VectorStore:
        """The store of one model."""
        return VectorStore(self.connections, model_id="letters", dimension=DIMENSION)


def _of(rows: list[dict[str, Any]], user: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["user_id"] == user]


@pytest.fixture(scope="module")
def lives(stack: Stack, connections: Connections, server_url: str) -> Lives:
    settings = settings_of(connections, home=stack.home.root)
    lives = Lives(settings, settings.connections(), f"erasable{uuid4().hex}", f"keep{uuid4().hex}")
    for count in range(2):  # so that there is an older version of everything
        moment_ = NOON + timedelta(minutes=count)
        for user, at, text in (
            (ANN, moment_, lives.marker),
            (ANN, moment_ + timedelta(days=1), lives.kept),
            (ANM, moment_, lives.kept),
        ):
            lives.send(user, at, text)
            lives.derive(user, at, text)
        lives.publish()
    lives.ask()
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute("CHECKPOINT")  # what is in memory is in no file yet
    return lives


def erase(lives: Lives, scope: Scope) -> dict[str, Any]:
    erasures = Erasures(lives.connections, REGISTRY)
    return carry_out(erasures, erasures.begin(scope), lives.settings)


@pytest.fixture(scope="module")
def before(lives: Lives) -> dict[str, Any]:
    """The state before the erasure: the plan and the others' fingerprints."""
    scope = Scope(ANN, NOON - timedelta(hours=1), NOON + timedelta(hours=1))
    return {
        "found": lives.found(lives.marker),
        "plan": Erasures(lives.connections, REGISTRY).plan(scope),
        "others": (lives.fingerprints(ANM, DAY), lives.fingerprints(ANN, NEXT)),
        "keys": blob_keys(lives, ANN, DAY),
        "samples": samples(lives),
    }


def samples(lives: Lives) -> int:
    """How many columns' statistics quote the text."""
    query = (
        "SELECT count(*) FROM pg_stats WHERE most_common_vals::text LIKE %(text)s "
        "OR histogram_bounds::text LIKE %(text)s"
    )
    with psycopg.connect(lives.connections.database_url) as database:
        row = database.execute(query, {"text": f"%{lives.marker}%"}).fetchone()
    assert row is not None
    return int(row[0])


def blob_keys(lives: Lives, user: str, day: date) -> list[str]:
    with psycopg.connect(lives.connections.database_url) as database:
        rows = database.execute(
            "SELECT blob_key FROM am.blob WHERE user_id = %s AND blob_key LIKE %s",
            (user, f"%/{day}/%"),
        )
        return [key for (key,) in rows]


@pytest.fixture(scope="module")
def signed(lives: Lives, before: dict[str, Any]) -> dict[str, Any]:
    """The receipt of the first erasure: the hours round noon of ann's day."""
    return erase(lives, Scope(ANN, NOON - timedelta(hours=1), NOON + timedelta(hours=1)))


def test_before_it_the_search_finds_the_text_in_every_store(
    lives: Lives, before: dict[str, Any]
) -> None:
    found = before["found"]
    assert any(name.startswith(TABLES) for name in found), "tables"
    if not TIMESCALE:  # whose log of changes is its keeper's
        assert any(name.startswith("postgres/data/pg_wal/") for name in found), "log of changes"
    assert any(name.startswith("objects/") and " at " not in name for name in found), "Lance, logs"
    assert any(name.startswith("objects/") and " at " in name for name in found), "Parquet"
    assert before["samples"] > 0, "statistics"


def test_a_dry_run_counts_every_tier(before: dict[str, Any]) -> None:
    plan = before["plan"]
    expected = {stream.name: 2 for stream in STREAMS}
    assert plan.rows == plan.lake == expected
    assert plan.digests == 1
    assert sum(plan.vectors.values()) == 2
    assert plan.blobs == len(before["keys"]) == 1  # the same document twice
    assert plan.records == {"dead_letter": 4, "seen": 2, "work_item": 2}


def test_after_it_nothing_is_found_in_any_file_of_the_home(
    lives: Lives, signed: dict[str, Any]
) -> None:
    assert lives.found(lives.marker) == []
    assert signed["receipt"]["left"] == {}


def test_another_user_and_another_day_are_as_they_were(
    lives: Lives, before: dict[str, Any], signed: dict[str, Any]
) -> None:
    assert (lives.fingerprints(ANM, DAY), lives.fingerprints(ANN, NEXT)) == before["others"]
    assert lives.found(lives.kept) != []


def test_receipts_of_the_days_are_true_and_the_ledger_adds_up(
    lives: Lives, signed: dict[str, Any]
) -> None:
    lake = Lake(lives.connections)
    retention = Retention(lives.connections, REGISTRY)
    for stream in STREAMS:
        for day in (DAY, NEXT):
            assert lake.publish(stream, day).is_changed is False
            retention.verify(stream, day)
    with WholeStore(lives.connections).snapshot() as snapshot:
        ledger = read_ledger(snapshot, REGISTRY, day=None)
    wrong = [line for line in ledger.lines if not line.is_adding_up]
    assert [line for line in wrong if line.sums.stream != TRANSCRIPT.name] == []
    erased = [line for line in ledger.lines if (line.sums.user_id, line.sums.day) == (ANN, DAY)]
    assert {line.sums.stored for line in erased if line.sums.stream != TRANSCRIPT.name} == {0}


def test_its_blobs_are_gone_and_others_open(
    lives: Lives, before: dict[str, Any], signed: dict[str, Any]
) -> None:
    store = BlobStore(lives.connections)
    for key in before["keys"]:
        with pytest.raises(BlobAbsentError):
            store.get(key)
    for user, day in ((ANM, DAY), (ANN, NEXT)):
        (key,) = blob_keys(lives, user, day)
        assert store.get(key).decode() == f"document {lives.kept}"


def test_search_finds_what_stays_and_not_what_went(lives: Lives, signed: dict[str, Any]) -> None:
    assert lives.vectors.count(ANM) == lives.vectors.count(ANN) == 2


def test_the_receipt_is_signed_counts_what_went_and_holds_no_content(
    lives: Lives, signed: dict[str, Any]
) -> None:
    receipt = signed["receipt"]
    verify(lives.settings.home, signed_bytes(receipt), signed["signature"])
    assert receipt["erased"]["rows"] == {stream.name: 2 for stream in STREAMS}
    assert receipt["erased"]["lake"] == receipt["erased"]["rows"]
    assert receipt["erased"]["blobs"]["objects"] == 3  # a document, two payloads of dead letters
    assert lives.marker not in json.dumps(signed)
    assert receipt["storage"]["object_store"] == "volumes written anew"


def test_erasing_again_finds_nothing_and_changes_nothing(
    lives: Lives, before: dict[str, Any], signed: dict[str, Any]
) -> None:
    again = erase(lives, Scope(ANN, NOON - timedelta(hours=1), NOON + timedelta(hours=1)))
    assert again["receipt"]["erased"] == {}
    assert (lives.fingerprints(ANM, DAY), lives.fingerprints(ANN, NEXT)) == before["others"]


def test_the_command_counts_checks_receipts_and_refuses_what_it_does_not_understand(
    lives: Lives, signed: dict[str, Any], tmp_path: Path
) -> None:
    def am(*words: str) -> Any:
        env = {
            "AM_HOME": str(lives.settings.home),
            "AM_DATABASE_URL": lives.connections.database_url,
            "AM_LAKE_URI": lives.connections.lake_uri,
            "AM_VECTORS_URI": lives.connections.vectors_uri,
            "AM_S3_BUCKET": lives.connections.s3_bucket,
        }
        return CliRunner().invoke(app, ["erase", *words], env=env)

    told = am("--user", ANN, "--from", str(NEXT), "--to", str(NEXT), "--dry-run", "--json")
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["rows"] == {stream.name: 2 for stream in STREAMS}
    for words in ((), ("--user", ANN, "--from", "yesterday"), ("--user", ANN, "--to", "2026-05")):
        assert am(*words).exit_code == 2, words
    kept = tmp_path / "receipt.json"
    kept.write_text(json.dumps(signed))
    assert am("--verify", str(kept)).exit_code == 0
    kept.write_text(json.dumps(signed).replace('"ann"', '"anm"'))
    changed = am("--verify", str(kept))
    assert changed.exit_code == 1
    assert "changed" in changed.output


def test_a_legal_hold_forbids_it(lives: Lives, signed: dict[str, Any]) -> None:
    with psycopg.connect(lives.connections.database_url, autocommit=True) as database:
        hold = add_hold(database, user_id=ANN, reason="a lawsuit", begin=NOON)
        try:
            with pytest.raises(HeldError, match="a lawsuit"):
                Erasures(lives.connections, REGISTRY).begin(Scope(ANN))
            Erasures(lives.connections, REGISTRY).plan(Scope(ANN, end=NOON))
        finally:
            release_hold(database, hold)


def test_the_whole_user_goes_with_tokens_keys_and_ledger_also_after_a_crash(
    lives: Lives, before: dict[str, Any], signed: dict[str, Any]
) -> None:
    """The last test: it erases ann, with a day that has left the database, in two goes."""
    retention = Retention(lives.connections, REGISTRY)
    for stream in STREAMS:
        retention.leave(stream, NEXT)
    (key,) = blob_keys(lives, ANN, NEXT)
    erasures = Erasures(lives.connections, REGISTRY)
    asked = erasures.begin(Scope(ANN))

    def die(step: str) -> None:
        if step == "vectors":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        erasures.run(asked, die)
    with pytest.raises(UnfinishedError, match="am erase --user ann"):
        erasures.begin(Scope(ANN, NOON))
    signed = carry_out(erasures, erasures.begin(Scope(ANN)), lives.settings)
    assert signed["receipt"]["left"] == {}
    assert signed["receipt"]["erased"]["lake"] == {stream.name: 2 for stream in STREAMS}
    assert lives.fingerprints(ANM, DAY) == before["others"][0]
    for stream in STREAMS:
        retention.verify(stream, NEXT)
    with pytest.raises(BlobAbsentError):
        BlobStore(lives.connections).get(key)
    assert tables_with(lives, ANN) == {"erasure", "data_key"}


def tables_with(lives: Lives, user: str) -> set[str]:
    with psycopg.connect(lives.connections.database_url) as database:
        names = database.execute(
            "SELECT c.relname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid "
            "WHERE c.relnamespace = 'am'::regnamespace AND a.attname = 'user_id' "
            "AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition"
        ).fetchall()
        return {
            name
            for (name,) in names
            if database.execute(
                f"SELECT 1 FROM am.{name} WHERE user_id = %s LIMIT 1".encode(), (user,)
            ).fetchone()
        }
