"""What the check says of known advisories, and that it never calls the unasked clean."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.advisories import LOCK, UNREACHABLE, judge, run

NAMES = st.text("abcdefgh-", min_size=1, max_size=9)
IDS = st.text("PYSEC-0123456789", min_size=1, max_size=12)
ADVISORIES = st.fixed_dictionaries(
    {"id": IDS, "fix_versions": st.lists(st.just("2.0"), max_size=2)}
)
ASKED = st.fixed_dictionaries(
    {"name": NAMES, "version": st.just("1.0"), "vulns": st.lists(ADVISORIES, max_size=3)}
)
SKIPPED = st.fixed_dictionaries({"name": NAMES, "skip_reason": st.just("not found")})


@given(st.lists(ASKED | SKIPPED, max_size=6))
def test_the_check_fails_exactly_where_a_newer_version_mends(packages: list[Any]) -> None:
    verdict = judge(packages)
    found = [one for package in packages for one in package.get("vulns", [])]
    assert verdict.is_bad == any(one["fix_versions"] for one in found)
    assert all(one["id"] in verdict.text for one in found)
    assert (UNREACHABLE in verdict.text) == any("skip_reason" in one for one in packages)


def test_what_was_not_asked_is_not_counted_as_clean() -> None:
    told = judge([{"name": "a", "skip_reason": "x"}, {"name": "b", "version": "1", "vulns": []}])
    assert told.text == f"{UNREACHABLE} for 1 of 2 packages\n0 advisories against 1 packages"


def test_a_file_that_pip_audit_can_not_read_is_no_clean_bill(tmp_path: Path) -> None:
    verdict = run(tmp_path / "none.lock")
    assert (verdict.is_bad, verdict.text.startswith(UNREACHABLE)) == (False, True)


@pytest.mark.parametrize("name", ["fastapi", "psycopg", "minio"])
def test_the_lock_file_that_is_asked_about_is_the_products(name: str) -> None:
    assert f"\n{name}==" in "\n" + LOCK.read_text()
