"""Questions to services on D-Bus. Nothing is started by asking, and nothing is waited for long."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from jeepney import DBusAddress, MessageFlag, MessageType, Properties, new_method_call
from jeepney.io.blocking import DBusConnection, open_dbus_connection
from jeepney.low_level import Message

from collectors.desktop.errors import SourceUnavailableError

TIMEOUT_S = 2.0


class BusError(Exception):
    """A service said no, or there is no such service."""


class Bus:
    """One connection, for one thread: `SYSTEM`, `SESSION`, or an address."""

    def __init__(self, which: str) -> None:
        """Connect. Raises: SourceUnavailableError where there is no such bus."""
        try:
            self._connection: DBusConnection = open_dbus_connection(bus=which)
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            told = f"the D-Bus {which} bus can't be reached ({type(error).__name__}: {error})"
            raise SourceUnavailableError(told) from error

    def close(self) -> None:
        """Leave."""
        self._connection.close()

    def call(self, address: DBusAddress, method: str) -> Any:
        """The first thing that a method without arguments returns.

        Raises: BusError, SourceUnavailableError where the bus has gone.
        """
        return self._asked(new_method_call(address, method))

    def get(self, address: DBusAddress, name: str) -> Any:
        """A property. Raises: as `call`."""
        kind, value = self._asked(Properties(address).get(name))
        del kind  # D-Bus's own name of the type
        return value

    def _asked(self, message: Message) -> Any:
        message.header.flags |= MessageFlag.no_auto_start
        with _reaching():
            answer = self._connection.send_and_get_reply(message, timeout=TIMEOUT_S)
        if answer.header.message_type is MessageType.error:
            raise BusError(str(answer.body[0] if answer.body else "no"))
        return answer.body[0] if answer.body else None

    def __enter__(self) -> "Bus":
        """For a `with`."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None
    ) -> None:
        """Leave."""
        self.close()


@contextmanager
def _reaching() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise BusError("no answer in time") from error
    except OSError as error:
        raise SourceUnavailableError(f"the D-Bus connection has ended: {error}") from error
