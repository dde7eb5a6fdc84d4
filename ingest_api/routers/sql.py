"""SQL over HTTP: one question over one user's rows, wherever they are; nothing can be changed."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Self

import pyarrow as pa
from fastapi import APIRouter, Depends, HTTPException, Request, Response, status
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import from_json

from ingest_api.audit import Tallied
from ingest_api.auth import require
from ingest_api.border import translating
from ingest_api.errors import BusyError, UnavailableError
from ingest_api.services import Services
from ingest_api.settings import Settings
from ingest_api.tokens import Principal, Scope
from resources.connections import Connections
from resources.duck import (
    DuckError,
    DuckOptions,
    Limits,
    NotReadOnlyError,
    OutOfMemoryError,
    TimedOutError,
    TooLargeError,
    UnreachableError,
)
from resources.duck_workers import BusyDuckError, DuckWorkers, Question, Setup

router = APIRouter(tags=["asking"])

ARROW = "application/vnd.apache.arrow.stream"
MIB = 2**20
THREADS = 1  # of one question: several wait by asking again and again, at the others' cost
STATUSES: dict[type[DuckError], int] = {
    NotReadOnlyError: status.HTTP_403_FORBIDDEN,
    TimedOutError: status.HTTP_408_REQUEST_TIMEOUT,
    TooLargeError: status.HTTP_413_CONTENT_TOO_LARGE,
    OutOfMemoryError: status.HTTP_413_CONTENT_TOO_LARGE,
}
Value = str | int | float | bool | None


class Asked(BaseModel):
    """One question. Its `?`s are filled by `parameters`, in their order."""

    model_config = ConfigDict(extra="forbid")

    query: str = Field(min_length=1, max_length=100_000, description="One SELECT, of DuckDB's SQL.")
    parameters: list[Value] = Field(default=[], max_length=1000)
    limit: int | None = Field(
        default=None, ge=1, description="Rows; an answer that has more is refused, not cut."
    )
    timeout_s: float | None = Field(default=None, gt=0, description="At most the server's own.")

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        """The same JSON under another type: what `curl -d` sends says it is a form."""
        if not isinstance(value, str | bytes):
            return value
        try:
            return from_json(value)
        except ValueError as error:
            raise ValueError(f'send JSON like {{"query": "SELECT 1"}}: {error}') from error

    @model_validator(mode="after")
    def _is_finite(self) -> Self:
        if self.timeout_s is not None and not math.isfinite(self.timeout_s):
            raise ValueError("timeout_s has to be a number of seconds")
        return self

    def limits(self, settings: Settings) -> Limits:
        """What was asked for, and no more than the server gives."""
        return Limits(
            timeout_s=min(self.timeout_s or math.inf, settings.sql_timeout_s),
            rows=min(self.limit or settings.sql_max_rows, settings.sql_max_rows),
            byte_count=settings.sql_max_mb * MIB,
        )


class Column(BaseModel):
    """A column of an answer; `type` as Arrow calls it."""

    name: str
    type: str


class Answer(BaseModel):
    """Rows in the order of the columns. Times are ISO 8601, spans seconds, bytes hexadecimal."""

    columns: list[Column]
    rows: list[list[Any]]
    row_count: int


def workers(settings: Settings, connections: Connections) -> DuckWorkers:
    """The processes that answer; none is started before somebody asks."""
    options = DuckOptions(
        extension_directory=settings.home / "duckdb" if settings.home.exists() else None,
        attach=settings.home / "attach",
        copies=settings.lake_copies(),
        memory_limit=f"{settings.sql_memory_mb // 2}MB",
        threads=THREADS,
        timeout_s=settings.sql_timeout_s,
    )
    setup = Setup(connections=connections, options=options, memory_mb=settings.sql_memory_mb)
    return DuckWorkers(setup, count=settings.sql_processes)


def get_services(request: Request) -> Services:
    """Those that the application was started with."""
    services: Services = request.app.state.services
    return services


@router.post(
    "/v1/sql",
    response_model=Answer,
    responses={
        200: {"content": {ARROW: {}}},
        403: {"description": "It is no question, or names a function that may not be used."},
        408: {"description": "It ran longer than it may."},
        413: {"description": "Its answer is too large, or it needs too much memory."},
        422: {"description": "DuckDB's own objection."},
    },
)
def sql(
    asked: Asked,
    request: Request,
    principal: Annotated[Principal, Depends(require(Scope.SQL))],
    services: Annotated[Services, Depends(get_services)],
    tally: Tallied,
) -> Any:
    """Your rows in SQL: `hot.am.…`, `lake.am.…`, or `am.…` for both; `SHOW ALL TABLES` lists them.

    With `Accept: application/vnd.apache.arrow.stream` the answer is an Arrow IPC stream.
    """
    question = Question(
        user_id=principal.user_id,
        text=asked.query,
        parameters=tuple(asked.parameters),
        limits=asked.limits(services.settings),
    )
    with _answering():
        body = services.sql.ask(question)
    found = pa.ipc.open_stream(body).read_all()
    tally.count = found.num_rows
    if ARROW in request.headers.get("accept", ""):
        return Response(body, media_type=ARROW)
    return _shown(found)


def _shown(found: pa.Table) -> Answer:
    columns = [[plain(value) for value in column.to_pylist()] for column in found.columns]
    return Answer(
        columns=[Column(name=field.name, type=str(field.type)) for field in found.schema],
        rows=[list(row) for row in zip(*columns, strict=True)],
        row_count=found.num_rows,
    )


def plain(value: Any) -> Any:
    """A value as JSON has it; what it has not is told as text."""
    if isinstance(value, dict):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return _plain_scalar(value)


def _plain_scalar(value: Any) -> Any:
    if isinstance(value, (date, datetime, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Decimal) or (isinstance(value, float) and not math.isfinite(value)):
        return str(value)
    return value


@contextmanager
def _answering() -> Iterator[None]:
    """Turn why there is no answer into what a client is told."""
    with translating():
        try:
            yield
        except BusyDuckError as error:
            raise BusyError(str(error)) from error
        except UnreachableError as error:
            raise UnavailableError("a store does not answer: ask again later") from error
        except DuckError as error:
            known = STATUSES.get(type(error), status.HTTP_422_UNPROCESSABLE_CONTENT)
            raise HTTPException(known, str(error)) from error
