"""The home's signature: what proves that a receipt or a manifest was written by this home.

An Ed25519 key in `<home>/signing.key`, made when something is first signed, readable by the owner
alone. It belongs into backups: without it old receipts can only be checked by the public key that
they name.
"""

import base64
import binascii
import contextlib
import os
import tempfile
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from infra.errors import HomeError

KEY_FILE = "signing.key"


class SignatureError(Exception):
    """Something was not signed by the key that it should be, or was changed since."""


def sign(home: Path, message: bytes) -> str:
    """The home's signature under `message`, as base64.

    Raises: HomeError where the key is damaged or cannot be written.
    """
    return base64.b64encode(_own_key(home).sign(message)).decode()


def public_key(home: Path) -> str:
    """What others check signatures with, as base64; the key is made where there is none."""
    return base64.b64encode(_own_key(home).public_key().public_bytes_raw()).decode()


def verify(home: Path, message: bytes, signature: str) -> None:
    """Raises: SignatureError unless this home signed exactly this message."""
    if not (home / KEY_FILE).exists():
        raise SignatureError(
            f"{home} has never signed anything (there is no {KEY_FILE}): name the home that wrote "
            "this as AM_HOME."
        )
    verify_by(public_key(home), message, signature)


def verify_by(known_key: str, message: bytes, signature: str) -> None:
    """The same by a public key that the caller has. Raises: SignatureError."""
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(known_key, validate=True))
        key.verify(base64.b64decode(signature, validate=True), message)
    except (InvalidSignature, ValueError, binascii.Error) as cause:
        raise SignatureError(
            "the signature does not fit: it is another home's, or what was signed has been changed."
        ) from cause


def _own_key(home: Path) -> Ed25519PrivateKey:
    path = home / KEY_FILE
    if not path.exists():
        _make(path)
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError) as cause:
        raise HomeError(f"{path} cannot be read ({cause}): restore it from a backup.") from cause
    if not isinstance(key, Ed25519PrivateKey):
        raise HomeError(f"{path} is not an Ed25519 key: restore it from a backup.")
    return key


def _make(path: Path) -> None:
    """Whole or not at all; where two make one at once, the first one counts for both."""
    fresh = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
        with os.fdopen(handle, "wb") as out:
            out.write(fresh)
            out.flush()
            os.fsync(out.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(name, path)
        Path(name).unlink()
    except OSError as cause:
        raise HomeError(f"{path} cannot be made: {cause}. Set AM_HOME elsewhere.") from cause
