"""Fill a home: every raw stream's example and some notes through the public doors, then process.

Run as a file under the version whose home it is to be: it uses only what every version has had.
The servers stay up for whoever takes the backup; `tests.golden.make` stops them.
"""

import hashlib
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg

from am_assets.out.day_digest import day_digest, keep_digests
from am_assets.streams.registry import REGISTRY
from infra.ports import choose_free
from infra.stack import Stack
from ingest_api.settings import Settings
from ingest_api.tokens import Scope, create_token
from resources.connections import Connections
from resources.lake import Lake
from resources.whole import WholeStore

FIRST = date(2026, 11, 17)
DAYS = (FIRST, FIRST + timedelta(days=1))
USERS = ("ada", "adam")  # one character apart
NOTES = ("Feed the starter at noon", "The ferry leaves at eight", "Ask Grace about the compiler")


def main(home: Path) -> None:
    """Start the servers and the API of a new home, and fill it."""
    port = choose_free(["api"])["api"]
    settings = Settings(home=home, api_port=port, hot_worker=False)
    Stack(home, parts=("postgres", "objects", "api"), settings=settings).start()
    connections = settings.connections()
    for user in USERS:
        with httpx.Client(base_url=settings.api_url, headers=_access(connections, user)) as api:
            _send(api, user)
    command = [sys.executable, "-m", "infra.cli", "process"]
    done = subprocess.run(command, check=False, env=os.environ | {"AM_HOME": str(home)})
    assert done.returncode in {0, 1}  # 1: a model is not there, so that there is blocked work too
    for stream, day in ((one, day) for one in REGISTRY.values() for day in DAYS):
        Lake(connections).publish(stream, day)
    for day in DAYS:
        _digest(connections, day)


def _access(connections: Connections, user: str) -> dict[str, str]:
    with psycopg.connect(connections.database_url) as connection:
        scopes = frozenset({Scope.WRITE, Scope.READ})
        token = create_token(connection, user_id=user, device_id="*", scopes=scopes)
    return {"Authorization": f"Bearer {token}"}


def _send(api: httpx.Client, user: str) -> None:
    for stream in REGISTRY.raw:
        for day in DAYS:
            _post(api, stream.name, [_message(dict(stream.example), user, day, hour=9)])
    for hour, note in enumerate(NOTES, start=10):
        message = _message({"content": note, "note_type": "text"}, user, FIRST, hour=hour)
        _post(api, "digital.notes.raw", [message, message])  # the second is a duplicate
    bad = _message({"latitude": 99, "longitude": 7}, user, FIRST, hour=20)
    _post(api, "device.sensor.gps.raw", [bad])


def _message(values: dict[str, Any], user: str, day: date, *, hour: int) -> dict[str, Any]:
    at = datetime(day.year, day.month, day.day, hour, tzinfo=UTC)
    told = f"{user}/{at.isoformat()}/{sorted(values)}"
    offset = hashlib.sha256(told.encode()).digest()[0]  # not everything at once
    return {
        **values,
        "device_id": "phone",
        "recorded_at": (at + timedelta(seconds=offset)).isoformat(),
        "tz_offset_min": 60,
    }


def _post(api: httpx.Client, stream: str, messages: list[dict[str, Any]]) -> None:
    api.post(f"/v1/streams/{stream}", json=messages, timeout=60).raise_for_status()


def _digest(connections: Connections, day: date) -> None:
    whole = WholeStore(connections)
    now = datetime(2026, 11, 19, tzinfo=UTC)
    made = [(user, day_digest(whole, REGISTRY, user, day, now=now)) for user in USERS]
    keep_digests(connections, day, made)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
