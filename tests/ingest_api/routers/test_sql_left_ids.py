"""Readings that came in at the door keep their ids where the lake stores none."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx

from am_assets.streams.registry import REGISTRY
from ingest_api.tokens import Scope
from resources.connections import Connections
from resources.lake import Lake
from resources.retention import Retention

DAY = date(2025, 6, 7)
MOTION = REGISTRY["device.sensor.accelerometer.raw"]
POWER = REGISTRY["device.state.power.raw"]
BEGIN = datetime(2025, 6, 7, 8, tzinfo=UTC)
OWN_ID = "5d1f4b3e-6a0c-4a53-9d42-0e5b8c7a1f60"


def messages(count: int) -> dict[str, list[dict[str, Any]]]:
    times = [(BEGIN + timedelta(milliseconds=20 * n)).isoformat() for n in range(count)]
    own = {"device_id": "phone"}
    motion = [
        {**own, "timestamp": at, "x": n / 3, "y": -0.0, "z": 1e-5} for n, at in enumerate(times)
    ]
    power = [
        {**own, "timestamp": at, "battery_level": n, "is_charging": n % 2 == 0}
        for n, at in enumerate(times)
    ]
    return {MOTION.name: [*motion, {**motion[0], "event_id": OWN_ID}], POWER.name: power}


def test_ids_are_the_same_before_and_after_a_day_has_left_and_come_again(
    client_for: Callable[..., httpx.Client], user: str, connections: Connections
) -> None:
    sender, asking = client_for(user), client_for(user, scope=Scope.SQL)

    def ids(stream: str) -> list[Any]:
        asked = f"SELECT event_id, ts FROM am.{REGISTRY[stream].table} ORDER BY ts, event_id"
        answer = asking.post("/v1/sql", json={"query": asked})
        answer.raise_for_status()
        rows: list[Any] = answer.json()["rows"]
        return rows

    for stream, told in messages(40).items():
        sender.post(f"/v1/streams/{stream}", json=told).raise_for_status()
        before = ids(stream)
        assert len(before) == len({event_id for event_id, _ in before}) == len(told)
        Retention(connections, REGISTRY).leave(REGISTRY[stream], DAY)
        table = Lake(connections).open(REGISTRY[stream])
        assert table is not None
        kept = set(table.to_pyarrow_table()["event_id"].to_pylist())
        assert kept == ({None, OWN_ID} if stream == MOTION.name else {None})
        assert ids(stream) == before
        answer = sender.post(f"/v1/streams/{stream}", json=told)  # a phone that was not told
        answer.raise_for_status()
        assert ids(stream) == before
        Lake(connections).publish(REGISTRY[stream], DAY)
        assert ids(stream) == before
