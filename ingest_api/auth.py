"""Who is at the door: the token of a request, and what it may do."""

import base64
import binascii
import time
from collections.abc import Awaitable, Callable

import psycopg
from fastapi import Request
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from starlette.requests import HTTPConnection

from ingest_api.audit import mark_reading
from ingest_api.errors import ForbiddenError, UnauthorizedError, UnavailableError
from ingest_api.tokens import Principal, Scope, token_sha256
from ingest_api.trust import TrustRules, caller_of

REMEMBER_S = 5.0  # a revoked token is worth something for at most so long
REMEMBER_MAX = 10_000

HOW_TO = "send a token: `Authorization: Bearer …`, `X-API-Key: …`, or as the Basic password"

FIND = """
UPDATE am.api_token SET last_used_at = now() WHERE token_sha256 = %s AND revoked_at IS NULL
RETURNING token_id, user_id, device_id, scopes
"""


class Authenticator:
    """Looks tokens up, and remembers each for a few seconds."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        """Takes connections from `pool`."""
        self._pool = pool
        self._known: dict[bytes, tuple[float, Principal]] = {}
        self._trust = TrustRules(pool)

    async def principal(self, token: str) -> Principal:
        """Who holds a token.

        Raises: UnauthorizedError, UnavailableError.
        """
        digest = token_sha256(token)
        found = self._known.get(digest)
        if found and found[0] > time.monotonic():
            return found[1]
        principal = await self._look_up(digest)
        if len(self._known) >= REMEMBER_MAX:
            self._known.clear()
        self._known[digest] = (time.monotonic() + REMEMBER_S, principal)
        return principal

    async def trusted(self, request: HTTPConnection, token: str | None) -> Principal | None:
        """Whom the owner trusts to write without a valid token; None = nobody.

        Raises: UnavailableError.
        """
        return await self._trust.principal(caller_of(request, token))

    async def _look_up(self, digest: bytes) -> Principal:
        try:
            async with self._pool.connection() as connection:
                row = await (await connection.execute(FIND, (digest,))).fetchone()
        except (psycopg.OperationalError, PoolTimeout) as error:
            raise UnavailableError(f"the database does not answer: {error}") from error
        if row is None:
            raise UnauthorizedError("this token is unknown or was revoked: `am key create`")
        return Principal(row[0], row[1], row[2], frozenset(Scope(scope) for scope in row[3]))


def token_of(request: HTTPConnection) -> str | None:
    """The token of a request or a socket, from whichever place its client can put it; None = none.

    Raises: UnauthorizedError for one that can't be read.
    """
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value:
        return value.strip()
    if scheme.lower() == "basic" and value:
        return _basic_password(value)
    if key := request.headers.get("x-api-key"):
        return key
    if "websocket" in request.scope["type"] and (token := request.query_params.get("token")):
        return token
    return None


def require(scope: Scope) -> Callable[[Request], Awaitable[Principal]]:
    """A dependency that lets in who has the scope.

    Raises, when called: UnauthorizedError, ForbiddenError, UnavailableError.
    """

    async def principal(request: Request) -> Principal:
        return await authorize(request, scope)

    return principal


async def authorize(
    request: HTTPConnection, scope: Scope, *, app_token: str | None = None
) -> Principal:
    """Who is there, if they may. `app_token` goes first: what a client that can set no header put
    into its path. Every token is looked up by its hash, so that no comparison tells how near a
    wrong one is. Whoever asks for more than writing reads: the answer waits for the audit log.

    Raises: UnauthorizedError, ForbiddenError, TooManyRequestsError, UnavailableError.
    """
    principal = await _identify(request, app_token or token_of(request))
    request.state.principal = principal  # whose bytes and whose reading the request is
    if scope is not Scope.WRITE:
        mark_reading(request, principal)
    request.app.state.services.rates.admit(principal.token_id)
    if not principal.may(scope):
        raise ForbiddenError(
            f"this token lacks the scope {scope.value!r}: make one that has it, "
            f"`am key create … --scope {scope.value}`"
        )
    return principal


async def _identify(request: HTTPConnection, token: str | None) -> Principal:
    """The token's holder, else whom a rule of `am trust` lets in."""
    authenticator: Authenticator = request.app.state.services.authenticator
    try:
        if token is not None:
            return await authenticator.principal(token)
        problem = UnauthorizedError(HOW_TO)
    except UnauthorizedError as error:
        problem = error
    trusted = await authenticator.trusted(request, token)
    if trusted is None:
        raise problem
    return trusted


def _basic_password(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError) as error:
        raise UnauthorizedError("the Basic credentials are not base64 of user:token") from error
