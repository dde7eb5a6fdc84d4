"""What a home signs is told from what it did not sign."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.errors import HomeError
from infra.signing import KEY_FILE, SignatureError, public_key, sign, verify, verify_by


def test_what_was_signed_is_verified_and_a_changed_byte_is_not(tmp_path: Path) -> None:
    signature = sign(tmp_path, b"three rows")

    verify(tmp_path, b"three rows", signature)
    verify_by(public_key(tmp_path), b"three rows", signature)
    with pytest.raises(SignatureError, match="has been changed"):
        verify(tmp_path, b"four rows", signature)


def test_another_home_has_another_key(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()
    signature = sign(ours, b"x")
    with pytest.raises(SignatureError, match="never signed"):
        verify(theirs, b"x", signature)
    sign(theirs, b"x")
    with pytest.raises(SignatureError, match="another home's"):
        verify(theirs, b"x", signature)


def test_only_the_owner_can_read_the_key(tmp_path: Path) -> None:
    sign(tmp_path, b"x")
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]


def test_first_signatures_made_at_once_are_of_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        signatures = set(pool.map(lambda _: sign(tmp_path, b"x"), range(32)))
    assert len(signatures) == 1


def test_a_damaged_key_is_named_and_not_replaced(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_text("no key")
    with pytest.raises(HomeError, match="restore it from a backup"):
        sign(tmp_path, b"x")
    assert (tmp_path / KEY_FILE).read_text() == "no key"


@given(signature=st.text(max_size=100))
def test_no_text_is_a_signature_by_chance(
    tmp_path_factory: pytest.TempPathFactory, signature: str
) -> None:
    home = tmp_path_factory.getbasetemp()
    known = public_key(home)
    with pytest.raises(SignatureError):
        verify_by(known, b"x", signature)
