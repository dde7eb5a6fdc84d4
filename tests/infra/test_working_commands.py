"""`am process`, as a person runs it: a program of its own, over the real stores."""

import os
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from am_assets.streams.digital import NOTE
from resources.connections import Connections
from resources.lake import Lake
from tests.models.media import tiny_weights
from tests.planting import Garden, rows_of
from tests.variables import variables_of

pytestmark = pytest.mark.slow
DAY = date(2022, 11, 6)
NOON = datetime(2022, 11, 6, 12, tzinfo=UTC)
NOTES = [(NOON, {"content": "Feed the starter", "note_type": "text"})]


def _process(
    connections: Connections, weights: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "AM_HOME": "/nowhere",
        **variables_of(connections),
        "AM_MODELS_DIR": str(weights),
        "AM_MODELS_PROFILE": "tiny",
        "AM_COMPUTE": "local",
    }
    command = [sys.executable, "-m", "infra.cli", "process", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_without_weights_items_wait_and_with_them_the_same_command_does_and_publishes_them(
    connections: Connections, tmp_path: Path
) -> None:
    Garden(connections).plant(NOTE, NOTES)
    waiting = _process(connections, tmp_path, "--day", DAY.isoformat())
    assert waiting.returncode == 1, waiting.stderr
    assert "1 blocked" in waiting.stdout
    assert "am models pull" in waiting.stdout
    done = _process(connections, tiny_weights(), "--day", DAY.isoformat())
    assert done.returncode == 0, done.stderr
    assert "1 done" in done.stdout
    state = "SELECT enrichment, state FROM am.work_item WHERE day = %s"
    assert rows_of(connections, state, DAY) == [("moments", "done")]
    assert len(Lake(connections).read_day(NOTE, DAY)) == 1
    again = _process(connections, tiny_weights(), "--day", DAY.isoformat())
    assert (again.returncode, again.stdout) == (0, "")


def test_an_enrichment_that_does_not_exist_is_named_in_the_complaint(
    connections: Connections, tmp_path: Path
) -> None:
    told = _process(connections, tmp_path, "--enrichment", "media.text.guessed")
    assert told.returncode == 2
    assert "media.text.guessed" in told.stderr
