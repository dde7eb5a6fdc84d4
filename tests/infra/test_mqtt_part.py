"""The MQTT subscriber as a part of the stack: there only where a broker is named."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from infra.doctor import check_broker
from infra.ports import choose_free
from infra.stack import ALL_PARTS, SERVER_PARTS, Stack
from ingest_api.settings import Settings
from tests.ingest_api.test_mqtt import until

pytestmark = pytest.mark.slow


def test_without_a_broker_there_is_no_such_part(tmp_path: Path) -> None:
    assert "mqtt" in ALL_PARTS
    assert "mqtt" not in Stack(tmp_path, settings=Settings(home=tmp_path)).part_names


def test_a_broker_that_is_away_keeps_nothing_from_starting_and_the_doctor_names_it(
    tmp_path: Path,
) -> None:
    (port,) = choose_free(["broker"]).values()
    settings = Settings(
        home=tmp_path / "home",
        s3_bucket="am-test",
        mqtt_url=SecretStr(f"mqtt://127.0.0.1:{port}"),
        mqtt_users={"jane": "ada"},
    )
    stack = Stack(settings.home, parts=(*SERVER_PARTS, "mqtt"), settings=settings)
    stack.start()
    try:
        part = next(part for part in stack.status() if part.name == "mqtt")
        assert (part.is_ready, part.port) == (True, None)
        until(lambda: f"127.0.0.1:{port}" in check_broker(stack)[0].what, "what the doctor says")
        assert [finding.level for finding in check_broker(stack)] == ["error"]
    finally:
        stack.stop()
