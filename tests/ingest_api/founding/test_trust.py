"""Rules of trust: which one fits, and the commands that make, show and remove them."""

import json
import os
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from ipaddress import IPv4Address, ip_network
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.stack import Stack
from ingest_api.tokens import Scope, token_sha256
from ingest_api.trust import (
    Caller,
    TrustRule,
    add_rule,
    choose,
    list_rules,
    principal_of,
    read_network,
    remove_rule,
)

AT_HOME = "192.168.1.17"


def rule(
    user: str, network: str, *, device: str | None = None, key: str | None = None
) -> TrustRule:
    """A rule as the database gives it."""
    return TrustRule(
        uuid.uuid4(),
        user,
        ip_network(network),
        device,
        None if key is None else token_sha256(key),
        datetime(2026, 3, 1, tzinfo=UTC),
        None,
    )


def whose(rules: list[TrustRule], **caller: Any) -> str | None:
    """For whom a caller is let in."""
    known: dict[str, Any] = {"address": AT_HOME, "key": None, "device_id": None}
    found = choose(rules, Caller(**{**known, **caller}))
    return found.user_id if found else None


@pytest.mark.parametrize(
    ("caller", "expected"),
    [
        ({}, "ada"),
        ({"key": "apikeyhere"}, "ada"),
        ({"key": "other"}, None),
        ({"key": "am_revoked"}, None),
        ({"address": "192.168.2.17"}, None),
        ({"address": "::ffff:192.168.1.17"}, "ada"),
        ({"address": "fe80::1"}, None),
        ({"address": "testclient"}, None),
        ({"address": None}, None),
    ],
)
def test_a_rule_lets_in_its_network_without_a_key_or_with_the_public_one(
    caller: dict[str, Any], expected: str | None
) -> None:
    assert whose([rule("ada", "192.168.1.0/24")], **caller) == expected


def test_a_rule_with_a_key_lets_in_nobody_without_it() -> None:
    rules = [rule("ada", "192.168.1.0/24", key="k")]
    assert [whose(rules, key=key) for key in (None, "apikeyhere", "k")] == [None, None, "ada"]


def test_a_rule_with_a_device_binds_the_caller_to_it() -> None:
    found = rule("ada", "192.168.1.0/24", device="phone")
    assert [whose([found], device_id=name) for name in (None, "phone", "desk")] == [
        "ada",
        "ada",
        None,
    ]
    principal = principal_of(found)
    assert principal.device_id == "phone"
    assert [scope for scope in Scope if principal.may(scope)] == [Scope.WRITE]


def test_where_rules_of_two_users_fit_the_device_decides_or_nobody_is_let_in() -> None:
    rules = [rule("ada", "192.168.1.0/24"), rule("bob", "192.168.1.0/24", device="bobs")]
    assert [whose(rules, device_id=name) for name in (None, "bobs", "other")] == [
        None,
        "bob",
        "ada",
    ]
    both = [rule("ada", "192.168.1.0/24"), rule("bob", "192.168.1.0/24")]
    assert whose(both, device_id="phone") is None
    narrower = [rule("ada", "192.168.0.0/16"), rule("bob", "192.168.1.0/24")]
    assert whose(narrower, device_id="phone") == "bob"


@given(
    address=st.integers(0, 2**32 - 1), prefix=st.integers(8, 32), other=st.integers(0, 2**32 - 1)
)
def test_nobody_outside_a_network_is_ever_let_in(address: int, prefix: int, other: int) -> None:
    network = ip_network((address, prefix), strict=False)
    caller = IPv4Address(other)
    is_let_in = whose([rule("ada", str(network))], address=str(caller)) is not None
    assert is_let_in == (caller in network)


@pytest.mark.parametrize("text", ["", "home", "0.0.0.0/0", "0.0.0.0/1", "::/0", "192.168.1.17/24"])
def test_what_is_no_network_or_is_everybodys_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        read_network(text)


def test_a_machine_with_its_networks_length_is_told_what_to_write() -> None:
    with pytest.raises(ValueError, match=r"write 192\.168\.1\.0/24 for .*, or 192\.168\.1\.17 for"):
        read_network("192.168.1.17/24")


def test_a_removed_rule_lets_nobody_in_and_a_key_is_kept_hashed(
    database: psycopg.Connection, user: str
) -> None:
    trust_id = add_rule(
        database, user_id=user, network=ip_network("10.0.0.0/8"), device_id="*", key="secret-key"
    )
    (kept,) = [known for known in list_rules(database) if known.user_id == user]
    assert (kept.device_id, "secret-key" in repr(kept)) == (None, False)
    assert "with a key" in str(kept)
    assert [remove_rule(database, trust_id), remove_rule(database, trust_id)] == [True, False]
    assert [known for known in list_rules(database) if known.user_id == user] == []


def am(stack: Stack, *words: str) -> subprocess.CompletedProcess[str]:
    """The command as a person types it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AM_")}
    return subprocess.run(
        [sys.executable, "-m", "infra.cli", *words],
        env={**kept, "AM_HOME": str(stack.home.root), "AM_S3_BUCKET": "am-test"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_adds_lists_and_removes_and_status_shows_who_is_trusted(stack: Stack) -> None:
    assert "trusted: nobody without a token" in am(stack, "status").stdout
    words = ("trust", "add", "--user", "ada", "--network", "192.168.1.0/24", "--key", "k-e-y")
    trust_id = am(stack, *words).stdout.strip()
    listed = am(stack, "trust", "list").stdout
    assert trust_id in listed
    assert "k-e-y" not in listed
    phrase = "ada from 192.168.1.0/24 (any device, with a key)"
    assert f"trusted: {phrase}" in am(stack, "status").stdout
    assert json.loads(am(stack, "status", "--json").stdout)["trusted"] == [phrase]
    assert am(stack, "trust", "remove", trust_id).returncode == 0
    assert am(stack, "trust", "remove", trust_id).returncode != 0
    assert am(stack, "trust", "list").stdout == ""


@pytest.mark.parametrize(
    "words",
    [
        ("--user", "ada", "--network", "0.0.0.0/0"),
        ("--user", "../ada", "--network", "10.0.0.0/24"),
        ("--user", "ada", "--network", "10.0.0.0/24", "--key", "am_token"),
    ],
)
def test_the_command_refuses_rules_that_make_no_sense(words: tuple[str, ...], stack: Stack) -> None:
    assert am(stack, "trust", "add", *words).returncode == 2


def test_status_of_a_stack_that_never_ran_says_that_it_does_not_know(tmp_path: Any) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AM_")}
    told = subprocess.run(
        [sys.executable, "-m", "infra.cli", "status"],
        env={**kept, "AM_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "trusted: unknown" in told.stdout
