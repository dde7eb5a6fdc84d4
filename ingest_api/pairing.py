"""Pairing: the owner makes an invitation, and whoever types its code gets a write token, once."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from ingest_api.border import translating
from ingest_api.errors import NotFoundError
from ingest_api.tokens import PREFIX, USER_ID, Scope, token_sha256

VALID_FOR = timedelta(days=7)
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: none is taken for another
GROUPS, GROUP = 4, 5  # 20 characters, 100 bits
LOOKALIKES = str.maketrans({"O": "0", "I": "1", "L": "1"})

INVITE = """
INSERT INTO am.invite (code_sha256, user_id, expires_at) VALUES (%s, %s, now() + %s)
"""
# Two at once wait for each other here; the second finds it used.
USE = """
UPDATE am.invite SET used_at = now(), device_id = %s
WHERE code_sha256 = %s AND used_at IS NULL AND expires_at > now() RETURNING user_id
"""
ENROL = """
INSERT INTO am.api_token (token_sha256, user_id, device_id, scopes) VALUES (%s, %s, %s, %s)
RETURNING token_id
"""
REMEMBER = "UPDATE am.invite SET token_id = %s WHERE code_sha256 = %s"
DEVICE = """
INSERT INTO am.device AS known (user_id, device_id, name) VALUES (%s, %s, %s)
ON CONFLICT (user_id, device_id) DO UPDATE SET name = coalesce(excluded.name, known.name),
    last_seen_at = now()
"""


@dataclass(frozen=True)
class Paired:
    """What a code was exchanged for."""

    token: str
    user_id: str
    device_id: str


def create_invite(
    connection: psycopg.Connection, *, user_id: str, valid_for: timedelta = VALID_FOR
) -> str:
    """Make a code that works once; shown this once, kept as a hash.

    Raises: ValueError for a user id that can't be part of an object's name.
    """
    if not USER_ID.match(user_id):
        raise ValueError(f"user id {user_id!r} must match {USER_ID.pattern}")
    groups = ("".join(secrets.choice(ALPHABET) for _ in range(GROUP)) for _ in range(GROUPS))
    code = "-".join(groups)
    connection.execute(INVITE, (code_sha256(code), user_id, valid_for))
    return code


async def pair(pool: AsyncConnectionPool, *, code: str, device_id: str, name: str | None) -> Paired:
    """Exchange a code for a token that may write for one device.

    Raises: NotFoundError for a code that is unknown, used or expired; UnavailableError.
    """
    with translating():
        async with pool.connection() as connection, connection.transaction():
            return await _exchange(connection, code_sha256(code), device_id=device_id, name=name)


async def _exchange(
    connection: AsyncConnection, digest: bytes, *, device_id: str, name: str | None
) -> Paired:
    found = await (await connection.execute(USE, (device_id, digest))).fetchone()
    if found is None:
        raise NotFoundError("this code is unknown, was used or has expired: `am pair` makes one")
    (user_id,) = found
    token = PREFIX + secrets.token_urlsafe(32)
    values = (token_sha256(token), user_id, device_id, [Scope.WRITE.value])
    made = await (await connection.execute(ENROL, values)).fetchone()
    assert made is not None
    await connection.execute(REMEMBER, (made[0], digest))
    await connection.execute(DEVICE, (user_id, device_id, name))
    return Paired(token, user_id, device_id)


def code_sha256(code: str) -> bytes:
    """What is kept of a code, however it is typed. It has 100 random bits: no salt is needed."""
    typed = "".join(letter for letter in code.upper() if letter.isalnum())
    return hashlib.sha256(typed.translate(LOOKALIKES).encode()).digest()
