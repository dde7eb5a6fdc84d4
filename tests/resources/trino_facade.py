"""A server that speaks the Trino client's protocol, over DuckDB: it is NOT Trino.

It shows that the client is used rightly: addresses, headers, types, errors. What only Trino can
show (catalogs, access control, its own SQL) is tested where `AM_TEST_TRINO_URL` names a server.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import duckdb
import sqlglot

NAMES = {
    "BIGINT": "bigint",
    "INTEGER": "integer",
    "DOUBLE": "double",
    "BOOLEAN": "boolean",
    "VARCHAR": "varchar",
    "DATE": "date",
    "TIMESTAMP WITH TIME ZONE": "timestamp(6) with time zone",
}
COMMANDS = ("CREATE ", "CALL ")


@dataclass
class Facade:
    """Where it answers, and what it was told."""

    url: str = ""
    statements: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def facade() -> Iterator[Facade]:
    """Serves on a free loopback port until the block ends."""
    told = Facade()

    class Handler(Answering):
        facade = told

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


class Answering(BaseHTTPRequestHandler):
    """One request."""

    facade: ClassVar[Facade]

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.facade.headers.append({name.lower(): value for name, value in self.headers.items()})
        try:
            self._answer(self._result(text))
        except duckdb.Error as error:
            self._answer({"error": _error(str(error))}, state="FAILED")
        self.facade.statements.append(text)

    def do_DELETE(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Nothing: a test tells enough."""

    def _result(self, text: str) -> dict[str, Any]:
        if text.startswith(COMMANDS):
            if text.startswith("CALL") and text in self.facade.statements:
                return {"error": _error("Table already exists: 'x'")}
            return {"updateType": "DONE"}
        with duckdb.connect() as engine:
            translated = sqlglot.transpile(text, read="trino", write="duckdb")[0]
            found = engine.execute(translated)
            columns = [_column(name, str(kind)) for name, kind, *_ in found.description or []]
            rows = [[_plain(value) for value in row] for row in found.fetchall()]
        return {"columns": columns, "data": rows}

    def _answer(self, result: dict[str, Any], state: str = "FINISHED") -> None:
        stats = {"state": "FAILED" if "error" in result else state}
        body = {"id": "q1", "infoUri": "http://127.0.0.1/q1", "stats": stats, **result}
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _column(name: str, kind: str) -> dict[str, Any]:
    known = NAMES.get(kind, "varchar")
    raw = known.replace("(6)", "")
    length = {"varchar": 2147483647, "timestamp with time zone": 6}.get(raw)
    arguments = [] if length is None else [{"kind": "LONG", "value": length}]
    return {"name": name, "type": known, "typeSignature": {"rawType": raw, "arguments": arguments}}


def _error(message: str) -> dict[str, Any]:
    return {
        "message": message,
        "errorCode": 1,
        "errorName": "GENERIC_USER_ERROR",
        "errorType": "USER_ERROR",
    }


def _plain(value: Any) -> Any:
    if hasattr(value, "tzinfo") and value.tzinfo is not None:
        return f"{value:%Y-%m-%d %H:%M:%S.%f} UTC"
    return value if value is None or isinstance(value, (int, float, bool, str)) else str(value)
