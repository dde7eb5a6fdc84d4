"""Whether what names something else is right: rows their blobs, derived rows and moments their
sources, the list of blobs the object store.

What was removed on purpose, and noted, is no fault. Looking changes nothing.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pyarrow as pa
from pyarrow import fs

from am_assets.schemas.columns import columns
from am_assets.schemas.postgres import SCHEMA
from am_assets.streams.registry import Registry
from am_assets.streams.stream import Stream
from resources import duck
from resources.blobs import BlobAbsentError, BlobCorruptError, BlobErasedError, BlobStore
from resources.connections import Connections
from resources.hot import Span
from resources.lake_check import BACKUP, REPAIR, Fault
from resources.lake_files import object_store
from resources.work_items import hour_id

BLOBS = "blobs"
LETTERS = "dead_letters"
PATIENT = duck.DuckOptions(timeout_s=3600.0)  # these questions are of all there is
PARALLEL = 8  # blobs that are read at once
MOMENTS = "moments"  # the enrichment's name
_DAY = re.compile(rf"{BLOBS}/.+/([^/]+)/(\d{{4}}-\d\d-\d\d)/[0-9a-f]{{64}}")

Place = tuple[str | None, date | None]  # stream and day


@dataclass(frozen=True)
class Blob:
    """A line of the list of blobs."""

    sha256: str
    byte_count: int


@dataclass(frozen=True)
class Blobs:
    """Everything that is said of blobs, by their keys.

    `named`: the streams and days of the rows that name one. `stored`: what the object store has.
    `removed`: taken away on purpose.
    """

    named: Mapping[str, set[Place]]
    listed: Mapping[str, Blob]
    stored: frozenset[str]
    removed: frozenset[str]

    def places(self, key: str) -> set[Place]:
        """The streams and days that a blob belongs to: of its rows, or by its key."""
        found = _DAY.fullmatch(key)
        by_key: Place = (found[1], date.fromisoformat(found[2])) if found else (None, None)
        return self.named.get(key) or {by_key}


@dataclass(frozen=True)
class References:
    """Looks at the references of one stack, of every user."""

    connections: Connections
    registry: Registry

    def blob_faults(self, *, is_deep: bool) -> list[Fault]:
        """Blobs that are named or listed and not there; if deep, that are not what was stored.

        Raises: psycopg.Error, OSError, resources.duck.DuckError, BlobUnreachableError.
        """
        blobs = self._blobs()
        wanted = (set(blobs.named) | set(blobs.listed)) - blobs.removed
        wrong = {"gone": wanted - blobs.stored}
        wrong["not in the list of blobs"] = (wanted & blobs.stored) - set(blobs.listed)
        if is_deep:
            whole = wanted & blobs.stored & set(blobs.listed)
            wrong["damaged"] = self._damaged({key: blobs.listed[key] for key in whole})
        faults = [fault for what, keys in wrong.items() for fault in _told(blobs, what, keys)]
        return [*faults, *self._letter_faults(), *_orphans(blobs)]

    def _letter_faults(self) -> Iterator[Fault]:
        """Dead letters too large for the database, whose content is gone."""
        with psycopg.connect(self.connections.database_url) as connection:
            letters = connection.execute(
                "SELECT payload_key, stream, day FROM am.dead_letter "
                "WHERE payload_key IS NOT NULL ORDER BY day, stream"
            ).fetchall()
        stored = set(self._stored(LETTERS)) if letters else set()
        for key, stream, day in letters:
            if key not in stored:
                yield Fault("blob", stream, day, f"a dead letter's content is gone: {key}", BACKUP)

    def derived_faults(self) -> list[Fault]:
        """Derived rows whose source row is nowhere. Raises: resources.duck.DuckError."""
        with duck.connect(self.connections, self.registry, options=PATIENT) as engine:
            return [
                fault
                for stream in self.registry.values()
                if stream.is_derived
                for fault in self._orphaned_rows(engine, stream)
            ]

    def moment_faults(self, present: set[tuple[str, str, str]], *, version: int) -> list[Fault]:
        """Rows whose moments are gone, and moments whose rows are.

        `present`: user, stream and row of each moment. Raises: psycopg.Error, duck.DuckError.
        """
        missing = lost_items(self.connections, present, version=version)
        days: dict[Place, int] = defaultdict(int)
        for item in missing:
            days[item.stream, item.day] += 1
        lost = [
            Fault(MOMENTS, stream, day, f"the moments of {count} of its rows are gone", REPAIR)
            for (stream, day), count in sorted(days.items(), key=str)
        ]
        return lost + list(self._orphaned_moments(present))

    def orphaned_moments(
        self, present: set[tuple[str, str, str]]
    ) -> Mapping[tuple[str, str], list[str]]:
        """Rows that are gone and still have moments, by user and stream."""
        found: dict[tuple[str, str], list[str]] = defaultdict(list)
        by_stream: dict[str, set[tuple[str, str]]] = defaultdict(set)
        for user, stream, event in present:
            by_stream[stream].add((user, event))
        with duck.connect(self.connections, self.registry, options=PATIENT) as engine:
            for name, wanted in by_stream.items():
                there = self._ids(engine, self.registry[name]) if name in self.registry else set()
                for user, event in sorted(wanted - there):
                    found[user, name].append(event)
        return found

    def _orphaned_moments(self, present: set[tuple[str, str, str]]) -> Iterator[Fault]:
        for (_, stream), events in self.orphaned_moments(present).items():
            what = f"{len(events)} rows are gone, and search still finds them"
            yield Fault(MOMENTS, stream, None, what, REPAIR)

    def _ids(self, engine: duck.Duck, stream: Stream) -> set[tuple[str, str]]:
        rows = _ask(engine, f"SELECT user_id, event_id FROM {SCHEMA}.{stream.table}")
        users, events = rows["user_id"].to_pylist(), rows["event_id"].to_pylist()
        return {(str(user), str(event)) for user, event in zip(users, events, strict=True)}

    def _orphaned_rows(self, engine: duck.Duck, stream: Stream) -> Iterator[Fault]:
        asked = f"SELECT DISTINCT source_stream FROM {SCHEMA}.{stream.table}"
        for name in map(str, _ask(engine, asked)["source_stream"].to_pylist()):
            if name not in self.registry:
                continue
            for day, count in sorted(_orphaned(engine, stream, self.registry[name]).items()):
                what = f"{count} rows were made of rows of {name} that are gone"
                yield Fault("derived", stream.name, day, what, f"`am process --day {day}`")

    def _blobs(self) -> Blobs:
        with psycopg.connect(self.connections.database_url) as connection:
            listed = connection.execute("SELECT blob_key, sha256, byte_count FROM am.blob")
            all_listed = {key: Blob(sha256, size) for key, sha256, size in listed}
            removed = connection.execute("SELECT blob_key FROM am.blob_removed").fetchall()
        return Blobs(
            named=self._named(),
            listed=all_listed,
            stored=frozenset(self._stored(BLOBS)),
            removed=frozenset(key for (key,) in removed),
        )

    def _named(self) -> Mapping[str, set[Place]]:
        named: dict[str, set[Place]] = defaultdict(set)
        with duck.connect(self.connections, self.registry, options=PATIENT) as engine:
            for stream in self.registry.values():
                if any(column.name == "blob_key" for column in columns(stream)):
                    rows = _ask(engine, _NAMED.format(stream.table)).to_pylist()
                    for row in rows:
                        named[row["blob_key"]].add((stream.name, row["day"]))
        return named

    def _stored(self, folder: str) -> Iterator[str]:
        root = f"{self.connections.s3_bucket}/"
        selector = fs.FileSelector(f"{root}{folder}", recursive=True, allow_not_found=True)
        for found in object_store(self.connections).get_file_info(selector):
            if found.type == fs.FileType.File:
                yield found.path.removeprefix(root)

    def _damaged(self, listed: Mapping[str, Blob]) -> set[str]:
        store = BlobStore(self.connections)
        with ThreadPoolExecutor(PARALLEL) as pool:
            told = pool.map(lambda key: _is_damaged(store, key, listed[key]), listed)
            return {key for key, is_damaged in zip(listed, told, strict=True) if is_damaged}


@dataclass(frozen=True)
class LostItem:
    """A work item that says there are moments, where there are none."""

    user_id: str
    item_id: str
    stream: str
    day: date


def lost_items(
    connections: Connections, present: set[tuple[str, str, str]], *, version: int
) -> list[LostItem]:
    """Rows that were made into moments which are not there. Raises: psycopg.Error."""
    with psycopg.connect(connections.database_url) as connection:
        rows = connection.execute(
            "SELECT user_id, item_id::text, source_stream, day FROM am.work_item "
            "WHERE enrichment = %s AND version = %s AND state = 'done' AND derived_rows > 0",
            (MOMENTS, version),
        ).fetchall()
    return [LostItem(*row) for row in rows if (row[0], row[2], row[1]) not in present]


def make_pending(connections: Connections, lost: Iterable[LostItem], *, version: int) -> int:
    """Have moments made again. Returns of how many rows. Raises: psycopg.Error."""
    items = list(lost)
    with psycopg.connect(connections.database_url) as connection:
        return connection.execute(
            "UPDATE am.work_item SET state = 'pending', attempts = 0, updated_at = now(), "
            "reason = 'its moments were lost' "
            "WHERE enrichment = %s AND version = %s AND state = 'done' AND (user_id, item_id) IN "
            "(SELECT * FROM unnest(%s::text[], %s::uuid[]))",
            (MOMENTS, version, [one.user_id for one in items], [one.item_id for one in items]),
        ).rowcount


_NAMED = f"SELECT DISTINCT blob_key, day FROM {SCHEMA}.{{}} WHERE blob_key IS NOT NULL"
_OF_NO_ROW = f"""
SELECT d.day, d.user_id, d.source_event_id, count(*) AS n FROM {SCHEMA}.{{}} AS d
WHERE d.source_stream = ? AND NOT EXISTS (
    SELECT 1 FROM {SCHEMA}.{{}} AS s
    WHERE s.user_id = d.user_id AND s.event_id = d.source_event_id
) GROUP BY ALL
"""
_HOURS = f"""
SELECT DISTINCT user_id, device_id, 3600 * floor(epoch(ts) / 3600) AS begin_s
FROM {SCHEMA}.{{}} WHERE ts >= ? AND ts < ?
"""


def _ask(engine: duck.Duck, text: str, *values: object) -> pa.Table:
    limits = duck.Limits(timeout_s=PATIENT.timeout_s)
    return duck.query(engine, text, parameters=values, limits=limits)


def _orphaned(engine: duck.Duck, stream: Stream, source: Stream) -> Counter[date]:
    """How many rows of each day were made of rows that are gone."""
    rows = _ask(engine, _OF_NO_ROW.format(stream.table, source.table), source.name).to_pylist()
    hours = _hours(engine, source, {row["day"] for row in rows}) if rows else set()
    lost: Counter[date] = Counter()
    for row in rows:
        if (row["user_id"], str(row["source_event_id"])) not in hours:
            lost[row["day"]] += row["n"]
    return lost


def _hours(engine: duck.Duck, source: Stream, days: set[date]) -> set[tuple[str, str]]:
    """The users' hours of which there are rows, about these days: rows are made of hours too."""
    span = Span.of_days(min(days) - timedelta(days=1), max(days) + timedelta(days=1))
    rows = _ask(engine, _HOURS.format(source.table), span.begin, span.end).to_pylist()
    return {(row["user_id"], str(_hour_id(source, row))) for row in rows}


def _hour_id(source: Stream, row: Mapping[str, Any]) -> UUID:
    begin = datetime.fromtimestamp(row["begin_s"], UTC)
    return hour_id(source, row["user_id"], row["device_id"], begin)


def _is_damaged(store: BlobStore, key: str, listed: Blob) -> bool:
    digest, size = hashlib.sha256(), 0
    try:
        for piece in store.read(key):
            digest.update(piece)
            size += len(piece)
    except BlobErasedError:  # its key was destroyed: on purpose
        return False
    except (BlobCorruptError, BlobAbsentError):
        return True
    return (digest.hexdigest(), size) != (listed.sha256, listed.byte_count)


def _told(blobs: Blobs, what: str, keys: set[str]) -> Iterator[Fault]:
    """By stream and day, with one of the keys."""
    by_place: dict[Place, list[str]] = defaultdict(list)
    for key in sorted(keys):
        for place in blobs.places(key):
            by_place[place].append(key)
    for (stream, day), found in sorted(by_place.items(), key=str):
        count = f"{len(found)} blobs are" if len(found) > 1 else "a blob is"
        yield Fault("blob", stream, day, f"{count} {what}: {found[0]}", BACKUP)


def _orphans(blobs: Blobs) -> Iterator[Fault]:
    orphans = blobs.stored - set(blobs.listed) - set(blobs.named)
    if orphans:
        what = f"{len(orphans)} objects are no blob of anybody's: {min(orphans)}"
        todo = "None of it is lost: uploads that were broken off leave such bytes."
        yield Fault("blob", None, None, what, todo, level="note")
