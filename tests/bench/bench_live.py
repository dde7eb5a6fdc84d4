"""What the front door holds out: many devices that send all the time."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import psycopg

from resources.connections import Connections
from tests.bench.conftest import Served

MANY = 100
AUDIO_S = 30
WARM_S, SUSTAINED_S = 10, 60


def bench_audio_sockets(
    connections: Connections, api: Served, token_for: Callable[[str], str], note: list[str]
) -> None:
    """Live: 100 sockets with 32 KB of sound a second each"""
    tokens = [token_for(f"listener-{number}") for number in range(MANY)]
    before = api.cpu_s
    told = live("audio", api, tokens, AUDIO_S)
    cores = (api.cpu_s - before) / AUDIO_S
    stored = count(connections, "SELECT count(*) FROM am.device_audio_raw")
    note += [
        "| chunks sent | acknowledged | stored | refused | late | p50 ms | p99 ms | its cores |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        f"| {told['sent']} | {told['acknowledged']} | {stored} | {len(told['refused'])} "
        f"| {told['late']} | {told['p50_ms']:.0f} | {told['p99_ms']:.0f} | {cores:.2f} |",
    ]
    assert told["sent"] == told["acknowledged"] == stored == MANY * AUDIO_S, told["refused"]


def bench_hundred_users(
    connections: Connections, api: Served, token_for: Callable[[str], str], note: list[str]
) -> None:
    """Live: 100 users, each EEG at 256 Hz of 8 channels (packed) and acceleration at 50 Hz"""
    users = [f"wearer-{number}" for number in range(MANY)]
    live("users", api, [token_for(f"warm-{user}") for user in users], WARM_S)
    warm_mib, before = api.memory_mib, api.cpu_s
    told = live("users", api, [token_for(user) for user in users], SUSTAINED_S)
    cores = (api.cpu_s - before) / SUSTAINED_S
    of_these = "WHERE user_id LIKE 'wearer-%'"
    blocks = count(connections, f"SELECT count(*) FROM am.device_biosignal_eeg_raw {of_these}")
    motion = count(
        connections, f"SELECT count(*) FROM am.device_sensor_accelerometer_raw {of_these}"
    )
    note += [
        "| s | EEG samples stored | readings stored | refused | late | p50 ms | p99 ms "
        "| its cores | memory before MiB | after |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        f"| {SUSTAINED_S} | {blocks * 256 * 8:,} | {motion:,} | {len(told['refused'])} "
        f"| {told['late']} | {told['p50_ms']:.0f} | {told['p99_ms']:.0f} | {cores:.2f} "
        f"| {warm_mib:.0f} | {api.memory_mib:.0f} |",
    ]
    assert told["sent"] == told["acknowledged"], told["refused"]
    assert (blocks, motion) == (MANY * SUSTAINED_S, MANY * SUSTAINED_S * 50)


def live(kind: str, server: Served, tokens: list[str], seconds: int) -> Any:
    """Run the clients as a process of their own."""
    command = [sys.executable, "-m", "tests.bench.live", kind, str(server.port), str(seconds)]
    done = subprocess.run([*command, ",".join(tokens)], capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.decode())
    return json.loads(done.stdout)


def count(connections: Connections, query: str) -> int:
    """The one number that a query gives."""
    with psycopg.connect(connections.database_url) as connection:
        row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return int(row[0])
