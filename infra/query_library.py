"""The library of questions: `queries/*.sql`, each with its name, what it answers, its parameters.

The text of a question is SQL that DuckDB and Trino both run. A parameter is written `:name` and
filled in as a literal of its type, which is checked first.

    -- name: steps_per_day
    -- question: How far did I walk, day by day?
    -- parameter: begin instant = 2026-01-01T00:00Z | The first moment looked at.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from zoneinfo import ZoneInfo

FOLDER = Path(__file__).parent / "queries"
HEADER = re.compile(r"^-- (name|question|parameter): (.+)$")
PARAMETER = re.compile(r"^(\w+) (\w+)(?: = ([^|]*?))? \| (.+)$")
# A string, a quoted name or a comment is passed over; a cast's `::` is none either.
PLACE = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|--[^\n]*|::|:(\w+)")


class QueryLibraryError(Exception):
    """There is no such question, or a parameter of it is missing, unknown or malformed."""


class Kind(StrEnum):
    """What a parameter may hold."""

    INSTANT = "instant"
    DAY = "day"
    ZONE = "zone"
    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"


@dataclass(frozen=True)
class Parameter:
    """`default` None: it has to be given."""

    name: str
    kind: Kind
    default: str | None
    description: str


@dataclass(frozen=True)
class NamedQuery:
    """One question of the library; `text` with its parameters still open."""

    name: str
    question: str
    parameters: tuple[Parameter, ...]
    text: str

    def sql(self, values: Mapping[str, str]) -> str:
        """The text with its parameters filled in.

        Raises: QueryLibraryError for a parameter that is missing, unknown or malformed.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        for name in values:
            if name not in known:
                raise QueryLibraryError(
                    f"{self.name} has no parameter {name!r}; it has {', '.join(known) or 'none'}"
                )
        filled = {name: _filled(known[name], values.get(name)) for name in known}
        return PLACE.sub(lambda found: filled[found[1]] if found[1] else found[0], self.text)


def library(folder: Path = FOLDER) -> dict[str, NamedQuery]:
    """All questions by their names, in alphabetical order."""
    found = (read_query(path.read_text()) for path in sorted(folder.glob("*.sql")))
    return {query.name: query for query in found}


def read_query(text: str) -> NamedQuery:
    """A question as its file has it. Raises: QueryLibraryError for a header that is wrong."""
    head: dict[str, str] = {}
    parameters = []
    for key, value in _header(text):
        if key == "parameter":
            parameters.append(_parameter(value))
        else:
            head[key] = value
    if missing := {"name", "question"} - set(head):
        raise QueryLibraryError(f"its header lacks {' and '.join(sorted(missing))}")
    body = "\n".join(line for line in text.splitlines() if not line.startswith("--")).strip()
    return NamedQuery(head["name"], head["question"], tuple(parameters), body)


def _header(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        if found := HEADER.match(line):
            yield found[1], found[2].strip()


def _parameter(line: str) -> Parameter:
    found = PARAMETER.match(line)
    if found is None or found[2] not in set(Kind):
        raise QueryLibraryError(f"a parameter is `name kind = default | description`, not {line!r}")
    return Parameter(found[1], Kind(found[2]), found[3], found[4])


def _filled(parameter: Parameter, given: str | None) -> str:
    value = given if given is not None else parameter.default
    if value is None:
        raise QueryLibraryError(
            f"give --param {parameter.name}=…, {parameter.kind}: {parameter.description}"
        )
    try:
        return LITERALS[parameter.kind](value)
    except (ValueError, KeyError) as error:
        message = f"{parameter.name}: {value!r} is no {parameter.kind}"
        raise QueryLibraryError(message) from error


def _instant(value: str) -> str:
    at = datetime.fromisoformat(value)
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return f"CAST('{at:%Y-%m-%d %H:%M:%S}.{at.microsecond:06} UTC' AS TIMESTAMP WITH TIME ZONE)"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


LITERALS: Mapping[Kind, Callable[[str], str]] = {
    Kind.INSTANT: _instant,
    Kind.DAY: lambda value: f"DATE '{date.fromisoformat(value)}'",
    Kind.ZONE: lambda value: _text(ZoneInfo(value).key),
    Kind.TEXT: _text,
    Kind.INTEGER: lambda value: str(int(value)),
    Kind.NUMBER: lambda value: repr(float(value)),
}
