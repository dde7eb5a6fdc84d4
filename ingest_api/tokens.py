"""Tokens: made once, shown once, kept as a hash."""

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import psycopg
from psycopg.rows import class_row

USER_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$")
ANY_DEVICE = "*"
PREFIX = "am_"


class Scope(StrEnum):
    """What a token may do. `admin` may do all."""

    WRITE = "write"
    READ = "read"
    SQL = "sql"
    ADMIN = "admin"


@dataclass(frozen=True)
class Principal:
    """Who a request speaks for. `device_id` None: any device of the user."""

    token_id: UUID
    user_id: str
    device_id: str | None
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        """Whether the token has the scope."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


@dataclass(frozen=True)
class TokenFacts:
    """All that is known of a token but the token."""

    token_id: UUID
    user_id: str
    device_id: str | None
    scopes: list[str]
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


def create_token(
    connection: psycopg.Connection, *, user_id: str, device_id: str, scopes: frozenset[Scope]
) -> str:
    """Make a token for one device, or for all of a user's (`device_id` `*`); shown this once.

    Raises: ValueError for a user id that can't be part of an object's name.
    """
    if not USER_ID.match(user_id):
        raise ValueError(f"user id {user_id!r} must match {USER_ID.pattern}")
    token = PREFIX + secrets.token_urlsafe(32)
    connection.execute(
        "INSERT INTO am.api_token (token_sha256, user_id, device_id, scopes) "
        "VALUES (%s, %s, %s, %s)",
        (
            token_sha256(token),
            user_id,
            None if device_id == ANY_DEVICE else device_id,
            sorted(scopes),
        ),
    )
    return token


def list_tokens(connection: psycopg.Connection) -> list[TokenFacts]:
    """All tokens, newest first."""
    cursor = connection.cursor(row_factory=class_row(TokenFacts))
    return cursor.execute(
        "SELECT token_id, user_id, device_id, scopes, created_at, last_used_at, revoked_at "
        "FROM am.api_token ORDER BY created_at DESC"
    ).fetchall()


def revoke_token(connection: psycopg.Connection, token_id: UUID) -> bool:
    """Make a token worthless; False when there is none that was worth anything."""
    cursor = connection.execute(
        "UPDATE am.api_token SET revoked_at = now() WHERE token_id = %s AND revoked_at IS NULL",
        (token_id,),
    )
    return cursor.rowcount == 1


def token_sha256(token: str) -> bytes:
    """What is kept of a token. It has 256 random bits: no salt or slow hash is needed."""
    return hashlib.sha256(token.encode()).digest()
