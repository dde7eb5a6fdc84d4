"""How answers leave, and how replicas share a port."""

import asyncio
import socket
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ingest_api.serve import SMALL, Joined, shared_socket
from ingest_api.settings import Settings


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        """Open, nothing sent."""
        self.sent: list[bytes] = []
        self.is_open = True

    def write(self, data: bytes) -> None:
        """One piece."""
        assert self.is_open
        self.sent.append(data)

    def close(self) -> None:
        """No more."""
        self.is_open = False


def written(pieces: list[bytes], *, closes: bool) -> list[bytes]:
    """What goes out where these are written in one turn of the loop."""
    wire: Any = Wire()

    async def write() -> None:
        joined = Joined(wire, asyncio.get_running_loop())
        for piece in pieces:
            joined.write(piece)
        if closes:
            joined.close()
        await asyncio.sleep(0)  # the next turn

    asyncio.run(write())
    sent: list[bytes] = wire.sent
    return sent


def test_an_answers_head_and_body_leave_together() -> None:
    assert written([b"head", b"body"], closes=False) == [b"headbody"]


@given(
    st.lists(st.sampled_from([b"", b"a", b"bc", b"d" * SMALL, b"e" * (SMALL + 1)])), st.booleans()
)
def test_all_that_is_written_is_sent_once_and_in_order(pieces: list[bytes], closes: bool) -> None:
    assert b"".join(written(pieces, closes=closes)) == b"".join(pieces)


def test_two_replicas_listen_at_one_port() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = Settings(api_port=port, api_replicas=2)
    with shared_socket(settings) as one, shared_socket(settings) as other:
        for listening in (one, other):
            listening.listen()
            assert listening.getsockname() == ("127.0.0.1", port)
