"""What the spool promises: nothing lost or doubled, nothing for other eyes, all counted."""

import json
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from collectors.desktop.errors import AlreadyCollectingError, SpoolError
from collectors.desktop.observation import Observation, Picture
from collectors.desktop.settings import SpoolSettings
from collectors.desktop.sinks import SpoolSink
from collectors.desktop.spool import Item, Spool, alone

NAMES = st.sampled_from([f"event-{number}" for number in range(6)])
STREAMS = st.sampled_from(["os.events.system.raw", "device.image.screenshot.raw"])


def element(name: str, **values: Any) -> dict[str, Any]:
    return {"event_id": name, "recorded_at": "2026-03-01T12:00:00+00:00", **values}


class SpoolModel(RuleBasedStateMachine):
    """A spool beside a plain list that ought to hold the same."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.path = Path(self.folder.name) / "spool.sqlite"
        self.spool = Spool(self.path)
        self.waiting: dict[str, int] = {}  # in their order: name and length
        self.refused: set[str] = set()
        self.on_their_way: list[tuple[Item, int]] = []
        self.sent = 0

    def teardown(self) -> None:
        self.spool.close()
        self.folder.cleanup()

    @rule(name=NAMES, stream=STREAMS, length=st.integers(0, 99), content=st.binary(max_size=20))
    def add(self, name: str, stream: str, length: int, content: bytes) -> None:
        picture = Picture(content, "image/webp") if content else None
        self.spool.add(stream, element(name, length=length), picture)
        self.waiting.pop(name, None)  # one that waits under this name gives way
        self.waiting[name] = length
        self.on_their_way = [
            (item, -1 if item.event_id == name else length) for item, length in self.on_their_way
        ]

    @rule(limit=st.integers(1, 9))
    def begin_to_send(self, limit: int) -> None:
        items = self.spool.oldest(limit)
        assert [item.event_id for item in items] == list(self.waiting)[:limit]
        self.on_their_way = [(item, item.element["length"]) for item in items]

    @precondition(lambda self: self.on_their_way)
    @rule()
    def arrive(self) -> None:
        self.spool.delivered([item for item, _ in self.on_their_way])
        self.sent += len(self.on_their_way)
        for item, length in self.on_their_way:
            if length >= 0:  # not told anew while it was on its way
                self.waiting.pop(item.event_id, None)
        self.on_their_way = []

    @precondition(lambda self: self.waiting)
    @rule()
    def refuse(self) -> None:
        (item,) = self.spool.oldest(1)
        self.spool.refuse(item, status=400, reason="no")
        del self.waiting[item.event_id]
        self.refused.add(item.event_id)
        self.on_their_way = [(one, n) for one, n in self.on_their_way if one.seq != item.seq]

    @rule()
    def send_refused_again(self) -> None:
        fresh = self.refused - self.waiting.keys()
        assert self.spool.send_again() == len(fresh)
        for item in self.spool.oldest(100):
            self.waiting.setdefault(item.event_id, item.element["length"])
        self.refused = set()

    @rule()
    def open_again(self) -> None:
        self.spool.close()
        self.spool = Spool(self.path)
        self.on_their_way = []

    @invariant()
    def holds_what_the_list_holds(self) -> None:
        items = self.spool.oldest(100)
        assert {item.event_id: item.element["length"] for item in items} == self.waiting
        report = self.spool.report()
        assert report.waiting == len(self.waiting)
        assert {refused.event_id for refused in report.refused} == self.refused
        assert sum(one.count for one in report.tallies if one.fate == "sent") == self.sent
        assert report.byte_count == self.spool.byte_count
        assert (self.spool.byte_count == 0) == (not self.waiting and not self.refused)


SpoolModel.TestCase.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)
TestSpool = SpoolModel.TestCase


def observation(source: str, size: int = 0) -> Observation:
    return Observation(
        source=source,
        stream="device.image.screenshot.raw" if size else "os.events.system.raw",
        ts=datetime(2026, 3, 1, tzinfo=UTC),
        values={"event_type": "x" * 100},
        picture=Picture(b"p" * size, "image/webp") if size else None,
    )


def test_a_full_spool_leaves_out_pictures_first_and_counts_all_that_it_leaves_out(
    tmp_path: Path,
) -> None:
    spool = Spool(tmp_path / "spool.sqlite")
    limits = SpoolSettings(limit_mb=0.02, screenshots_until=0.5)
    sink = SpoolSink(spool, limits, device_id="desk")
    pictures = [sink.keep(observation("screenshots", 2_000)) for _ in range(20)]
    others = [sink.keep(observation("idle")) for _ in range(60)]
    assert pictures.index(False) == sum(pictures) == 5
    assert others.index(False) == sum(others) > 10
    report = spool.report()
    assert report.waiting == sum(pictures) + sum(others)
    assert {(one.source, one.count) for one in report.tallies if one.fate == "left_out"} == {
        ("screenshots", pictures.count(False)),
        ("idle", others.count(False)),
    }
    spool.delivered(spool.oldest(1000))
    assert sink.keep(observation("screenshots", 2_000))
    spool.close()


def test_what_a_broken_disk_does_not_take_is_counted_once_it_works_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.sqlite")
    sink = SpoolSink(spool, SpoolSettings(), device_id="desk")
    spool.close()  # every later write fails
    assert not sink.keep(observation("idle"))
    assert not sink.keep(observation("idle"))
    spool.__init__(tmp_path / "spool.sqlite")  # type: ignore[misc] # the disk is back
    assert sink.keep(observation("idle"))
    sink.count("excluded", source="window", reason="title")
    tallies = [(one.fate, one.source, one.reason, one.count) for one in spool.report().tallies]
    assert tallies == [("excluded", "window", "title", 1), ("left_out", "idle", "disk trouble", 2)]
    spool.close()


def test_nobody_else_can_read_the_spool_or_the_files_beside_it(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "state" / "spool.sqlite")
    spool.add("os.events.system.raw", element("one"))
    files = list((tmp_path / "state").iterdir())
    assert len(files) >= 2
    assert {path.stat().st_mode & 0o077 for path in files} == {0}
    assert (tmp_path / "state").stat().st_mode & 0o077 == 0
    spool.close()


def test_what_has_arrived_leaves_no_trace_in_the_file(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.sqlite")
    spool.add("digital.clipboard.raw", element("one", content_text="marzipan"))
    spool.delivered(spool.oldest(1))
    spool.close()
    assert b"marzipan" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_only_one_collector_at_a_time_and_the_next_once_it_has_gone(tmp_path: Path) -> None:
    with (
        alone(tmp_path),
        pytest.raises(AlreadyCollectingError, match="collects into"),
        alone(tmp_path),
    ):
        pass
    with alone(tmp_path):
        pass


def test_a_file_that_is_no_spool_is_named(tmp_path: Path) -> None:
    path = tmp_path / "spool.sqlite"
    path.write_bytes(json.dumps({"not": "a spool"}).encode() * 100)
    with pytest.raises(SpoolError, match=str(path)):
        Spool(path)
