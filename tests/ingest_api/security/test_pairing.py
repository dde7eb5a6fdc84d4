"""A code is worth one token, once, for seven days."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_api.pairing import code_sha256, create_invite
from ingest_api.tokens import Scope
from resources.connections import Connections
from tests.ingest_api.test_bad_input import GOOD, PATH
from tests.variables import variables_of


def exchange(url: str, code: str, device: str = "watch") -> httpx.Response:
    """Send a code."""
    body = {"code": code, "device_id": device, "name": "Ann's watch"}
    return httpx.post(f"{url}/v1/pair", json=body)


def test_a_code_gives_a_token_that_writes_for_that_device_alone(
    base_url: str, database: psycopg.Connection, user: str
) -> None:
    told = exchange(base_url, create_invite(database, user_id=user))
    assert told.status_code == 201
    assert told.json()["scopes"] == [Scope.WRITE]
    assert told.headers["cache-control"] == "no-store"
    headers = {"Authorization": f"Bearer {told.json()['token']}"}
    messages = [{**GOOD, "device_id": "watch"}, {**GOOD, "device_id": "phone"}]
    sent = httpx.post(base_url + PATH, json=messages, headers=headers).json()
    assert (sent["stored"], sent["dead_letters"][0]["code"]) == (1, "wrong_device")
    assert httpx.get(f"{base_url}/v1/timeline", headers=headers).status_code == 403
    device = database.execute(
        "SELECT device_id, name FROM am.device WHERE user_id = %s", (user,)
    ).fetchall()
    assert device == [("watch", "Ann's watch")]


def test_a_code_works_once(base_url: str, database: psycopg.Connection, user: str) -> None:
    code = create_invite(database, user_id=user)
    statuses = [exchange(base_url, code).status_code for _ in range(2)]
    assert statuses == [201, 404]


def test_of_many_who_use_a_code_at_once_one_wins(
    base_url: str, database: psycopg.Connection, user: str
) -> None:
    code = create_invite(database, user_id=user)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: exchange(base_url, code, f"d{n}"), range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] + [404] * 7
    tokens = database.execute(
        "SELECT count(*) FROM am.api_token WHERE user_id = %s", (user,)
    ).fetchone()
    assert tokens == (1,)


def test_an_expired_code_is_worth_nothing(
    base_url: str, database: psycopg.Connection, user: str
) -> None:
    late = create_invite(database, user_id=user, valid_for=timedelta(seconds=-1))
    assert exchange(base_url, late).status_code == 404


def test_a_code_is_kept_as_a_hash_for_seven_days(database: psycopg.Connection, user: str) -> None:
    code = create_invite(database, user_id=user)
    row = database.execute(
        "SELECT code_sha256, expires_at - created_at, i::text FROM am.invite i WHERE user_id = %s",
        (user,),
    ).fetchone()
    assert row is not None
    assert row[:2] == (code_sha256(code), timedelta(days=7))
    assert code not in row[2]
    assert code.replace("-", "") not in row[2]


@pytest.mark.parametrize(
    "changes",
    [
        {"code": "AAAAA-AAAAA-AAAAA-AAAAA"},
        {"code": "' OR true --"},
        {"code": ""},
        {"device_id": ""},
        {"device_id": "a\x00b"},
        {"device_id": "x" * 129},
        {"name": "a\x00b"},
        {"scopes": ["admin"]},
        {"user_id": "root"},
    ],
)
def test_what_is_not_a_pairing_is_refused_and_uses_up_no_code(
    base_url: str, database: psycopg.Connection, user: str, changes: dict[str, object]
) -> None:
    code = create_invite(database, user_id=user)
    body = {"code": code, "device_id": "watch", **changes}
    assert httpx.post(f"{base_url}/v1/pair", json=body).status_code in (404, 422)
    assert exchange(base_url, code).status_code == 201


@given(st.text("0123456789ABCDEFGHJKMNPQRSTVWXYZ", min_size=20, max_size=20))
def test_a_code_is_the_same_however_it_is_typed(code: str) -> None:
    typed = "  " + code.lower().replace("0", "o").replace("1", "l") + " - "
    assert code_sha256(typed) == code_sha256(code) == code_sha256(f"{code[:5]}-{code[5:]}")


def test_am_pair_prints_a_code_and_nothing_else(
    base_url: str, connections: Connections, user: str
) -> None:
    environment = os.environ | {
        **variables_of(connections),
    }
    command = [sys.executable, "-m", "infra.cli", "pair", "--user"]
    told = subprocess.run(
        [*command, user], env=environment, capture_output=True, text=True, check=True
    )
    assert exchange(base_url, told.stdout.strip()).json()["user_id"] == user
    bad = subprocess.run([*command, "../x"], env=environment, capture_output=True, check=False)
    assert bad.returncode == 2
