"""The one list of all streams."""

from collections.abc import Iterable, Iterator, Mapping

from am_assets.streams import (
    audio,
    digital,
    health,
    image,
    motion,
    os_events,
    position,
    state,
    text,
)
from am_assets.streams.stream import Stream


class UnknownStreamError(KeyError):
    """No stream has this name."""

    def __str__(self) -> str:
        """Say what to do, without KeyError's quotes."""
        return f"there is no stream called {self.args[0]!r}; GET /v1/streams lists them"


class Registry(Mapping[str, Stream]):
    """Streams by name, in the order they were declared. `with_stream` gives a larger one."""

    def __init__(self, streams: Iterable[Stream]) -> None:
        """Raises ValueError when two streams share a name or a door."""
        self._streams: dict[str, Stream] = {}
        for stream in streams:
            self._add(stream)

    def __getitem__(self, name: str) -> Stream:
        """Raises UnknownStreamError."""
        try:
            return self._streams[name]
        except KeyError:
            raise UnknownStreamError(name) from None

    def __iter__(self) -> Iterator[str]:
        """Names in the order of declaration."""
        return iter(self._streams)

    def __len__(self) -> int:
        """How many streams there are."""
        return len(self._streams)

    @property
    def raw(self) -> tuple[Stream, ...]:
        """What devices and apps send."""
        return tuple(stream for stream in self.values() if not stream.is_derived)

    @property
    def derived(self) -> tuple[Stream, ...]:
        """What enrichments add."""
        return tuple(stream for stream in self.values() if stream.is_derived)

    def with_stream(self, stream: Stream) -> "Registry":
        """The same streams and one more."""
        return Registry((*self.values(), stream))

    def _add(self, stream: Stream) -> None:
        doors = {door.path for known in self._streams.values() for door in known.doors}
        if stream.name in self._streams:
            raise ValueError(f"two streams are called {stream.name}")
        if taken := doors & {door.path for door in stream.doors}:
            raise ValueError(f"{stream.name}: {', '.join(taken)} belongs to another stream")
        self._streams[stream.name] = stream


REGISTRY = Registry(
    (
        *audio.STREAMS,
        *image.STREAMS,
        *position.STREAMS,
        *motion.STREAMS,
        *health.STREAMS,
        *state.STREAMS,
        *os_events.STREAMS,
        *digital.STREAMS,
        *text.STREAMS,
    )
)
