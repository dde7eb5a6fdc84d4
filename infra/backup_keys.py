"""The secrets of a home in a backup: sealed by a passphrase, or in a folder of their own.

A sealed file is `AMKEYS1\\n`, salt, nonce, and a JSON object of the files' contents under
AES-256-GCM; the key comes from the passphrase by scrypt.
"""

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from infra.backup_folder import write_durably
from infra.errors import BackupError
from infra.home import STACK_FILE, Home
from resources.master_keys import FileMasterKey, MasterKey

SEALED = "keys.sealed"
MASTER = "master"
MAGIC = b"AMKEYS1\n"
SALT_BYTES, NONCE_BYTES = 16, 12
MIN_PASSPHRASE = 8
COST = 2**15  # scrypt's; 32 MB and a tenth of a second

Keys = Mapping[str, bytes]


def keys_of(home: Home, master: MasterKey) -> dict[str, bytes]:
    """The files of a home that hold secrets, by their path in it.

    Of a master key in a file elsewhere too, as if it were in the home.
    """
    found = {
        path.relative_to(home.root).as_posix(): path
        for path in (home.stack_file, *home.root.glob("*.key"))
    }
    if isinstance(master, FileMasterKey):
        stem = master.path.stem
        earlier = master.path.parent.glob(master.aside("*").name)
        for path in (master.path, *earlier):
            found[f"{MASTER}{path.stem.removeprefix(stem)}.key"] = path
    return {name: path.read_bytes() for name, path in found.items() if path.is_file()}


def put_keys(home: Home, keys: Keys) -> None:
    """Write them into a home. Raises: BackupError for a path that leads out of it."""
    for name, content in keys.items():
        path = (home.root / name).resolve()
        if not path.is_relative_to(home.root):
            raise BackupError(f"the backup's keys hold a strange path: {name!r}.")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_durably(path, content)


def seal(keys: Keys, passphrase: str) -> bytes:
    """The sealed file. Raises: BackupError for a passphrase that is too short."""
    if len(passphrase) < MIN_PASSPHRASE:
        raise BackupError(f"the passphrase needs at least {MIN_PASSPHRASE} characters.")
    salt, nonce = os.urandom(SALT_BYTES), os.urandom(NONCE_BYTES)
    text = json.dumps({name: base64.b64encode(keys[name]).decode() for name in sorted(keys)})
    closed = AESGCM(_key(passphrase, salt)).encrypt(nonce, text.encode(), MAGIC)
    return MAGIC + salt + nonce + closed


def unseal(sealed: bytes, passphrase: str) -> dict[str, bytes]:
    """What was sealed. Raises: BackupError for another passphrase or a damaged file."""
    head = len(MAGIC)
    if sealed[:head] != MAGIC:
        raise BackupError(f"{SEALED} is damaged: use another generation.")
    salt = sealed[head : head + SALT_BYTES]
    nonce = sealed[head + SALT_BYTES : head + SALT_BYTES + NONCE_BYTES]
    closed = sealed[head + SALT_BYTES + NONCE_BYTES :]
    try:
        text = AESGCM(_key(passphrase, salt)).decrypt(nonce, closed, MAGIC)
    except InvalidTag as cause:
        raise BackupError("the passphrase is not the one of this backup.") from cause
    return {name: base64.b64decode(content) for name, content in json.loads(text).items()}


def write_folder(keys: Keys, folder: Path) -> None:
    """The keys as files of the owner's alone."""
    for name, content in keys.items():
        path = folder / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_durably(path, content)


def read_folder(folder: Path) -> dict[str, bytes]:
    """What `write_folder` wrote. Raises: BackupError where there are none."""
    if not (folder / STACK_FILE).is_file():
        raise BackupError(f"{folder} holds no keys of a backup (there is no {STACK_FILE}).")
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _key(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=COST, r=8, p=1).derive(passphrase.encode())
