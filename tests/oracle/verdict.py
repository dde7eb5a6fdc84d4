"""The verdict: the book against the tables. Every finding names the id or the account it is about.

Nothing here asks AM: the database and the object store are read as they are.
"""

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg

from am_assets.streams.registry import REGISTRY
from resources.blobs import BlobAbsentError, BlobStore
from resources.connections import Connections
from tests.oracle.book import Entry, OwedBlob, read_book
from tests.oracle.messages import MARK

FOUND = re.compile(rf"{MARK}[0-9a-f]{{32}}")
LISTED = 20  # findings of one kind that a report shows
Account = tuple[str, str, str]  # user, device, stream
DayAccount = tuple[str, str, str, str]

LETTERS = """
SELECT dead_letter_id::text, payload, payload_key, code, reason FROM am.dead_letter
WHERE user_id = ANY(%s)
"""
LEDGER = """
SELECT user_id, device_id, stream, day::text, sum(received)::bigint, sum(stored)::bigint,
    sum(duplicate)::bigint, sum(rejected)::bigint
FROM am.landing WHERE user_id = ANY(%s) GROUP BY 1, 2, 3, 4
"""


@dataclass(frozen=True)
class Finding:
    """One broken promise: its kind, and what it is about."""

    kind: str
    text: str


@dataclass(frozen=True)
class Verdict:
    """What was found, and how much was looked at."""

    findings: Sequence[Finding]
    owed: int
    rows: int
    letters: int
    blobs: int
    received: int
    given_up: int

    @property
    def is_kept(self) -> bool:
        """Whether the promise was."""
        return not self.findings

    def report(self) -> str:
        """For people."""
        kinds = Counter(finding.kind for finding in self.findings)
        shown: list[str] = [
            f"{self.owed} ids acknowledged: {self.rows} rows, {self.letters} dead letters; "
            f"{self.blobs} blobs; the ledger counts {self.received} elements; "
            f"{self.given_up} refused ids are nowhere to be found"
        ]
        for kind, count in kinds.items():
            texts = [finding.text for finding in self.findings if finding.kind == kind]
            shown += [f"{kind}: {count}", *(f"    {text}" for text in texts[:LISTED])]
        return "\n".join(shown)


@dataclass(frozen=True)
class Row:
    """A row as the database holds it; kept as text, because there are many."""

    stream: str
    text: str

    @property
    def columns(self) -> dict[str, Any]:
        """Values by name."""
        found: dict[str, Any] = json.loads(self.text)
        return found


@dataclass
class _Evidence:
    """What is there of each id."""

    rows: dict[str, list[Row]]
    letters: dict[str, list[Any]]
    per_day: Counter[DayAccount]


def judge(path: Path, connections: Connections) -> Verdict:
    """Compare the book at `path` with what is stored."""
    with psycopg.connect(connections.database_url) as connection:
        return examine(path, connection, BlobStore(connections))


def examine(path: Path, connection: psycopg.Connection[Any], store: BlobStore) -> Verdict:
    """Compare the book at `path` with what a connection sees and a store holds."""
    entries, blobs = read_book(path)
    users = sorted({entry.user for entry in entries.values()})
    evidence = _gather(connection, users, store)
    lines = connection.execute(LEDGER, (users,)).fetchall()
    findings = [
        *_elements(entries.values(), evidence),
        *_blobs(entries.values(), blobs, evidence, store),
        *_ledger(entries.values(), lines, evidence),
    ]
    owed = [entry for entry in entries.values() if entry.acked]
    return Verdict(
        findings=findings,
        owed=len(owed),
        rows=sum(entry.is_good for entry in owed),
        letters=sum(not entry.is_good for entry in owed),
        blobs=len(blobs) + sum(entry.sha256 is not None for entry in owed),
        received=sum(line[4] for line in lines),
        given_up=sum(_is_refused_for_good(entry) for entry in entries.values()),
    )


def _gather(
    connection: psycopg.Connection[Any], users: Sequence[str], store: BlobStore
) -> _Evidence:
    rows: dict[str, list[Row]] = defaultdict(list)
    letters: dict[str, list[Any]] = defaultdict(list)
    per_day: Counter[DayAccount] = Counter()
    for row in _rows(connection, users):
        columns = row.columns
        day = _instant(columns["ts"]).date().isoformat()
        per_day[columns["user_id"], columns["device_id"], row.stream, day] += 1
        for found in set(FOUND.findall(row.text)):
            rows[found].append(row)
    for _, payload, key, code, reason in connection.execute(LETTERS, (list(users),)):
        content = bytes(payload) if payload is not None else store.get(key)
        for found in set(FOUND.findall(content.decode(errors="replace"))):
            letters[found].append((content, f"{code}: {reason}"))
    return _Evidence(rows, letters, per_day)


def _rows(connection: psycopg.Connection[Any], users: Sequence[str]) -> Iterator[Row]:
    for stream in REGISTRY.raw:
        query = f"SELECT to_jsonb(t)::text FROM am.{stream.table} t WHERE user_id = ANY(%s)"
        with connection.cursor(f"all_{stream.table}") as cursor:
            cursor.execute(query.encode(), (list(users),))
            for (text,) in cursor:
                yield Row(stream.name, text)


def _elements(entries: Iterable[Entry], evidence: _Evidence) -> Iterator[Finding]:
    """Every owed id is there once and says what was sent; every refused one is not there."""
    for entry in entries:
        rows, letters = evidence.rows.get(entry.id, []), evidence.letters.get(entry.id, [])
        if entry.acked:
            yield from _owed(entry, rows, letters)
        elif _is_refused_for_good(entry) and (rows or letters):
            yield Finding("stored although refused", f"{_named(entry)} {entry.refused}")
        if len(rows) > 1:
            yield Finding("stored twice", _named(entry))


def _owed(entry: Entry, rows: Sequence[Row], letters: Sequence[Any]) -> Iterator[Finding]:
    if not rows and not letters:
        yield Finding("missing", _named(entry))
    elif entry.is_good and not rows:
        yield Finding("a dead letter although good", f"{_named(entry)}: {letters[0][1]}")
    elif not entry.is_good and not letters:
        yield Finding("a row although bad", _named(entry))
    elif entry.is_good:
        if wrong := _differences(entry, rows[0]):
            yield Finding("payload differs", f"{_named(entry)}: {'; '.join(wrong)}")
    elif not any(_holds(content, entry.letter) for content, _ in letters):
        yield Finding("dead letter differs", _named(entry))


def _is_refused_for_good(entry: Entry) -> bool:
    return not entry.acked and not entry.lost and bool(entry.refused)


def _named(entry: Entry) -> str:
    return f"{entry.id} {entry.user}/{entry.device} {entry.stream} by {entry.door}"


def _differences(entry: Entry, row: Row) -> list[str]:
    """What the row says otherwise than the message did."""
    columns = row.columns
    envelope = {"user_id": entry.user, "device_id": entry.device}
    wrong = [
        f"{name} is {columns.get(name)!r:.200}, sent {value!r:.200}"
        for name, value in {**envelope, **entry.kept}.items()
        if not _includes(columns.get(name), value)
    ]
    if row.stream != entry.stream:
        wrong.append(f"it is in {row.stream}")
    if _instant(columns["ts"]) != datetime.fromisoformat(entry.ts):
        wrong.append(f"ts is {columns['ts']}, sent {entry.ts}")
    if entry.sha256 and columns.get("blob_sha256") != entry.sha256:
        wrong.append(f"its blob is {columns.get('blob_sha256')}, sent {entry.sha256}")
    return wrong


def _includes(kept: Any, sent: Any) -> bool:
    """Whether all that was sent is kept; of objects, more may be."""
    if isinstance(sent, dict):
        return isinstance(kept, dict) and all(
            _includes(kept.get(name), value) for name, value in sent.items()
        )
    return bool(kept == sent)


def _holds(content: bytes, letter: Any) -> bool:
    """Whether a dead letter holds what was sent; `cut`: text that is no JSON, as it came."""
    if letter is None:
        return True
    if set(letter) == {"cut"}:
        return content.decode(errors="replace") == letter["cut"] or _is_same(content, letter)
    return _is_same(content, letter)


def _is_same(content: bytes, letter: Any) -> bool:
    """The same JSON; of a letter that was cut, the JSON that its text is."""
    try:
        found = json.loads(content)
        sent = json.loads(letter["cut"]) if set(letter) == {"cut"} else letter
    except ValueError:
        return False
    return bool(found == sent)


def _blobs(
    entries: Iterable[Entry], owed: Iterable[OwedBlob], evidence: _Evidence, store: BlobStore
) -> Iterator[Finding]:
    """The bytes of every row and of every acked upload have the hash that they are named by."""
    wanted = {blob.key: (blob.sha256, "an upload") for blob in owed}
    for entry in entries:
        for row in evidence.rows.get(entry.id, []) if entry.acked and entry.sha256 else []:
            wanted[row.columns["blob_key"]] = (entry.sha256 or "", _named(entry))
    with ThreadPoolExecutor(8) as pool:
        for key, digest in zip(wanted, pool.map(lambda k: _digest(store, k), wanted), strict=True):
            if digest != wanted[key][0]:
                yield Finding("blob differs", f"{key} of {wanted[key][1]}: {digest or 'absent'}")


def _digest(store: BlobStore, key: str) -> str | None:
    try:
        return hashlib.sha256(store.get(key)).hexdigest()
    except BlobAbsentError:
        return None


def _ledger(
    entries: Collection[Entry], lines: Sequence[tuple[Any, ...]], evidence: _Evidence
) -> Iterator[Finding]:
    """The sums are what the tables hold and what clients were told; unanswered ones may add."""
    sums = {line[:4]: line[4:] for line in lines}
    for account in sorted(sums.keys() | evidence.per_day.keys()):
        received, stored, duplicate, rejected = sums.get(account, (0, 0, 0, 0))
        if received != stored + duplicate + rejected:
            yield Finding("ledger does not add up", f"{account}: {sums[account]}")
        if stored != evidence.per_day[account]:
            held = evidence.per_day[account]
            yield Finding("ledger differs from table", f"{account}: stored {stored}, rows {held}")
    good, bad = Counter[Any](), Counter[Any]()
    for user, device, stream, day, _, stored, duplicate, rejected in lines:
        good[user, device, stream, day] += stored + duplicate
        bad[user, device, stream] += rejected
    yield from _bounded(good, [e for e in entries if e.is_good], is_by_day=True)
    yield from _bounded(bad, [e for e in entries if not e.is_good], is_by_day=False)


def _bounded(
    counted: Mapping[Any, int], entries: Iterable[Entry], *, is_by_day: bool
) -> Iterator[Finding]:
    """Acked ≤ counted ≤ acked + lost, in each account."""
    acked, lost = Counter[Any](), Counter[Any]()
    for entry in entries:
        day = (entry.day,) if is_by_day else ()
        account = (entry.user, entry.device, entry.stream, *day)
        acked[account] += entry.acked
        lost[account] += entry.lost
    for account in sorted(counted.keys() | acked.keys()):
        low, found = acked[account], counted.get(account, 0)
        if not low <= found <= low + lost[account]:
            told = f"{account}: acked {low}, unanswered {lost[account]}, counted {found}"
            yield Finding("ledger differs from what clients were told", told)


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)
