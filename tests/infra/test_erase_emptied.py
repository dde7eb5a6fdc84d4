"""After the only user was erased, nothing is in the files of tables that are empty now.

Neither in their statistics, which no sample replaces any more, nor where rows lay that had left for
the lake before, nor in roll-ups. Where TimescaleDB keeps the rows, they are compressed.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest

from am_assets.streams.digital import NOTE
from am_assets.streams.registry import REGISTRY
from infra.commands.erase import carry_out
from infra.stack import Stack
from resources.connections import Connections
from resources.erasure import Erasures
from resources.erasure_rows import Scope
from resources.lake import Lake
from resources.retention import Retention
from resources.rollups import Rollups
from tests.byte_search import database_folder, files_with
from tests.planting import Garden
from tests.stored import compress
from tests.variables import settings_of

pytestmark = pytest.mark.slow
ANN = "ann"
HEART = REGISTRY["device.health.heartrate.raw"]
LEFT, STAYS = date(2026, 5, 3), date(2026, 5, 5)
MANY = 200  # enough for the statistics to quote a value that comes twice

Search = Callable[[], dict[str, list[str]]]


def plant(connections: Connections, marker: str) -> None:
    """Heart rates of a device, and notes, on two days; the first has left for the lake."""
    garden = Garden(connections, user_id=ANN, device_id=f"watch {marker}")
    for day in (LEFT, STAYS):
        begin = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
        times = [begin + timedelta(seconds=count) for count in range(MANY)]
        note = {"note_type": "text", "title": f"title {marker}", "content": f"text {marker}"}
        garden.plant(HEART, [(ts, {"bpm": 60.0}) for ts in times])
        garden.plant(NOTE, [(ts, note) for ts in times])
        for stream in (HEART, NOTE):
            Lake(connections).publish(stream, day)
            Rollups(connections).refresh(stream, day)
    analyze(connections)
    for stream in (HEART, NOTE):
        Retention(connections, REGISTRY).leave(stream, LEFT)


def analyze(connections: Connections) -> None:
    """Statistics as of now, which quote what is there."""
    with psycopg.connect(connections.database_url, autocommit=True) as database:
        database.execute("ANALYZE")


@pytest.fixture
def search(stack: Stack, connections: Connections, server_url: str) -> tuple[str, Search]:
    """A marker, and the files of the home and of the database with it."""
    marker, name = f"erasable{uuid4().hex}", urlsplit(connections.database_url).path.strip("/")

    def found() -> dict[str, list[str]]:
        tables = files_with(database_folder(server_url, name), marker)
        return {"database": tables, "home": files_with(stack.home.root, marker)}

    return marker, found


def quoted(connections: Connections, text: str) -> list[Any]:
    """The columns whose statistics quote a text."""
    with psycopg.connect(connections.database_url) as database:
        return database.execute(
            "SELECT schemaname, tablename, attname FROM pg_stats "
            "WHERE concat(most_common_vals, histogram_bounds) LIKE %s",
            (f"%{text}%",),
        ).fetchall()


def test_nothing_of_the_only_user_is_left_in_tables_that_are_empty_now(
    stack: Stack, connections: Connections, search: tuple[str, Search]
) -> None:
    marker, found = search
    plant(connections, marker)
    compress(connections.database_url, HEART, NOTE)
    analyze(connections)
    before = found()
    assert before["home"]
    assert before["database"]
    assert quoted(connections, marker)
    settings = settings_of(connections, home=stack.home.root)
    erasures = Erasures(settings.connections(), REGISTRY)
    signed = carry_out(erasures, erasures.begin(Scope(ANN)), settings)
    assert signed["receipt"]["erased"]["lake"] == {HEART.name: 2 * MANY, NOTE.name: 2 * MANY}
    assert signed["receipt"]["erased"]["rows"] == {HEART.name: MANY, NOTE.name: MANY}
    assert quoted(connections, marker) == []
    assert found() == {"home": [], "database": []}
