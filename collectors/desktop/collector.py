"""The loop: every source has its turn, the rules see all it tells, the sink keeps the rest."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from collectors.desktop.clock import Timetable, look_at_clocks
from collectors.desktop.errors import SourceUnavailableError
from collectors.desktop.exclusions import Exclusions
from collectors.desktop.observation import Moment, Observation
from collectors.desktop.sinks import Sink
from collectors.desktop.sources.source import Source

log = logging.getLogger(__name__)
T = TypeVar("T")

LONGEST_WAIT_S = 1.0  # the loop's own clock stands still in sleep: so it looks often
AGAIN_S = 30.0


class OneThread:
    """The one thread in which sources, rules and spool live; the loop stays free for the wire."""

    def __init__(self) -> None:
        """Start it."""
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="collect")

    async def __call__(self, work: Callable[[], T]) -> T:
        """The result of `work`, done there."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """Let it finish what it does."""
        self._pool.shutdown()


@dataclass
class Seat:
    """A source and how it is. `problem` None = it is open and runs."""

    source: Source
    problem: str | None = "not opened yet"
    fileno: int | None = None
    has_spoken: bool = False


class Collector:
    """Runs sources. All but `run` and `wake` belong into the one thread."""

    def __init__(
        self,
        sources: Iterable[Source],
        exclusions: Exclusions,
        sink: Sink,
        *,
        is_locked: Callable[[float], bool],
        look: Callable[[], Moment] = look_at_clocks,
    ) -> None:
        """`is_locked` is asked with the boot clock before every turn; `look` gives the clocks."""
        self._seats = {source.name: Seat(source) for source in sources}
        self._exclusions = exclusions
        self._sink = sink
        self._is_locked = is_locked
        self._look = look
        intervals = {name: seat.source.interval_s for name, seat in self._seats.items()}
        self._timetable = Timetable(intervals, look().boot_s)

    @property
    def problems(self) -> dict[str, str]:
        """The sources that do not run, and why."""
        return {name: seat.problem for name, seat in self._seats.items() if seat.problem}

    async def run(
        self, stop: asyncio.Event, *, in_thread: OneThread, on_kept: Callable[[], None]
    ) -> None:
        """Look again and again until `stop`; `on_kept` is called when there is something new."""
        wake, woken = asyncio.Event(), set[str]()
        ending = asyncio.create_task(_pass_on(stop, wake))
        if await in_thread(partial(self.take_turns, self.due())):
            on_kept()
        log.info("collecting: %s", ", ".join(sorted(self._seats.keys() - self.problems.keys())))
        while not stop.is_set():
            names = list(dict.fromkeys([*self.due(), *sorted(woken)]))
            woken.clear()
            wake.clear()
            if await in_thread(partial(self.take_turns, names)):
                on_kept()
            await self._pause(wake, woken)
        ending.cancel()
        if await in_thread(self.close):
            on_kept()

    async def _pause(self, wake: asyncio.Event, woken: set[str]) -> None:
        """Until the next turn, or until a source has something to say: its name is in `woken`."""

        def rouse(name: str) -> None:
            woken.add(name)
            wake.set()

        loop = asyncio.get_running_loop()
        ready = {seat.fileno: name for name, seat in self._seats.items() if seat.fileno is not None}
        for fileno, name in ready.items():
            loop.add_reader(fileno, rouse, name)
        pause_s = min(LONGEST_WAIT_S, self._timetable.next_in_s(self._look().boot_s))
        try:
            async with asyncio.timeout(pause_s):
                await wake.wait()
        except TimeoutError:
            return
        finally:
            for fileno in ready:
                loop.remove_reader(fileno)

    def due(self) -> list[str]:
        """The sources whose turn it is."""
        return self._timetable.due(self._look().boot_s)

    def held(self) -> dict[str, float]:
        """The sources that want another look soon, and in how many seconds."""
        soon = {name: seat.source.soon_s() for name, seat in self._seats.items()}
        return {name: wait_s for name, wait_s in soon.items() if wait_s is not None}

    def take_turns(self, names: Sequence[str]) -> int:
        """Look at these sources; how many observations were kept."""
        return sum(self._take_turn(self._seats[name]) for name in names)

    def close(self) -> int:
        """Close every source; how many observations that gave."""
        moment = self._moment()
        kept = 0
        for seat in self._seats.values():
            if seat.problem is None:
                kept += self._keep(seat.source.close(moment), moment)
                seat.problem = "closed"
        return kept

    def _take_turn(self, seat: Seat) -> int:
        moment = self._moment()
        source = seat.source
        try:
            self._open(seat)
            told = source.poll(moment)
        except SourceUnavailableError as error:
            return self._break(seat, moment, str(error))
        kept = self._keep(told, moment)
        self._timetable.took_turn(source.name, now_s=moment.boot_s, soon_s=source.soon_s())
        return kept

    def _open(self, seat: Seat) -> None:
        if seat.problem is not None:
            seat.source.open()
            seat.problem, seat.fileno = None, seat.source.fileno()
            if seat.has_spoken:
                log.info("%s works again", seat.source.name)

    def _break(self, seat: Seat, moment: Moment, problem: str) -> int:
        """Let a source go, and try again later; say so once."""
        if seat.problem != problem:
            log.warning("no %s: %s", seat.source.name, problem)
        seat.problem, seat.fileno, seat.has_spoken = problem, None, True
        self._timetable.wait(seat.source.name, until_s=moment.boot_s + AGAIN_S)
        return self._keep(seat.source.close(moment), moment)

    def _keep(self, told: Iterable[Observation], moment: Moment) -> int:
        return sum(self._is_kept(observation, moment) for observation in told)

    def _is_kept(self, observation: Observation, moment: Moment) -> bool:
        rule = self._exclusions.rule_against(observation, is_locked=moment.is_locked)
        if rule is not None:
            self._sink.count("excluded", source=observation.source, reason=rule)
            return False
        return self._sink.keep(observation)

    def _moment(self) -> Moment:
        moment = self._look()
        return replace(moment, is_locked=self._is_locked(moment.boot_s))


async def _pass_on(stop: asyncio.Event, wake: asyncio.Event) -> None:
    await stop.wait()
    wake.set()
