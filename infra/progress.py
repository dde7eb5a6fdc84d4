"""How long work tells how far it is: what it is at, how much of it is done, of how much."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]


def no_progress(_what: str, _done: int, _total: int) -> None:
    """For callers that show none."""
