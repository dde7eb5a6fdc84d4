"""The one list of all streams."""

from collections.abc import Iterable, Iterator, Mapping

from am_assets.streams import (
    analysis,
    app_usage,
    audio,
    biosignal,
    calendar,
    commands,
    digital,
    health,
    image,
    location,
    mail,
    motion,
    network,
    nudges,
    os_events,
    position,
    sensors,
    social,
    state,
    system,
    tasks,
    text,
    vision,
    web,
)
from am_assets.streams import (
    input as hands,
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
        *vision.STREAMS,
        *position.STREAMS,
        *location.STREAMS,
        *motion.STREAMS,
        *sensors.STREAMS,
        *health.STREAMS,
        *biosignal.STREAMS,
        *state.STREAMS,
        *network.STREAMS,
        *system.STREAMS,
        *app_usage.STREAMS,
        *hands.STREAMS,
        *os_events.STREAMS,
        *nudges.STREAMS,
        *digital.STREAMS,
        *text.STREAMS,
        *web.STREAMS,
        *mail.STREAMS,
        *calendar.STREAMS,
        *social.STREAMS,
        *tasks.STREAMS,
        *commands.STREAMS,
        *analysis.STREAMS,
    )
)
