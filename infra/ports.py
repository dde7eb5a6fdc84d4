"""Loopback ports: which are free, who holds one that is not."""

import errno
import random
import socket
from collections.abc import Iterable

import psutil

from infra.errors import AddressError

LOOPBACK = "127.0.0.1"
# Below the usual ephemeral range (32768 on Linux), so that no outgoing connection can sit on the
# port of a part that is just restarting.
CHOICE = range(20_000, 32_000)
PAIR_CHOICE = range(10_000, 20_000)  # for a port whose partner is 10 000 above


def is_free(port: int, *, host: str = LOOPBACK) -> bool:
    """Whether a server could listen on this port now.

    Raises: AddressError where the reason is not another listener.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as cause:
            if cause.errno == errno.EADDRINUSE:
                return False
            reason = f"Nothing can listen on {host} port {port}: {cause.strerror}."
            raise AddressError(f"{reason} Set AM_API_HOST or the port anew.") from cause
    return True


def shuffled(ports: range) -> list[int]:
    """All of them in no order, so that two stacks that start at once rarely choose alike."""
    return random.sample(ports, len(ports))  # no secret # nosec B311


def choose_free(names: Iterable[str], *, taken: Iterable[int] = ()) -> dict[str, int]:
    """A free port for each name, all different and none of `taken`."""
    wanted = list(names)
    used = set(taken)
    chosen: dict[str, int] = {}
    for port in shuffled(CHOICE):
        if len(chosen) == len(wanted):
            break
        if port not in used and is_free(port):
            chosen[wanted[len(chosen)]] = port
    return chosen


def holder_of(port: int) -> str | None:
    """The listening process as `name (pid N)`; None where the system does not tell."""
    try:
        sockets = psutil.net_connections("tcp")
    except psutil.AccessDenied:
        return None
    for found in sockets:
        own = getattr(found.laddr, "port", None)  # an empty tuple where there is no address
        if found.status == psutil.CONN_LISTEN and own == port and found.pid:
            return _describe(found.pid)
    return None


def _describe(pid: int) -> str | None:
    try:
        return f"{psutil.Process(pid).name()} (pid {pid})"
    except psutil.NoSuchProcess:
        return None
