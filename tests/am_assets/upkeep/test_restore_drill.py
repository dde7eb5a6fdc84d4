"""The drill as Dagster runs it: where it fails, the run does, and says what is wrong."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from dagster import Failure, materialize

from am_assets.upkeep.catalog import upkeep_assets
from am_assets.upkeep.restore_drill import drill, restore_drill_asset, taken_at
from sensors.schedules import upkeep_schedules

pytestmark = pytest.mark.slow


def names(backups: Path | None) -> set[str]:
    return {asset.key.path[-1] for asset in upkeep_assets(backups=backups)}


def test_there_is_a_drill_where_there_is_a_folder_of_backups_and_only_there(tmp_path: Path) -> None:
    assert "restore_drill" in names(tmp_path)
    assert "restore_drill" not in names(None)
    scheduled = {one.name for one in upkeep_schedules(upkeep_assets(backups=tmp_path))}
    assert "restore_drill_schedule" in scheduled


def test_without_any_backup_the_run_fails_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="has no backup"):
        drill(tmp_path)
    assert not materialize([restore_drill_asset(tmp_path)], raise_on_error=False).success


def test_a_backups_age_follows_from_its_name() -> None:
    assert taken_at("2026-11-21T030000Z") == datetime(2026, 11, 21, 3, tzinfo=UTC)
