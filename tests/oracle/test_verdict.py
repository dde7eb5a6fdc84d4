"""The oracle can fail: whatever is taken away or added by hand, the verdict names it."""

import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from psycopg import sql

from am_assets.streams.registry import REGISTRY
from ingest_api.main import build_app
from ingest_api.settings import Settings
from ingest_api.tokens import Scope, create_token
from resources.blobs import BlobStore
from resources.connections import Connections
from tests.ingest_api.conftest import _port
from tests.oracle.book import Book, Entry, read_book
from tests.oracle.load import Load, Target
from tests.oracle.messages import KINDS, USERS, Author
from tests.oracle.verdict import Verdict, examine, judge

SEED = 11
Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Case:
    """A calm run: what was sent through every door, and where it went."""

    path: Path
    entries: dict[str, Entry]
    connections: Connections

    def one(self, stream: str, *, is_good: bool = True) -> Entry:
        """An acked message of a stream."""
        fitting = (e for e in self.entries.values() if (e.stream, e.is_good) == (stream, is_good))
        return next(entry for entry in fitting if entry.acked)


@pytest.fixture(scope="module")
def target(connections: Connections) -> Iterator[Target]:
    """A real API over real servers."""
    app = build_app(Settings(), connections)
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield Target(f"http://127.0.0.1:{_port(server)}", tokens(connections))
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()


def tokens(connections: Connections) -> dict[str, str]:
    """One for each of the oracle's users."""
    with psycopg.connect(connections.database_url, autocommit=True) as database:
        return {
            user: create_token(database, user_id=user, device_id="*", scopes=frozenset(Scope))
            for user in USERS
        }


@pytest.fixture(scope="module")
def case(
    target: Target, connections: Connections, tmp_path_factory: pytest.TempPathFactory
) -> Case:
    """Every door twice, in peace; one request that was refused."""
    path = tmp_path_factory.mktemp("oracle") / "obligations.ndjson"
    book = Book(path)
    author = Author(SEED)
    for _ in range(2):
        assert asyncio.run(Load(target, book, author).pass_all()) == []
    refused = author.write("gps", user=USERS[0])
    book.sent([refused], door="/sensor/gps")
    book.refused([refused.id], 503)
    book.close()
    return Case(path, read_book(path)[0], connections)


@pytest.fixture
def database(connections: Connections) -> Iterator[Connection]:
    """A look behind the doors, in which nothing that is done lasts."""
    with psycopg.connect(connections.database_url) as connection:
        yield connection
        connection.rollback()


def verdict_of(case: Case, database: Connection) -> Verdict:
    """What the oracle says of the tables as this connection sees them."""
    return examine(case.path, database, BlobStore(case.connections))


def named(verdict: Verdict, kind: str) -> list[str]:
    """The first word of each finding of a kind: the id."""
    return [f.text.split()[0] for f in verdict.findings if f.kind == kind]


def kinds(verdict: Verdict) -> set[str]:
    """The kinds of all findings."""
    return {finding.kind for finding in verdict.findings}


def change(database: Connection, statement: str, entry: Entry) -> None:
    """Do something by hand to the one row of a message."""
    table = sql.Identifier("am", REGISTRY[entry.stream].table)
    where = sql.SQL(" WHERE extra->>'oracle_id' = {}").format(sql.Literal(entry.id))
    done = database.execute(sql.SQL(statement).format(table=table) + where)
    assert done.rowcount == 1


def test_what_every_door_took_in_peace_is_found_again_whole(case: Case) -> None:
    verdict = judge(case.path, case.connections)
    assert verdict.is_kept, verdict.report()
    assert verdict.owed == len(case.entries) - 1
    assert min(verdict.rows, verdict.letters, verdict.blobs) > 0
    assert verdict.given_up == 1


def test_a_row_that_was_deleted_is_named_and_its_account_too(
    case: Case, database: Connection
) -> None:
    entry = case.one("digital.notes.raw")
    change(database, "DELETE FROM {table}", entry)
    verdict = verdict_of(case, database)
    assert named(verdict, "missing") == [entry.id]
    assert kinds(verdict) == {"missing", "ledger differs from table"}
    assert entry.id in verdict.report()


@pytest.mark.parametrize(
    ("stream", "statement"),
    [
        ("device.sensor.gps.raw", "UPDATE {table} SET latitude = latitude + 1e-6"),
        ("digital.notes.raw", "UPDATE {table} SET content = ltrim(content || ' ')"),
        ("os.events.app_lifecycle.raw", "UPDATE {table} SET metadata = '{{}}'"),
        ("digital.clipboard.raw", "UPDATE {table} SET ts = ts + interval '1 millisecond'"),
    ],
)
def test_a_value_that_was_changed_is_named(
    case: Case, database: Connection, stream: str, statement: str
) -> None:
    entry = case.one(stream)
    change(database, statement, entry)
    assert named(verdict_of(case, database), "payload differs") == [entry.id]


def test_a_row_that_came_in_a_second_time_is_named(case: Case, database: Connection) -> None:
    entry = case.one("device.sensor.accelerometer.raw")
    copied = (
        "INSERT INTO {table} SELECT (jsonb_populate_record(t, jsonb_build_object("
        "'event_id', gen_random_uuid()))).* FROM {table} t"
    )
    change(database, copied, entry)
    verdict = verdict_of(case, database)
    assert named(verdict, "stored twice") == [entry.id]
    assert "ledger differs from table" in kinds(verdict)


def test_a_dead_letter_that_was_deleted_or_changed_is_named(
    case: Case, database: Connection
) -> None:
    entry = next(e for e in case.entries.values() if e.door == "/heartbeat")
    found = f"position('{entry.id}'::bytea IN payload) > 0"
    changed = f"UPDATE am.dead_letter SET payload = payload || '!' WHERE {found}"
    assert database.execute(changed.encode()).rowcount == 1
    assert named(verdict_of(case, database), "dead letter differs") == [entry.id]
    assert database.execute(f"DELETE FROM am.dead_letter WHERE {found}".encode()).rowcount == 1
    assert named(verdict_of(case, database), "missing") == [entry.id]


def test_a_refused_message_that_is_stored_all_the_same_is_named(
    case: Case, database: Connection
) -> None:
    (refused,) = (e for e in case.entries.values() if e.refused)
    entry = case.one("device.sensor.gps.raw")
    database.execute(
        "UPDATE am.device_sensor_gps_raw SET extra = jsonb_set(extra, '{oracle_id}', "
        "to_jsonb(%s::text)) WHERE extra->>'oracle_id' = %s",
        (refused.id, entry.id),
    )
    verdict = verdict_of(case, database)
    assert named(verdict, "stored although refused") == [refused.id]
    assert named(verdict, "missing") == [entry.id]


def test_bytes_that_are_gone_or_others_are_named(case: Case, database: Connection) -> None:
    entry = case.one("device.audio.raw")
    row = database.execute(
        "SELECT blob_key FROM am.device_audio_raw WHERE blob_sha256 = %s", (entry.sha256,)
    ).fetchone()
    assert row is not None
    store = BlobStore(case.connections)
    content = store.get(row[0])
    try:
        store.put_all([(row[0], content[:-1] + b"?", "audio/wav")])
        assert named(verdict_of(case, database), "blob differs") == [row[0]]
        store.remove_all([row[0]])
        assert named(verdict_of(case, database), "blob differs") == [row[0]]
    finally:
        store.put_all([(row[0], content, "audio/wav")])


def test_a_ledger_line_too_many_is_named_with_its_account(case: Case, database: Connection) -> None:
    entry = case.one("device.health.heartrate.raw")
    database.execute(
        "INSERT INTO am.landing (batch_id, user_id, device_id, stream, day, door, received, "
        "stored, duplicate, rejected) VALUES (gen_random_uuid(), %s, %s, %s, %s, '/x', 1, 0, 1, 0)",
        (entry.user, entry.device, entry.stream, entry.day),
    )
    (finding,) = verdict_of(case, database).findings
    assert finding.kind == "ledger differs from what clients were told"
    assert all(part in finding.text for part in (entry.user, entry.device, entry.day))


def test_a_server_that_says_yes_and_stores_nothing_is_caught_with_every_id(
    case: Case, tmp_path: Path
) -> None:
    path = tmp_path / "obligations.ndjson"
    asyncio.run(lied_to(path))
    entries = read_book(path)[0]
    verdict = judge(path, case.connections)
    assert len(entries) > 3
    assert sorted(named(verdict, "missing")) == sorted(entries)


async def lied_to(path: Path) -> None:
    """Send to a server that only says yes."""
    server = await asyncio.start_server(say_yes, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    liar = Target(f"http://127.0.0.1:{port}", dict.fromkeys(USERS, "any"))
    book = Book(path)
    async with server:
        doors = ("/sensor/gps", "/notes/digital", "/overland", "/influx", "/audio/upload")
        assert await Load(liar, book, Author(99)).pass_all(doors) == []
    book.close()


async def say_yes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read a request whole and thank for it."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
    await reader.readexactly(int(length or 0))
    counts = {"received": 1, "stored": 1, "duplicate": 0, "rejected": 0}
    body = json.dumps(counts).encode()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    await writer.drain()
    writer.close()


@given(st.integers(0, 2**32), st.sampled_from(sorted(KINDS)))
def test_one_seed_writes_the_same_messages_and_never_one_twice(seed: int, kind: str) -> None:
    now = Author(seed).instant()
    once, again = Author(seed, now=now), Author(seed, now=now)
    first = [once.write(kind, user="ada") for _ in range(3)]
    assert first == [again.write(kind, user="ada") for _ in range(3)]
    assert len({message.id for message in first}) == 3
