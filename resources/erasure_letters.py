"""Which dead letters are of a span: what could not be read has only the times that it names.

A letter that names times is of the span when one of them is; one that names none, when it came on a
day of it.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import psycopg

from resources.blobs import BlobAbsentError, BlobStore
from resources.erasure_rows import Scope
from resources.hot import Span

DAY = timedelta(days=1)
ISO = re.compile(
    r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?\d*(?:Z|[+-]\d{2}:?\d{2})?)?"
)
EPOCH = re.compile(r"(?<![\d.])(\d{10})(\d{3}|\d{6}|\d{9})?(?!\d)")
_LETTERS = """
SELECT dead_letter_id, day, payload, payload_key FROM am.dead_letter WHERE user_id = %s
"""


def letters_of(connection: psycopg.Connection, blobs: BlobStore, scope: Scope) -> list[UUID]:
    """The ids of the user's dead letters that are of the span. Raises: psycopg.Error, BlobError."""
    found = []
    with connection.cursor() as cursor:
        for letter_id, day, payload, key in cursor.execute(_LETTERS, (scope.user_id,)):
            if scope.is_whole or is_of(_text(blobs, payload, key), day, scope):
                found.append(letter_id)
    return found


def is_of(text: str, day: date, scope: Scope) -> bool:
    """Whether a letter that came on a UTC day, and says this, is of the span."""
    times = list(instants(text))
    return any(_meets(begin, end, scope) for begin, end in times or [_whole(day)])


def instants(text: str) -> Iterator[tuple[datetime, datetime]]:
    """The times that a text names, from the first to the last that each may mean.

    ISO 8601, of a day or a time, and seconds since 1970 with their parts. Where no zone is named,
    any is meant.
    """
    for found in ISO.finditer(text):
        with suppress(ValueError, OverflowError):  # a thirteenth month, the last day of all
            yield _meant(found[0])
    for found in EPOCH.finditer(text):
        at = datetime.fromtimestamp(int(found[1]), tz=UTC)
        yield at, at + timedelta(seconds=1)


def _meant(text: str) -> tuple[datetime, datetime]:
    at = datetime.fromisoformat(text)
    if at.tzinfo is not None:
        return at, at
    return _widened(at, at + DAY if len(text) == len("2026-05-04") else at)


def _widened(begin: datetime, end: datetime) -> tuple[datetime, datetime]:
    furthest = timedelta(hours=14)  # of any zone from UTC
    return begin.replace(tzinfo=UTC) - furthest, end.replace(tzinfo=UTC) + furthest


def _whole(day: date) -> tuple[datetime, datetime]:
    span = Span.of_day(day)
    return span.begin, span.end - timedelta(microseconds=1)


def _meets(begin: datetime, end: datetime, scope: Scope) -> bool:
    return (scope.end is None or begin < scope.end) and (scope.begin is None or end >= scope.begin)


def _text(blobs: BlobStore, payload: bytes | None, key: str | None) -> str:
    if payload is None:
        try:
            payload = blobs.get(key or "")
        except BlobAbsentError:  # an earlier go at it has removed the payload
            return ""
    return payload.decode(errors="replace")
