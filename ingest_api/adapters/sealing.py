"""OwnTracks' encrypted payloads: libsodium's secretbox under a passphrase of at most 32 bytes."""

import base64
import binascii

from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from ingest_api.errors import Reason, RejectedError

SETTING = "AM_OWNTRACKS_SECRETS"


def is_usable(secret: str) -> bool:
    """Whether the app can have the same one."""
    return len(secret.encode()) <= SecretBox.KEY_SIZE


def box_of(secret: str) -> SecretBox:
    """The passphrase, padded with zeros to 32 bytes.

    Raises: RejectedError for a longer one, which the app can't have either.
    """
    if not is_usable(secret):
        raise RejectedError(
            Reason.BAD_VALUE, f"the secret in {SETTING} is longer than {SecretBox.KEY_SIZE} bytes"
        )
    return SecretBox(secret.encode().ljust(SecretBox.KEY_SIZE, b"\0"))


def unseal(data: object, *, secret: str | None) -> bytes:
    """What base64 of nonce and ciphertext holds.

    Raises: RejectedError when there is no secret, or not this one.
    """
    if secret is None:
        raise RejectedError(
            Reason.BAD_VALUE,
            f"this is encrypted: set {SETTING} to the user's secret, as entered in the app",
        )
    try:
        return box_of(secret).decrypt(base64.b64decode(str(data), validate=True))
    except (CryptoError, binascii.Error, ValueError) as error:
        raise RejectedError(
            Reason.BAD_VALUE, f"this can't be decrypted with the user's secret in {SETTING}"
        ) from error


def seal(content: bytes, *, secret: str) -> str:
    """The same the other way, under a nonce of its own."""
    return base64.b64encode(box_of(secret).encrypt(content)).decode()
