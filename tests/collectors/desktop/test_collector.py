"""The loop's work on sources that do as they are told."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from collectors.desktop.collector import AGAIN_S, Collector
from collectors.desktop.errors import SourceUnavailableError
from collectors.desktop.exclusions import Exclusions, compiled
from collectors.desktop.observation import Moment, Observation, Window
from collectors.desktop.sinks import element

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def seen(title: str) -> Observation:
    return Observation(
        source="fake",
        stream="os.events.app_lifecycle.raw",
        ts=NOON,
        values={"window_title": title},
        windows=(Window("Editor", "editor", title),),
        is_of_screen=True,
    )


@dataclass
class FakeSource:
    """Tells what it is given; `problem` makes it fail."""

    name: str
    told: list[Observation] = field(default_factory=list)
    problem: str | None = None
    interval_s: float = 1.0
    opened: int = 0

    def open(self) -> None:
        self.opened += 1
        self._fail()

    def fileno(self) -> int | None:
        return None

    def soon_s(self) -> float | None:
        return None

    def poll(self, moment: Moment) -> list[Observation]:
        self._fail()
        told, self.told = self.told, []
        return told

    def close(self, moment: Moment) -> list[Observation]:
        return [seen("the end")]

    def _fail(self) -> None:
        if self.problem:
            raise SourceUnavailableError(self.problem)


@dataclass
class FakeSink:
    kept: list[Observation] = field(default_factory=list)
    counted: list[tuple[str, str, str]] = field(default_factory=list)

    def keep(self, observation: Observation) -> bool:
        self.kept.append(observation)
        return True

    def count(self, fate: str, *, source: str, reason: str) -> None:
        self.counted.append((fate, source, reason))


@dataclass
class Stage:
    """A collector of fakes, with a clock that is set by hand."""

    sources: list[FakeSource]
    now_s: float = 0.0
    is_locked: bool = False
    sink: FakeSink = field(default_factory=FakeSink)

    def __post_init__(self) -> None:
        rules = Exclusions(titles=(compiled("secret"),))
        self.collector = Collector(
            self.sources,
            rules,
            self.sink,
            is_locked=lambda _: self.is_locked,
            look=lambda: Moment(NOON, self.now_s, self.now_s),
        )

    def go(self, to_s: float) -> int:
        self.now_s = to_s
        return self.collector.take_turns(self.collector.due())

    @property
    def titles(self) -> list[object]:
        return [observation.values["window_title"] for observation in self.sink.kept]


def test_what_the_rules_exclude_does_not_reach_the_sink_and_is_counted() -> None:
    stage = Stage([FakeSource("fake", [seen("notes"), seen("a secret"), seen("letter")])])
    assert stage.go(0) == 2
    assert stage.titles == ["notes", "letter"]
    assert stage.sink.counted == [("excluded", "fake", "title")]


def test_nothing_of_the_screen_is_kept_while_it_is_locked() -> None:
    source = FakeSource("fake", [seen("notes")])
    stage = Stage([source], is_locked=True)
    assert stage.go(0) == 0
    assert stage.sink.counted == [("excluded", "fake", "screen locked")]


def test_a_source_that_breaks_harms_no_other_ends_what_it_told_and_comes_back() -> None:
    broken, well = FakeSource("broken"), FakeSource("well")
    stage = Stage([broken, well])
    stage.go(0)
    broken.problem = "the X server has gone"
    well.told = [seen("one")]
    stage.go(1)
    assert stage.titles == ["the end", "one"]
    assert stage.collector.problems == {"broken": "the X server has gone"}
    well.told, broken.problem = [seen("two")], None
    stage.go(2)
    assert broken.opened == 1
    broken.told = [seen("three")]
    stage.go(1 + AGAIN_S)
    assert (broken.opened, stage.collector.problems) == (2, {})
    assert stage.titles == ["the end", "one", "two", "three"]


def test_a_source_that_can_not_run_here_is_tried_again_and_the_end_closes_only_what_is_open() -> (
    None
):
    absent, well = FakeSource("absent", problem="no battery"), FakeSource("well")
    stage = Stage([absent, well])
    stage.go(0)
    stage.sink.kept.clear()
    assert stage.collector.close() == 1
    assert stage.titles == ["the end"]


def test_a_message_has_an_id_of_its_own_and_no_nulls_and_the_machines_offset() -> None:
    local = NOON.astimezone(ZoneInfo("Asia/Kolkata"))
    one, two = (element(seen("x"), device_id="desk", local=local) for _ in range(2))
    assert one["event_id"] != two["event_id"]
    assert one["tz_offset_min"] == 330
    assert one["recorded_at"] == "2026-03-01T12:00:00+00:00"
    assert None not in one.values()
