import logging
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest
from dagster import DagsterInstance

from am_assets.derived import moments
from am_assets.derived.asset import derived_key
from am_assets.process import Counts, Progress
from resources.connections import Connections
from sensors.hot_worker import REPORT_EVERY, Complaints, Reporter, without_rows

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = date(2026, 3, 1)
NAME = moments.ENRICHMENT.name


def told(instance: DagsterInstance) -> list[int]:
    """How many items each report counts, oldest first."""
    records = instance.fetch_materializations(derived_key(moments.ENRICHMENT), limit=10).records
    events = [record.asset_materialization for record in records]
    counts = [event.metadata["items_done"].value for event in events if event]
    return [int(str(count)) for count in reversed(counts)]


def test_what_was_done_within_20_seconds_is_told_in_one_report_and_none_is_left_out() -> None:
    with DagsterInstance.ephemeral() as instance:
        reporter = Reporter(lambda: instance, [moments.ENRICHMENT])
        for second in range(5):
            reporter.note(Progress(NAME, DAY, Counts(done=1)))
            reporter.tell(now=NOW + timedelta(seconds=second))
        assert told(instance) == [1]
        reporter.tell(now=NOW + REPORT_EVERY)
        assert told(instance) == [1, 4]
        reporter.tell(now=NOW + 2 * REPORT_EVERY)
        assert told(instance) == [1, 4]


def test_the_last_report_waits_for_nothing() -> None:
    with DagsterInstance.ephemeral() as instance:
        reporter = Reporter(lambda: instance, [moments.ENRICHMENT])
        for _ in range(2):
            reporter.note(Progress(NAME, DAY, Counts(done=1)))
            reporter.tell(now=NOW, is_last=True)
        assert told(instance) == [1, 1]


def test_what_could_not_be_told_is_told_later() -> None:
    with DagsterInstance.ephemeral() as instance:
        found = iter([None, instance])

        def open_instance() -> DagsterInstance:
            one = next(found)
            if one is None:
                raise ConnectionError("no Dagster yet")
            return one

        reporter = Reporter(open_instance, [moments.ENRICHMENT])
        reporter.note(Progress(NAME, DAY, Counts(done=3)))
        with pytest.raises(ConnectionError):
            reporter.tell(now=NOW)
        reporter.tell(now=NOW)
        assert told(instance) == [3]


def test_a_day_that_is_no_partition_is_not_told() -> None:
    with DagsterInstance.ephemeral() as instance:
        reporter = Reporter(lambda: instance, [moments.ENRICHMENT])
        for day in (date(1999, 12, 31), date.max):
            reporter.note(Progress(NAME, day, Counts(done=1)))
        reporter.tell(now=NOW)
        assert told(instance) == []


def test_an_error_is_logged_when_it_begins_and_when_it_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    complaints = Complaints()
    for _ in range(3):
        complaints.raised("the ledger", OSError("down"))
    assert complaints.now == ["the ledger: OSError: down"]
    complaints.passed("the ledger")
    complaints.passed("the ledger")
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    assert complaints.now == []


def test_what_is_logged_of_a_databases_error_holds_no_row(connections: Connections) -> None:
    with (
        psycopg.connect(connections.database_url) as connection,
        pytest.raises(psycopg.Error) as caught,
    ):
        connection.execute("INSERT INTO am.device (user_id, device_id) VALUES ('secret', NULL)")
    assert "secret" in str(caught.value)
    assert "secret" not in without_rows(caught.value)
    assert "device_id" in without_rows(caught.value)
