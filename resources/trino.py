"""Trino: questions to a coordinator, answered as Arrow tables.

Error tree: `TrinoError`: a question that is not sent, or did not end well; the message says why.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import sqlglot
from sqlglot import exp

from am_assets.schemas.postgres import SCHEMA
from resources.trino_catalog import WHOLE

PORTS = {"http": 8080, "https": 443}
SOURCE = "am"
QUESTIONS = (exp.Query, exp.Describe)
# What Trino calls a type, without its length; the rest is told as text.
TYPES: Mapping[str, pa.DataType] = {
    "bigint": pa.int64(),
    "integer": pa.int64(),
    "smallint": pa.int64(),
    "tinyint": pa.int64(),
    "double": pa.float64(),
    "real": pa.float64(),
    "boolean": pa.bool_(),
    "varchar": pa.string(),
    "char": pa.string(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "timestamp with time zone": pa.timestamp("us", tz="UTC"),
    "varbinary": pa.binary(),
}


class TrinoError(Exception):
    """A question to Trino without an answer; the message is Trino's own where it has one."""


@dataclass(frozen=True)
class Trino:
    """A coordinator, asked as one user: `http://host:8080` or `https://user:password@host`.

    The password is the user's of the address; `user` is who is asked for.
    """

    url: str
    user: str

    def query(self, text: str, *, timeout_s: float = 60.0) -> pa.Table:
        """Answer one question; `am.<table>` is `whole.am.<table>`.

        Raises: TrinoError, also for what is no question.
        """
        require_question(text)
        with _translated(), self._connected(timeout_s) as connection:
            cursor = connection.cursor()
            cursor.execute(text)
            rows = cursor.fetchall()
            return answer_table(cursor.description, rows)

    def run(self, statement: str, *, timeout_s: float = 60.0) -> None:
        """Carry out one statement. Raises: TrinoError."""
        with _translated(), self._connected(timeout_s) as connection:
            cursor = connection.cursor()
            cursor.execute(statement)
            cursor.fetchall()

    @contextmanager
    def _connected(self, timeout_s: float) -> Iterator[Any]:
        from trino import dbapi  # noqa: PLC0415 (an engine that few have)
        from trino.auth import BasicAuthentication  # noqa: PLC0415

        place = urlsplit(self.url)
        scheme = place.scheme or "http"
        auth = None
        if place.username and place.password:
            auth = BasicAuthentication(unquote(place.username), unquote(place.password))
        connection = dbapi.connect(  # type: ignore[no-untyped-call] # the client's own has no types
            host=place.hostname or "127.0.0.1",
            port=place.port or PORTS.get(scheme, PORTS["http"]),
            http_scheme=scheme,
            user=self.user,
            auth=auth,
            source=SOURCE,
            catalog=WHOLE,
            schema=SCHEMA,
            timezone="UTC",
            session_properties={"query_max_execution_time": f"{max(1, round(timeout_s))}s"},
        )
        try:
            yield connection
        finally:
            connection.close()


def require_question(text: str) -> None:
    """Raises: TrinoError for what is no question in Trino's SQL, or more than one."""
    try:
        statements = sqlglot.parse(text, dialect="trino")
    except sqlglot.errors.SqlglotError as error:
        raise TrinoError(f"this is not SQL: {error}") from error
    if len(statements) != 1:
        raise TrinoError("give one statement")
    (statement,) = statements
    if not isinstance(statement, QUESTIONS) and not _is_show(statement):
        raise TrinoError("only questions are answered: SELECT, WITH, DESCRIBE, SHOW")


def _is_show(statement: object) -> bool:
    """sqlglot does not look into SHOW; it changes nothing, whatever follows."""
    return isinstance(statement, exp.Command) and str(statement.this).upper() == "SHOW"


def answer_table(description: Any, rows: list[Any]) -> pa.Table:
    """Rows as the client gives them, in columns of Arrow's types."""
    if not description:
        return pa.table({})
    kinds = [arrow_type(column[1]) for column in description]
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(kinds)
    arrays = [
        pa.array([_fitted(kind)(value) for value in column], kind)
        for column, kind in zip(columns, kinds, strict=True)
    ]
    return pa.Table.from_arrays(arrays, names=[column[0] for column in description])


def arrow_type(name: str) -> pa.DataType:
    """Of `timestamp(6) with time zone` and its like."""
    head, _, rest = name.lower().partition("(")
    bare = f"{head}{rest.partition(')')[2]}" if rest else head
    return TYPES.get(bare, pa.string())


def _fitted(kind: pa.DataType) -> Callable[[Any], Any]:
    if kind == pa.string():
        return lambda value: value if value is None or isinstance(value, str) else str(value)
    return lambda value: value


@contextmanager
def _translated() -> Iterator[None]:
    import requests  # noqa: PLC0415 (comes with the client)
    from trino import exceptions  # noqa: PLC0415

    try:
        yield
    except exceptions.TrinoQueryError as error:
        raise TrinoError(error.message) from error
    except (exceptions.Error, exceptions.TrinoConnectionError) as error:
        raise TrinoError(str(error)) from error
    except (exceptions.HttpError, requests.RequestException) as error:
        raise TrinoError(f"the coordinator does not answer: {error}") from error
