"""Tokens as `am key` makes, lists and revokes them."""

import os
import subprocess
import sys
from collections.abc import Callable

import httpx
import psycopg
import pytest

from ingest_api.tokens import PREFIX
from resources.connections import Connections
from tests.ingest_api.test_bad_input import GOOD, PATH
from tests.variables import variables_of

Key = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def key(connections: Connections) -> Key:
    """Runs `am key`."""
    environment = os.environ | {
        **variables_of(connections),
    }

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "infra.cli", "key", *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return run


def line_of(key: Key, user: str) -> str:
    """What `am key list` says of a user's one token."""
    (line,) = (line for line in key("list").stdout.splitlines() if f"  {user}  " in line)
    return line


def test_a_token_is_made_used_listed_and_revoked(base_url: str, key: Key, user: str) -> None:
    token = key("create", "--user", user, "--device", "phone", "--scope", "write").stdout.strip()
    assert token.startswith(PREFIX)
    assert line_of(key, user).endswith("phone  write  valid  last used never")
    sent = httpx.post(base_url + PATH, json=GOOD | {"device_id": "phone"}, headers=bearer(token))
    assert sent.json()["stored"] == 1
    used = line_of(key, user)
    assert "last used 2" in used
    assert key("revoke", used.split()[0]).returncode == 0
    assert "  revoked 2" in line_of(key, user)
    again = key("revoke", used.split()[0])
    assert (again.returncode, "am key list" in again.stderr) == (2, True)


def test_a_token_revoked_before_its_first_use_is_let_in_nowhere(
    base_url: str, key: Key, user: str
) -> None:
    token = key("create", "--user", user, "--device", "*").stdout.strip()
    assert key("revoke", line_of(key, user).split()[0]).returncode == 0
    for path in (PATH, f"/owntracks/{token}"):
        assert httpx.post(base_url + path, json=GOOD, headers=bearer(token)).status_code == 401


def test_a_token_is_for_writing_alone_unless_more_is_asked_for_and_kept_as_a_hash(
    base_url: str, key: Key, database: psycopg.Connection, user: str
) -> None:
    token = key("create", "--user", user, "--device", "*").stdout.strip()
    assert httpx.get(f"{base_url}/v1/timeline", headers=bearer(token)).status_code == 403
    rows = database.execute(
        "SELECT t::text FROM am.api_token t WHERE user_id = %s", (user,)
    ).fetchall()
    assert len(rows) == 1
    assert token.removeprefix(PREFIX) not in rows[0][0]


@pytest.mark.parametrize("name", ["../x", "", "a b", "-x"])
def test_a_user_that_can_not_be_part_of_an_objects_name_gets_none(key: Key, name: str) -> None:
    assert key("create", f"--user={name}", "--device", "*").returncode == 2


def bearer(token: str) -> dict[str, str]:
    """The header."""
    return {"Authorization": f"Bearer {token}"}
