"""`am blobs`, `am hold` and `am status --sizes` over the real stores."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from am_assets.streams.audio import AUDIO
from infra.cli import app as am
from infra.commands.blobs import app as blobs
from infra.commands.hold import after
from infra.commands.hold import app as hold
from infra.sizes import judge, size, told_lines
from resources.connections import Connections
from resources.growth import DayTotal
from resources.work import State
from tests.resources.stored_blobs import Shelf
from tests.variables import variables_of

NOON = datetime(2026, 2, 4, 12, tzinfo=UTC)
Ask = Callable[..., Result]
FACTS = {"sample_rate_hz": 16_000, "channels": 1, "duration_ms": 3_000}


@pytest.fixture
def ask(connections: Connections, tmp_path: Path) -> Ask:
    place = {
        "AM_HOME": str(tmp_path),
        **variables_of(connections),
    }

    def run(app: typer.Typer, *arguments: str, **env: str) -> Result:
        return CliRunner().invoke(app, list(arguments), env={**place, **env})

    return run


def test_a_plan_is_told_a_hold_keeps_from_it_and_pruning_does_what_is_left_of_it(
    ask: Ask, connections: Connections
) -> None:
    ann = Shelf(connections, "ann")
    keys = [
        ann.put(AUDIO, NOON + timedelta(days=n), f"silence {n}".encode() * 9, **FACTS)
        for n in range(2)
    ]
    for key in keys:
        ann.end(key, State.EMPTY, NOON)
    told = ask(blobs, "plan")
    assert "would go: 2 of without_finding, 162 bytes" in told.stdout
    assert "blobs: 162 bytes, 0 after that, no budget" in told.stdout
    made = ask(hold, "add", "--user", "ann", "--to", "2026-02-04", "--reason", "a court")
    assert made.exit_code == 0
    (line,) = json.loads(ask(hold, "list", "--json").stdout)
    assert line == {
        "hold_id": made.stdout.strip(),
        "user_id": "ann",
        "stream": None,
        "begin": None,
        "end": "2026-02-05T00:00:00+00:00",
        "reason": "a court",
    }
    plan = json.loads(ask(blobs, "plan", "--json", AM_BLOB_BUDGET_GB="5e-8").stdout)
    assert [one["blob_key"] for one in plan["removals"]] == [keys[1]]
    assert plan["held"] == {"without_finding": {"count": 1, "byte_count": 81}}
    assert plan["over_bytes"] == 31
    assert set(ann.lines()) == set(keys)
    pruned = ask(blobs, "prune", AM_BLOB_BUDGET_GB="5e-8")
    assert "gone: 1 of without_finding, 81 bytes" in pruned.stdout
    assert "31 bytes above the budget after that: nothing of what is left goes" in pruned.stdout
    assert set(ann.lines()) == {keys[0]}
    assert ask(hold, "remove", made.stdout.strip()).exit_code == 0
    assert ask(hold, "remove", made.stdout.strip()).exit_code != 0
    assert json.loads(ask(blobs, "prune", "--json").stdout)["removed_count"] == 1


def test_wrong_holds_and_rules_are_refused_with_what_to_do(ask: Ask) -> None:
    base = ("add", "--user", "ann", "--reason")
    assert ask(hold, *base, " ").exit_code != 0
    assert ask(hold, *base, "why", "--stream", "no.such.stream").exit_code != 0
    turned = ask(hold, *base, "why", "--from", "2026-02-05", "--to", "2026-02-04")
    assert "--from must be before --to" in turned.output
    for rule in ('{"device.image.camera.raw": 3}', '{"no.such.stream": 3}'):
        refused = ask(blobs, "plan", AM_BLOB_KEEP_DAYS=rule)
        assert refused.exit_code == 1
        assert refused.stderr.startswith("AM_BLOB_KEEP_DAYS: ")


def test_a_hold_until_a_day_includes_it_and_until_a_time_ends_there() -> None:
    assert after("2026-02-04") == datetime(2026, 2, 5, tzinfo=UTC)
    assert after("2026-02-04T10:00Z") == datetime(2026, 2, 4, 10, tzinfo=UTC)


def test_sizes_are_measured_and_then_told_by_every_status(ask: Ask) -> None:
    table = ask(am, "status", "--sizes")
    assert table.exit_code == 0
    assert "digital.notes.raw" in table.stdout
    assert "how it fills is known once it was measured on two days" in table.stdout
    found = json.loads(ask(am, "status", "--sizes", "--json").stdout)
    assert {one["tier"] for one in found["sizes"]} >= {"hot"}
    assert found["faults"] == []


def _total(day: int, byte_count: int) -> DayTotal:
    at = NOON + timedelta(days=day)
    return DayTotal(at.date(), "blobs", byte_count, at)


def test_people_are_told_when_the_disk_is_full_and_what_is_above_the_budget() -> None:
    totals = [_total(0, 1_000_000_000), _total(4, 3_000_000_000)]
    told = judge(totals, free_bytes=10**10, blob_bytes=3 * 10**9, budget_bytes=2 * 10**9)
    assert list(told_lines(told)) == [
        "sizes: blobs 3.0 GB (2026-02-08 12:00 UTC)",
        "disk: 10.0 GB free; 500.0 MB a day, full in 20 days",
        "blobs: 3.0 GB, 1,000,000,000 bytes above the budget of 2.0 GB; `am blobs plan` tells "
        "what goes by itself",
    ]
    nothing = judge([], free_bytes=10**10, blob_bytes=None, budget_bytes=None)
    assert list(told_lines(nothing)) == [
        "sizes: not measured yet; `am status --sizes` does it, and every night does",
        "disk: 10.0 GB free; how it fills is known once it was measured on two days",
    ]
    unknown = judge(None, free_bytes=10**10, blob_bytes=None, budget_bytes=None)
    assert next(told_lines(unknown)) == "sizes: unknown, the database does not answer"
    assert [size(n) for n in (999, 1_500, 2.5e12)] == ["999 B", "1.5 kB", "2.5 TB"]
