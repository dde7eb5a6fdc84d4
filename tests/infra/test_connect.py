"""`am connect` prints what an app needs."""

import psycopg
import pytest
from typer.testing import CliRunner

from infra.commands.connect import app, qr_code
from ingest_api.adapters.catalog import ADAPTERS
from ingest_api.tokens import token_sha256
from resources.connections import Connections
from tests.variables import variables_of

GIVEN = ["--url", "https://am.example/", "--token", "am_given"]


@pytest.mark.parametrize("name", ADAPTERS)
def test_each_apps_settings_name_the_address_and_the_token(name: str) -> None:
    told = CliRunner().invoke(app, [name, *GIVEN])
    assert told.exit_code == 0, told.output
    assert "https://am.example/" in told.output
    assert "am_given" in told.output
    assert "https://am.example//" not in told.output


def test_an_app_with_a_setup_link_gets_a_qr_code_of_it() -> None:
    told = CliRunner().invoke(app, ["overland", *GIVEN]).output
    link = "overland://setup?url=https%3A%2F%2Fam.example%2Foverland&token=am_given&unique_id=yes"
    assert link in told
    assert qr_code(link) in told
    assert qr_code(link).count("\n") > 10


def test_an_address_of_this_machine_alone_is_pointed_out() -> None:
    told = CliRunner().invoke(app, ["colota", "--token", "am_x"], env={"AM_API_PORT": "8123"})
    assert "http://127.0.0.1:8123/colota/am_x" in told.output
    assert "--url" in told.output


def test_without_a_name_all_apps_are_listed_and_a_wrong_one_is_refused() -> None:
    assert all(name in CliRunner().invoke(app, []).output for name in ADAPTERS)
    wrong = CliRunner().invoke(app, ["garmin", *GIVEN])
    assert (wrong.exit_code, "owntracks" in wrong.output) == (2, True)


def test_a_new_token_may_write_as_its_device_and_no_more(connections: Connections) -> None:
    told = CliRunner().invoke(
        app,
        ["colota", "--user", "u-connect", "--device", "pixel"],
        env={
            **variables_of(connections),
        },
    )
    assert told.exit_code == 0, told.output
    token = next(part for part in told.output.replace("/", " ").split() if part.startswith("am_"))
    with psycopg.connect(connections.database_url) as connection:
        row = connection.execute(
            "SELECT user_id, device_id, scopes FROM am.api_token WHERE token_sha256 = %s",
            (token_sha256(token),),
        ).fetchone()
    assert row == ("u-connect", "pixel", ["write"])


def test_the_broker_way_of_owntracks_is_printed_without_the_brokers_password() -> None:
    env = {
        "AM_MQTT_URL": "mqtts://am:hush@broker.example",
        "AM_MQTT_USERS": '{"jane": "ada"}',
    }
    told = CliRunner().invoke(app, ["owntracks-mqtt", "--user", "ada", "--device", "p"], env=env)
    assert told.exit_code == 0, told.output
    for line in ("Host: broker.example", "Port: 8883", "TLS: on", "owntracks/jane/p"):
        assert line in told.output
    assert "hush" not in told.output
    wrong = CliRunner().invoke(app, ["owntracks-mqtt"], env={"AM_MQTT_URL": "http://x"})
    assert (wrong.exit_code, "AM_MQTT_URL" in wrong.output) == (2, True)
