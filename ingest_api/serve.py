"""How the front door is served: `python -m ingest_api.serve`. TLS, deadlines, and what is logged.

uvicorn gives a client all the time it wants for its headers and for reading an answer; `Deadlines`
does not.
"""

import asyncio
import logging
import socket
import sys
from asyncio import TimerHandle
from collections.abc import Callable
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ingest_api.limits import IS_WHOLE, MIB
from ingest_api.main import app_from_environment
from ingest_api.settings import Settings

MAX_HEAD = 64 * 1024  # bytes of all headers of a request
SMALL = 4 * 1024  # bytes; what is larger is worth a piece of its own
MAX_PIECES = 8  # that wait for the end of the loop's turn
KEEP_ALIVE_S = 30
GRACE_S = 15
# Large bodies are understood in a thread. Python would let it go on for 5 ms whenever the others
# have a millisecond's work to do, such as handing PostgreSQL the next piece of a COPY.
SWITCH_S = 0.001
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"refused sockets": {"()": "ingest_api.serve.RefusedSockets"}},
    "formatters": {
        "redacted": {
            "()": "ingest_api.redaction.RedactingFormatter",
            "format": "%(asctime)s %(levelname)s %(name)s %(message)s",
        }
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "filters": ["refused sockets"],
            "formatter": "redacted",
            "stream": "ext://sys.stderr",
        }
    },
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {"httpx": {"level": "WARNING"}},
}


class RefusedSockets(logging.Filter):
    """Leaves out what uvicorn takes for a fault of ours: a socket not opened but answered."""

    def filter(self, record: logging.LogRecord) -> bool:
        """False for that line alone."""
        return record.msg != "ASGI callable returned without completing handshake."


class Joined:
    """A transport that sends the small pieces of one turn of the loop together.

    uvicorn writes an answer's head and its body, and each would go out, and wake the client, alone.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        """What is not about writing, `transport` does itself."""
        self._transport = transport
        self._loop = loop
        self._pieces: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        """As the transport has it."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send now what is large, so that the transport can say that it has enough; else soon."""
        if len(data) > SMALL:
            self._flush()
            self._transport.write(data)
            return
        if not self._pieces:
            self._loop.call_soon(self._flush)
        self._pieces.append(data)
        if len(self._pieces) > MAX_PIECES:
            self._flush()

    def close(self) -> None:
        """Once all is sent."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._pieces:
            pieces, self._pieces = self._pieces, []
            self._transport.write(b"".join(pieces))


class Deadlines(HttpToolsProtocol):
    """One connection, ended where its client is too slow or its headers are too large."""

    head_s = 10.0
    send_s = 60.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As uvicorn makes it."""
        super().__init__(*args, **kwargs)
        self._head_timer: TimerHandle | None = None
        self._send_timer: TimerHandle | None = None
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """The first request's headers are awaited from now on."""
        joined: Any = Joined(transport, self.loop)
        super().connection_made(joined)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Bytes came; those of a head that is not complete yet are counted."""
        super().data_received(data)
        if self._head_timer is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD:
                self._end_head("the headers are too large")

    def on_message_begin(self) -> None:
        """A request's first byte."""
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        """All headers are there."""
        self._cancel_head()
        super().on_headers_complete()
        scope: Any = self.scope
        if (cycle := self.cycle) is not None:
            scope[IS_WHOLE] = lambda: not cycle.more_body

    def pause_writing(self) -> None:
        """The client does not read; it gets so long to begin again."""
        super().pause_writing()
        self._send_timer = self.loop.call_later(self.send_s, self.transport.abort)

    def resume_writing(self) -> None:
        """It reads."""
        super().resume_writing()
        self._cancel_send()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is awaited any more."""
        self._cancel_head()
        self._cancel_send()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._cancel_head()
        self._head_bytes = 0
        self._head_timer = self.loop.call_later(
            self.head_s, self._end_head, "the headers did not come in time"
        )

    def _end_head(self, why: str) -> None:
        self._cancel_head()
        if not self.transport.is_closing():
            self.send_400_response(why)

    def _cancel_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _cancel_send(self) -> None:
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None


def protocol(settings: Settings) -> type[Deadlines]:
    """The protocol with a configuration's deadlines."""
    return type(
        "ConfiguredDeadlines",
        (Deadlines,),
        {"head_s": settings.api_head_timeout_s, "send_s": settings.api_send_idle_s},
    )


def configuration(
    settings: Settings, app: FastAPI | Callable[[], FastAPI], **options: Any
) -> uvicorn.Config:
    """What uvicorn is told; `options` replace some of it."""
    tls = settings.tls_files()
    told = {
        "host": settings.api_host,
        "port": settings.api_port,
        "factory": not isinstance(app, FastAPI),
        "http": protocol(settings),
        "ws_max_size": settings.api_ws_max_mb * MIB,
        "log_config": LOGGING,
        "access_log": False,  # it writes whole paths; `middleware.Trace` writes patterns
        "server_header": False,
        "proxy_headers": bool(settings.api_proxies),
        "forwarded_allow_ips": settings.api_proxies or None,
        "timeout_keep_alive": KEEP_ALIVE_S,
        "timeout_graceful_shutdown": GRACE_S,
        "ssl_certfile": tls[0] if tls else None,
        "ssl_keyfile": tls[1] if tls else None,
    }
    return uvicorn.Config(app, **{**told, **options})


def shared_socket(settings: Settings) -> socket.socket:
    """Where several replicas on one machine take connections in turn, each by a socket of its own.

    Raises: OSError where somebody else has the port.
    """
    family = socket.AF_INET6 if ":" in settings.api_host else socket.AF_INET
    shared = socket.socket(family, socket.SOCK_STREAM)
    shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    shared.bind((settings.api_host, settings.api_port))
    return shared


def main() -> None:
    """Serve until a signal; exit code 3 where the start fails."""
    sys.setswitchinterval(SWITCH_S)
    settings = Settings()
    server = uvicorn.Server(configuration(settings, app_from_environment))
    server.run(sockets=[shared_socket(settings)] if settings.api_replicas > 1 else None)
    if not server.started:
        sys.exit(3)


if __name__ == "__main__":
    main()
