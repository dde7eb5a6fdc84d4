"""The doctor's checks, on a real stack and on folders that are wrong in one way."""

import os
import socket
from pathlib import Path

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from infra import doctor
from infra.doctor import Finding, judge_skew
from infra.home import RESTORING
from infra.stack import Stack
from ingest_api.settings import Settings


def at(home: Path, **settings: object) -> Stack:
    return Stack(home, settings=Settings.model_validate({"home": home, **settings}))


def levels(findings: list[Finding]) -> set[str]:
    return {finding.level for finding in findings}


def test_a_running_stack_has_no_error(stack: Stack) -> None:
    assert [finding for finding in doctor.examine(stack) if finding.level == "error"] == []


def test_each_finding_that_is_not_ok_says_what_to_do(tmp_path: Path) -> None:
    found = [f for f in doctor.examine(at(tmp_path, s3_bucket="x")) if f.level != "ok"]
    assert {"settings", "parts"} <= {finding.check for finding in found}
    assert all(finding.todo for finding in found)


def test_a_taken_port_is_an_error_that_names_holder_and_variable(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = doctor.check_ports(at(tmp_path, dagster_port=port))
    named = next(finding for finding in found if str(port) in finding.what)
    assert named.level == "error"
    assert f"pid {os.getpid()}" in named.what
    assert "AM_DAGSTER_PORT" in named.todo


def test_a_folder_that_others_may_read_is_an_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert levels(doctor.check_home(at(tmp_path))) == {"error"}


def test_a_damaged_stack_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text("{")
    assert levels(doctor.check_home(at(tmp_path))) == {"error"}


def test_a_folder_whose_restore_was_cut_short_is_an_error_that_says_how_to_begin_again(
    tmp_path: Path,
) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / RESTORING).write_text("")
    (found,) = doctor.check_home(at(tmp_path))
    assert found.level == "error"
    assert "`am down`, remove that folder and run `am restore` again" in found.what


def test_an_erasure_that_has_not_ended_is_an_error_with_the_command_that_goes_on(
    stack: Stack,
) -> None:
    url = stack.settings.connections().database_url
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO am.erasure (user_id, begin_ts, end_ts) "
            "VALUES ('ann-half', '2026-05-04Z', '2026-05-05Z')"
        )
    found = [one for one in doctor.examine(stack) if one.check == "erasures"]
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE am.erasure SET finished_at = now() WHERE user_id = 'ann-half'")
    assert [one.level for one in found] == ["error"]
    assert (
        "`am erase --user ann-half --from 2026-05-04T00:00:00+00:00 "
        "--to 2026-05-05T00:00:00+00:00`" in found[0].todo
    )
    assert doctor.check_erasures(url) == []


def test_a_stack_that_is_down_is_noted_and_not_an_error(tmp_path: Path) -> None:
    assert levels(doctor.check_parts(at(tmp_path))) == {"note"}


def test_a_schema_behind_is_an_error() -> None:
    assert doctor.judge_schema("0001", "0002").level == "error"
    assert doctor.judge_schema(None, "0002").level == "error"
    assert doctor.judge_schema("0002", "0002").level == "ok"


@given(st.floats(0, 1e6))
def test_a_clock_is_judged_alike_ahead_and_behind(skew_s: float) -> None:
    assert judge_skew("it", skew_s).level == judge_skew("it", -skew_s).level


@pytest.mark.parametrize(("skew_s", "level"), [(0.5, "ok"), (5, "note"), (-61, "error")])
def test_a_clock_far_off_is_an_error_and_a_little_off_a_note(skew_s: float, level: str) -> None:
    assert judge_skew("it", skew_s).level == level


def test_an_mqtt_broker_that_can_not_be_used_is_an_error_before_anything_is_started(
    tmp_path: Path,
) -> None:
    url = SecretStr("mqtt://127.0.0.1")
    (finding,) = doctor.check_broker(at(tmp_path, mqtt_url=url))
    assert (finding.level, "AM_MQTT_USERS" in finding.what) == ("error", True)
    assert doctor.check_broker(at(tmp_path, mqtt_url=url, mqtt_users={"jane": "ada"})) == []
    assert doctor.check_broker(at(tmp_path)) == []


def test_what_the_mqtt_subscriber_tells_of_itself_is_judged() -> None:
    pulse = {"is_connected": True, "broker": "b:1883", "taken": 3, "waiting": 0, "problem": None}
    assert doctor.judge_broker(pulse).level == "ok"
    assert doctor.judge_broker({**pulse, "waiting": 7}).level == "note"
    lost = doctor.judge_broker({**pulse, "is_connected": False, "problem": "nothing answers"})
    assert (lost.level, lost.what) == ("error", "nothing answers")
