"""The lake as datasets: what is opened, and whose rows come out."""

from datetime import UTC, date, datetime, timedelta

import pyarrow.dataset as pads
import pytest
from deltalake import DeltaTable

from am_assets.streams.digital import CLIPBOARD, NOTE
from am_assets.streams.registry import REGISTRY
from resources.connections import Connections
from resources.lake import Lake
from resources.lake_files import LakeFiles, own
from tests.resources.rows import insert

NOON = datetime(2031, 6, 4, 12, tzinfo=UTC)
DAYS = [date(2031, 6, 4) + timedelta(days=n) for n in range(3)]
LONG = "u" * 40
USERS = ("ann", "ann2", "bob", f"{LONG}1", f"{LONG}2")


@pytest.fixture(scope="module")
def filled(connections: Connections) -> Connections:
    """Three days: of everybody, of Ann alone, of two whose long names end differently."""
    for day, users in zip(range(3), (USERS, ("ann",), USERS[3:]), strict=True):
        for user in users:
            at = NOON + timedelta(days=day)
            insert(connections.database_url, NOTE, [{"user_id": user, "ts": at, "title": "t"}])
        Lake(connections).publish(NOTE, DAYS[day])
    return connections


def whose(dataset: pads.Dataset) -> list[str]:
    return sorted(dataset.to_table(columns=["user_id"])["user_id"].to_pylist())


@pytest.mark.parametrize("user", USERS)
def test_a_users_dataset_holds_that_users_rows_and_no_others(
    filled: Connections, user: str
) -> None:
    opened = LakeFiles(filled).open(NOTE)
    days = {"ann": 2, "ann2": 1, "bob": 1}.get(user, 2)
    assert whose(own(opened, user)) == [user] * days
    assert whose(own(opened, f"{user}0")) == []
    assert len(whose(own(opened, None))) == 8


def test_files_of_other_days_and_other_users_are_not_opened(filled: Connections) -> None:
    dataset = LakeFiles(filled).open(NOTE).dataset
    day, ts, user = (pads.field(name) for name in ("day", "ts", "user_id"))
    second = (ts >= NOON + timedelta(days=1, hours=-6)) & (ts < NOON + timedelta(days=1, hours=6))
    assert len(list(dataset.get_fragments(day == DAYS[1]))) == 1
    assert len(list(dataset.get_fragments(second))) == 1
    assert len(list(dataset.get_fragments(user == "ann"))) == 3  # hers, and those of long names
    assert len(list(dataset.get_fragments(user == "zoe"))) == 2  # those of long names


def test_what_is_published_later_is_there_at_the_next_look(connections: Connections) -> None:
    files = LakeFiles(connections)
    assert files.open(CLIPBOARD).version == -1
    seen = []
    for n in range(3):
        at = NOON + timedelta(hours=n)
        insert(connections.database_url, CLIPBOARD, [{"user_id": "ann", "ts": at}])
        Lake(connections).publish(CLIPBOARD, DAYS[0])
        opened = files.open(CLIPBOARD)
        seen.append(opened.version)
        assert len(whose(opened.dataset)) == n + 1
    assert seen == sorted(set(seen))


def test_a_table_that_is_made_anew_is_not_taken_for_the_old_one(connections: Connections) -> None:
    files, lake = LakeFiles(connections), Lake(connections)
    stream = REGISTRY["device.state.power.raw"]
    insert(connections.database_url, stream, [{"user_id": "ann", "ts": NOON}])
    lake.publish(stream, DAYS[0])
    assert whose(files.open(stream).dataset) == ["ann"]
    table = DeltaTable(lake.table_uri(stream), storage_options=connections.delta_options())
    table.delete()
    assert whose(files.open(stream).dataset) == []


def test_all_tables_are_opened_at_once_and_those_that_are_missing_are_empty(
    connections: Connections,
) -> None:
    found = LakeFiles(connections).open_all(REGISTRY.values())
    assert set(found) == set(REGISTRY)
    missing = found["device.sensor.light.raw"]
    assert (missing.version, whose(missing.dataset)) == (-1, [])
