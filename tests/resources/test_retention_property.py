"""Whatever comes, in whatever order, and wherever a step is cut off: each row is there once."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any, ClassVar
from uuid import UUID, uuid5

import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from am_assets.checks.conservation import DayCounts
from am_assets.streams.digital import ACTIVITY as EDITED
from am_assets.streams.registry import REGISTRY
from resources.connections import Connections
from resources.duck import Duck, DuckOptions, connect, query
from resources.hot import Snapshot, Span
from resources.lake import Lake, receipt
from resources.retention import Retention
from resources.whole import WholeStore
from tests.resources.rows import insert, landing

SPACE = UUID(int=77)
USERS = ("property ann", "property ann2")
DAYS = 2
EDGES_S = (0, 1, 43_200, 86_399)
LAST_US = 999_999
WEEKS = count()  # each example has days of its own: the tables are shared


# A step is cut off where it notes what it did: `any` note, or only that of a finished publication.
REFUSAL = """
CREATE TABLE IF NOT EXISTS public.refusal (what text);
CREATE OR REPLACE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF EXISTS (SELECT FROM public.refusal WHERE what = 'any' OR NEW.checksum <> '') THEN
        RAISE EXCEPTION 'cut off';
    END IF;
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER refusal BEFORE INSERT OR UPDATE ON am.publication
    FOR EACH ROW EXECUTE FUNCTION public.refuse();
"""

Sent = dict[UUID, tuple[str, datetime, float]]  # event: whose, when, how long at most


class Arrivals(RuleBasedStateMachine):
    """Senders, the publisher and retention, in any order; the model is what was sent."""

    connections: ClassVar[Connections]
    duck: ClassVar[Duck]

    @initialize()
    def begin(self) -> None:
        self.first = date(2027, 1, 4) + timedelta(days=7 * next(WEEKS))
        self.sent: Sent = {}
        self.unsigned: set[int] = set()  # the lake may be newer than the receipt
        self.retention = Retention(self.connections, REGISTRY)
        self.lake = Lake(self.connections)
        self.whole = WholeStore(self.connections)
        for day in range(DAYS):
            self.send(USERS[0], day, 0, 2.0)
        self.leave(0)

    @property
    def days(self) -> list[date]:
        return [self.first + timedelta(days=n) for n in range(DAYS)]

    @rule(
        user=st.sampled_from(USERS),
        day=st.integers(0, DAYS - 1),
        place=st.sampled_from(range(len(EDGES_S) + 1)),
        length=st.sampled_from([1.0, 2.0, 3.0]),
    )
    def send(self, user: str, day: int, place: int, length: float) -> None:
        """As the front door does it: a new row, or one that is there and may have grown."""
        begin = datetime.combine(self.days[day], datetime.min.time(), UTC)
        last = begin + timedelta(seconds=86_399, microseconds=LAST_US)
        ts = last if place == len(EDGES_S) else begin + timedelta(seconds=EDGES_S[place])
        self._tell(user, ts, length)

    def _tell(self, user: str, ts: datetime, length: float) -> None:
        event_id = uuid5(SPACE, f"{user} {ts}")
        known = self.sent.get(event_id)
        self.sent[event_id] = (user, ts, max(length, known[2]) if known else length)
        told = {"user_id": user, "ts": ts, "event_id": event_id, "duration_s": length}
        with psycopg.connect(self.connections.database_url) as connection:
            grown = connection.execute(
                "UPDATE am.digital_activity_raw SET duration_s = greatest(duration_s, %s) "
                "WHERE (user_id, device_id, ts, event_id) = (%s, 'phone', %s, %s)",
                (length, user, ts, event_id),
            )
        counts = (1, 0, 1, 0) if grown.rowcount else (1, 1, 0, 0)
        if not grown.rowcount:
            insert(self.connections.database_url, EDITED, [told])
        landing(self.connections.database_url, user, EDITED, ts.date(), *counts)

    @rule(data=st.data(), length=st.sampled_from([1.0, 3.0]))
    def send_again(self, data: st.DataObject, length: float) -> None:
        """A client that had no answer does."""
        (user, ts, _) = data.draw(st.sampled_from(list(self.sent.values())))
        self._tell(user, ts, length)

    @rule(day=st.integers(0, DAYS - 1))
    def publish(self, day: int) -> None:
        self.lake.publish(EDITED, self.days[day])
        self.unsigned.discard(day)

    @rule(day=st.integers(0, DAYS - 1))
    def leave(self, day: int) -> None:
        self.retention.leave(EDITED, self.days[day])
        self.unsigned.discard(day)

    @rule(day=st.integers(0, DAYS - 1))
    def reopen(self, day: int) -> None:
        self.retention.reopen(EDITED, self.days[day])

    @rule(
        day=st.integers(0, DAYS - 1),
        step=st.sampled_from(["leave", "publish", "reopen"]),
        where=st.sampled_from(["any", "signing"]),
    )
    def is_cut_off(self, day: int, step: str, where: str) -> None:
        """As by a crash: what a transaction holds is undone, what is in the lake by then stays."""
        steps: dict[str, Callable[..., Any]] = {
            "leave": self.retention.leave,
            "publish": self.lake.publish,
            "reopen": self.retention.reopen,
        }
        url = self.connections.database_url
        with psycopg.connect(url, autocommit=True) as other:
            other.execute("INSERT INTO public.refusal VALUES (%s)", (where,))
            try:
                steps[step](EDITED, self.days[day])
            except psycopg.errors.RaiseException:
                self.unsigned.add(day)
            finally:
                other.execute("DELETE FROM public.refusal")

    @invariant()
    def every_row_is_there_once(self) -> None:
        """With its greatest length, but that what is told again of a day that has left hides what
        was told before until both are merged.
        """
        if not hasattr(self, "sent"):
            return
        counts = [self._counts(day) for day in self.days]
        assert [one.faults() for n, one in enumerate(counts) if n not in self.unsigned] == [
            [] for n in range(DAYS) if n not in self.unsigned
        ]
        expected = sorted(self.sent.values(), key=lambda one: one[:2])
        found = self._read()
        assert [one[:2] for one in found] == [one[:2] for one in expected]
        if not any(one.has_left and one.hot for one in counts):
            assert found == expected

    @rule()
    def ask(self) -> None:
        """The views of DuckDB tell the same."""
        assert self._asked() == self._read()

    def teardown(self) -> None:
        """In the end all is published, and adds up."""
        if not hasattr(self, "sent"):
            return
        for day in self.days:
            self.lake.publish(EDITED, day)
            assert self._counts(day).faults() == []
        behind = {(one.stream, one.day) for one in self.lake.days_behind([EDITED])}
        assert behind.isdisjoint((EDITED.name, day) for day in self.days)
        assert self._asked() == sorted(self.sent.values(), key=lambda one: one[:2])

    def _asked(self) -> list[tuple[str, datetime, float]]:
        begin, end = self._span.begin, self._span.end
        text = (
            "SELECT user_id, ts, duration_s FROM am.digital_activity_raw WHERE ts >= ? AND ts < ?"
        )
        return _sorted(query(self.duck, text, parameters=(begin, end)))

    def _read(self) -> list[tuple[str, datetime, float]]:
        return _sorted(self.whole.read(EDITED, self._span))

    @property
    def _span(self) -> Span:
        return Span(Span.of_day(self.days[0]).begin, Span.of_day(self.days[-1]).end)

    def _counts(self, day: date) -> DayCounts:
        with self.whole.snapshot() as snapshot:
            signed = receipt(snapshot.connection, EDITED, day)
            row = snapshot.connection.execute(
                "SELECT coalesce(sum(stored), 0)::int FROM am.landing "
                "WHERE stream = %s AND day = %s",
                (EDITED.name, day),
            ).fetchone()
            assert row is not None
            return DayCounts(
                stored=row[0],
                hot=Snapshot(snapshot.connection).count(EDITED, Span.of_day(day)),
                lake=self.lake.count_day(EDITED, day),
                signed=signed.row_count if signed else 0,
                has_left=signed is not None and signed.has_left,
            )


def _sorted(rows: pa.Table) -> list[tuple[str, datetime, float]]:
    found = [(row["user_id"], row["ts"], row["duration_s"]) for row in rows.to_pylist()]
    return sorted(found, key=lambda one: one[:2])


@pytest.fixture
def arrivals(
    connections: Connections, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[type[Arrivals]]:
    with psycopg.connect(connections.database_url) as database:
        database.execute(REFUSAL)
    options = DuckOptions(extension_directory=tmp_path_factory.mktemp("extensions"))
    with connect(connections, REGISTRY, options=options) as duck:
        Arrivals.connections, Arrivals.duck = connections, duck
        yield Arrivals


# Each step asks the real stores a few times: examples are few, and not made smaller.
FEW = settings(
    max_examples=2,
    stateful_step_count=14,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


def test_rows_are_neither_lost_nor_doubled(arrivals: type[Arrivals]) -> None:
    run_state_machine_as_test(arrivals, settings=FEW)


@pytest.mark.slow
def test_rows_are_neither_lost_nor_doubled_in_many_more_lives(arrivals: type[Arrivals]) -> None:
    run_state_machine_as_test(arrivals, settings=settings(FEW, max_examples=15))
