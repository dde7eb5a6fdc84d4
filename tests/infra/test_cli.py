"""The `am` command as a person types it: a process with an environment and an exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.processes import processes_of
from infra.stack import Stack


def am(*words: str, home: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AM_")}
    return subprocess.run(
        [sys.executable, "-m", "infra.cli", *words],
        env={**kept, "AM_HOME": str(home), "AM_S3_BUCKET": "am-test", **settings},
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom infra.cli import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "print({'psycopg', 'dagster', 'minio', 'alembic', 'pydantic'} & set(sys.modules))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert told.stdout.strip() == "set()"


def test_help_names_the_stacks_verbs(tmp_path: Path) -> None:
    told = am("--help", home=tmp_path).stdout
    assert all(f" {verb} " in told for verb in ("up", "down", "status", "doctor", "logs"))


def test_status_of_a_stack_never_started_is_exit_code_1(tmp_path: Path) -> None:
    told = am("status", "--json", home=tmp_path)
    assert told.returncode == 1
    found = json.loads(told.stdout)
    assert not found["is_ready"]
    assert {part["state"] for part in found["parts"]} == {"STOPPED"}


def test_status_shows_pid_port_and_readiness_of_live_parts(stack: Stack) -> None:
    found = json.loads(am("status", "--json", home=stack.home.root).stdout)
    ready = {part["name"]: part for part in found["parts"] if part["is_ready"]}
    assert ready.keys() == set(stack.part_names)
    assert {p["pid"] for p in ready.values()} == {p.pid for p in stack.status()}


def test_logs_prints_the_last_lines_of_one_part(stack: Stack) -> None:
    told = am("logs", "postgres", "-n", "100000", home=stack.home.root)
    assert "database system is ready to accept connections" in told.stdout
    assert len(am("logs", "postgres", "-n", "2", home=stack.home.root).stdout.splitlines()) == 2


def test_logs_of_no_such_part_names_those_there_are(stack: Stack) -> None:
    told = am("logs", "nosuch", home=stack.home.root)
    assert told.returncode == 2
    assert "postgres" in told.stderr


def test_down_where_nothing_runs_is_fine(tmp_path: Path) -> None:
    assert am("down", home=tmp_path / "none").returncode == 0
    assert not (tmp_path / "none").exists()


def test_doctor_as_json_lists_findings_and_exits_by_them(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text("{")
    told = am("doctor", "--json", home=tmp_path)
    found = json.loads(told.stdout)
    assert told.returncode == 1
    assert not found["is_well"]
    assert {"check", "level", "what", "todo"} == set(found["findings"][0])


def test_a_stack_error_is_one_message_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "postgres" / "data").mkdir(parents=True)
    told = am("up", "--detach", home=tmp_path)
    assert told.returncode == 1
    assert "Traceback" not in told.stderr
    assert processes_of(Stack(tmp_path).home) == []


@pytest.mark.parametrize(
    "verb",
    [
        "process",
        "dead-letters list",
        "key create --user ada --device phone --scope write",
        "pair --user ada --url https://home.example",
        "connect owntracks --user ada --device phone",
        "erase --user ada --dry-run",
    ],
)
def test_a_verb_that_needs_the_stack_says_so_where_there_is_none(verb: str, tmp_path: Path) -> None:
    told = am(*verb.split(), home=tmp_path / "none")
    assert told.returncode == 1
    assert "`am up`" in told.stderr
    assert "Traceback" not in told.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [("AM_API_PORT", "eight"), ("AM_KEEP_HOT_DAYS", "-1"), ("AM_BLOB_KEEP_DAYS", "thirty")],
)
def test_a_setting_that_is_wrong_is_named_without_a_traceback(
    name: str, value: str, tmp_path: Path
) -> None:
    told = am("retention", home=tmp_path, **{name: value})
    assert told.returncode == 1
    assert told.stderr.startswith(name)
    assert "Traceback" not in told.stderr
