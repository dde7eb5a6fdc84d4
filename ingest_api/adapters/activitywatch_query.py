"""ActivityWatch's query language, as much of it as is needed to ask for events. Pure.

A query is a list of assignments; the value of `RETURN` is the answer. Only the functions named in
`FUNCTIONS` exist, and they can do nothing but read the events that they are given.
"""

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ingest_api.adapters.activitywatch import Bucket
from ingest_api.errors import IngestError

MAX_STATEMENTS = 200
CONSTANTS: Mapping[str, Any] = {"true": True, "false": False, "none": None}

Events = list[dict[str, Any]]


class QueryError(IngestError):
    """A query that can't be answered; the message says why."""


@dataclass(frozen=True)
class Period:
    """The span that a query is asked for."""

    begin: datetime
    end: datetime


@dataclass(frozen=True)
class Asked:
    """What a query may look at: buckets by id, and a bucket's events within its period."""

    buckets: Mapping[str, Bucket]
    events_of: Callable[[Bucket], Events]


def period_of(text: Any) -> Period:
    """A period as the app writes it: two times with a zone, and a slash between them.

    Raises: QueryError.
    """
    begin, _, end = str(text).partition("/")
    try:
        period = Period(datetime.fromisoformat(begin), datetime.fromisoformat(end))
        is_upright = period.begin <= period.end
    except (ValueError, TypeError) as error:
        raise QueryError(f"timeperiods: {str(text)[:100]!r} is not <begin>/<end>") from error
    if period.begin.tzinfo is None or period.end.tzinfo is None or not is_upright:
        raise QueryError("timeperiods: both times need a zone, and the end comes after the begin")
    return period


def answer(lines: Any, asked: Asked) -> Any:
    """The value of `RETURN`.

    Raises: QueryError.
    """
    values: dict[str, Any] = {}
    for name, expression in _statements(lines):
        values[name] = _value(expression, values, asked)
    if "RETURN" not in values:
        raise QueryError("a query must assign RETURN")
    return values["RETURN"]


def _statements(lines: Any) -> list[tuple[str, ast.expr]]:
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise QueryError("query must be a list of text")
    text = "\n".join(line.strip() for line in lines)
    try:
        found = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise QueryError(f"the query can't be read: {error}") from error
    if len(found) > MAX_STATEMENTS:
        raise QueryError(f"a query has at most {MAX_STATEMENTS} statements")
    return [_assignment(statement) for statement in found]


def _assignment(statement: ast.stmt) -> tuple[str, ast.expr]:
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=expression):
            return name, expression
    raise QueryError(f"line {statement.lineno}: a statement is <name> = <value>")


def _value(expression: ast.expr, values: Mapping[str, Any], asked: Asked) -> Any:
    match expression:
        case ast.Constant(value=bool() | int() | float() | str() | None as constant):
            return constant
        case ast.Name(id=name) if name in values or name in CONSTANTS:
            return values[name] if name in values else CONSTANTS[name]
        case ast.Name(id=name):
            raise QueryError(f"{name!r} has no value yet")
        case ast.List(elts=parts):
            return [_value(part, values, asked) for part in parts]
        case ast.Dict(keys=keys, values=parts) if None not in keys:
            named = zip(keys, parts, strict=True)
            return {
                str(_value(key, values, asked)): _value(part, values, asked)
                for key, part in named
                if key is not None
            }
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as size)):
            return -size
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            return _called(name, [_value(one, values, asked) for one in arguments], asked)
    raise QueryError(f"line {expression.lineno}: this kind of expression is not known")


def _called(name: str, arguments: Sequence[Any], asked: Asked) -> Any:
    if name not in FUNCTIONS:
        raise QueryError(f"there is no function {name!r}; there are {', '.join(FUNCTIONS)}")
    try:
        return FUNCTIONS[name](asked, *arguments)
    except (TypeError, KeyError, AttributeError, ValueError, IndexError) as error:
        raise QueryError(f"{name}: the arguments don't fit: {error}") from error


def _find_bucket(asked: Asked, begin: str, hostname: str | None = None) -> str:
    fitting = (
        bucket.bucket_id
        for bucket in asked.buckets.values()
        if bucket.bucket_id.startswith(begin) and hostname in (None, bucket.hostname)
    )
    found = next(fitting, None)
    if found is None:
        raise QueryError(f"there is no bucket whose id begins with {begin!r}")
    return found


def _query_bucket(asked: Asked, bucket_id: str) -> Events:
    if bucket_id not in asked.buckets:
        raise QueryError(f"there is no bucket {bucket_id!r}")
    return asked.events_of(asked.buckets[bucket_id])


def _keep(_asked: Asked, events: Events, key: str, wanted: list[Any]) -> Events:
    return [event for event in events if key in event["data"] and event["data"][key] in wanted]


def _leave_out(_asked: Asked, events: Events, key: str, unwanted: list[Any]) -> Events:
    return [event for event in events if event["data"].get(key) not in unwanted]


def _begin(event: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(event["timestamp"])


def _end(event: Mapping[str, Any]) -> datetime:
    return _begin(event) + timedelta(seconds=event["duration"])


def clipped(event: Mapping[str, Any], begin: datetime, end: datetime) -> dict[str, Any]:
    """The part of an event that lies within a span that it touches."""
    first, last = max(_begin(event), begin), min(_end(event), end)
    seconds = (last - first).total_seconds()
    return {**event, "timestamp": first.isoformat(), "duration": max(0.0, seconds)}


def _intersect(_asked: Asked, events: Events, others: Events) -> Events:
    """The parts of events that lie within others; both are taken in the order of time."""
    ordered, spans = sorted(events, key=_begin), sorted(others, key=_begin)
    parts: Events = []
    here = there = 0
    while here < len(ordered) and there < len(spans):
        event, span = ordered[here], spans[there]
        if _begin(event) < _end(span) and _begin(span) < _end(event):
            parts.append(clipped(event, _begin(span), _end(span)))
        here, there = (here + 1, there) if _end(event) <= _end(span) else (here, there + 1)
    return parts


def _merge(_asked: Asked, events: Events, keys: list[str]) -> Events:
    """One event for each combination of the keys' values, as long as all of them."""
    merged: dict[str, dict[str, Any]] = {}
    for event in events:
        data = {key: event["data"][key] for key in keys if key in event["data"]}
        first = merged.setdefault(
            repr(data),
            {"id": None, "timestamp": event["timestamp"], "duration": 0.0, "data": data},
        )
        first["duration"] += event["duration"]
    return list(merged.values())


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "find_bucket": _find_bucket,
    "query_bucket": _query_bucket,
    "query_bucket_eventcount": lambda asked, bucket_id: len(_query_bucket(asked, bucket_id)),
    "filter_keyvals": _keep,
    "exclude_keyvals": _leave_out,
    "filter_period_intersect": _intersect,
    "merge_events_by_keys": _merge,
    "sort_by_timestamp": lambda _, events: sorted(events, key=_begin),
    "sort_by_duration": lambda _, events: sorted(events, key=lambda event: -event["duration"]),
    "limit_events": lambda _, events, count: events[: max(0, count)],
    "sum_durations": lambda _, events: sum(event["duration"] for event in events),
    "concat": lambda _, events, others: [*events, *others],
    "nop": lambda _: 1,
}
