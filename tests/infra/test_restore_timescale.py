"""A backup from TimescaleDB goes back into a database there, with all that belongs to it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from am_assets.schemas.rollups import Level, rollup_table
from am_assets.streams.registry import REGISTRY
from infra.backup import Backup, KeyPlace
from infra.backup_database import tables_of
from infra.backup_folder import BackupFolder
from infra.cli import app
from infra.doctor import check_catalog
from infra.migrate import upgrade
from infra.stack import Stack
from ingest_api.settings import Settings
from tests.infra.conftest import TIMESCALE, fresh
from tests.planting import Garden, rows_of

pytestmark = pytest.mark.slow
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
HEART = REGISTRY["device.health.heartrate.raw"]
MINUTES = f"am_store.{rollup_table(HEART, Level.MINUTE)}"
SECRET = "correct horse battery staple"


@pytest.fixture
def stored(stack: Stack, named_timescale: str) -> Settings:
    """A stack with a compressed chunk and stored roll-ups in its database there."""
    upgrade(named_timescale)
    settings = stack.settings.model_copy(update={"database_url": named_timescale})
    times = [NOON + timedelta(seconds=count) for count in range(120)]
    Garden(settings.connections()).plant(HEART, [(ts, {"bpm": 60.0}) for ts in times])
    with psycopg.connect(named_timescale, autocommit=True) as database:
        store = f"am_store.{HEART.table}"
        database.execute("SELECT compress_chunk(c) FROM show_chunks(%s) AS c", (store,))
        edges = (MINUTES, NOON - timedelta(days=1), NOON + timedelta(days=1))
        database.execute("CALL refresh_continuous_aggregate(%s, %s, %s)", edges)
        database.execute(f"DELETE FROM am.{HEART.table} WHERE ts >= %s".encode(), (times[60],))
    return settings


@pytest.fixture
def target() -> Iterator[str]:
    """An empty database there."""
    if TIMESCALE is None:
        pytest.skip("AM_TEST_TIMESCALE_URL names no server")
    yield from fresh(TIMESCALE, TIMESCALE)


def facts(settings: Settings) -> list[Any]:
    """What is there beyond the rows: chunks, what is compressed, roll-ups that outlive rows."""
    at = settings.connections()
    chunks = """SELECT count(*), count(*) FILTER (WHERE is_compressed)
        FROM timescaledb_information.chunks WHERE hypertable_name = %s"""
    buckets = f"SELECT bucket, row_count FROM {MINUTES} ORDER BY 1"
    return [rows_of(at, chunks, HEART.table), rows_of(at, buckets)]


def test_chunks_roll_ups_policies_and_settings_are_there_again_and_elsewhere_it_is_refused(
    stored: Settings, target: str, tmp_path: Path
) -> None:
    folder = BackupFolder(tmp_path / "backups")
    Backup(stored, folder, KeyPlace(passphrase=SECRET)).take(now=NOON, keep=None)
    passphrase, home = tmp_path / "passphrase", tmp_path / "home"
    passphrase.write_text(f"{SECRET}\n")

    def am(*words: str) -> Any:
        given = ("--from", str(folder.root), "--passphrase-file", str(passphrase), *words)
        return CliRunner().invoke(app, ["restore", *given], env={"AM_HOME": str(home)})

    refused = am()
    assert refused.exit_code == 1
    assert "--database" in refused.output
    assert not home.exists()
    assert am("--drill", "--database", target).exit_code == 2
    done = am("--database", target)
    assert done.exit_code == 0, done.output
    restored = stored.model_copy(update={"database_url": target})
    before = stored.connections().database_url
    found, wanted = tables_of(target), tables_of(before)
    for tables in (found, wanted):  # migrating sets what is no part of a dump, and notes when
        tables.pop("am.registry_note")
    assert found == wanted
    assert facts(restored) == facts(stored)
    assert facts(restored)[0] == [(1, 1)]
    assert [count for _, count in facts(restored)[1]] == [60, 60]
    assert [finding.level for finding in check_catalog(target)] == ["ok"]
    again = am("--database", target)
    assert again.exit_code == 1
    assert "empty" in again.output
