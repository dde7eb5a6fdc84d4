"""Whom the owner lets in without a token: rules by network, and how a request is held against them.

There are clients that can send no token on a socket, or only the key that their source code holds.
A rule names a user and a network, and may name one device and one key besides. It lets its clients
write and do nothing else. Without a rule nobody gets in.

The network is held against the address of the socket itself. A request that came through a proxy or
from a web page is never let in: the proxy's address is not its client's, and a page that the owner
merely looks at runs within the owner's network.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import (
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from uuid import UUID

import psycopg
from psycopg.rows import class_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from starlette.requests import HTTPConnection

from ingest_api.errors import UnavailableError
from ingest_api.tokens import ANY_DEVICE, PREFIX, USER_ID, Principal, Scope, token_sha256

PUBLIC_KEY = "apikeyhere"  # stands in the predecessors' source code, so it proves nothing
REMEMBER_S = 5.0  # a removed rule lets in for at most so long
MIN_PREFIX = {4: 8, 6: 7}  # wider networks are not one that a person can vouch for
# A proxy or a browser adds one of these; no client that needs a rule sends any.
FOREIGN_HEADERS = (
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "via",
    "origin",
    "sec-fetch-site",
)
AGENT = "pino-proxy-ubuntu/"  # the Linux client tells its device in the user agent alone

Network = IPv4Network | IPv6Network

RULES = """
SELECT trust_id, user_id, network, device_id, key_sha256, created_at, last_used_at
FROM am.trust WHERE removed_at IS NULL ORDER BY created_at
"""
USED = """
UPDATE am.trust SET last_used_at = now() WHERE trust_id = %s
    AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
"""


@dataclass(frozen=True)
class TrustRule:
    """One rule as the owner gave it. `device_id` None: any device; `key_sha256` None: no key."""

    trust_id: UUID
    user_id: str
    network: Network
    device_id: str | None
    key_sha256: bytes | None
    created_at: datetime
    last_used_at: datetime | None

    def __str__(self) -> str:
        """One phrase of it, without the key."""
        device = f"device {self.device_id}" if self.device_id else "any device"
        key = ", with a key" if self.key_sha256 else ""
        return f"{self.user_id} from {self.network} ({device}{key})"


@dataclass(frozen=True)
class Caller:
    """What is known of a request before its body is read.

    `address` None: not an IP address, or not the client's own. `key` None: none was sent.
    """

    address: str | None
    key: str | None
    device_id: str | None


def caller_of(request: HTTPConnection, key: str | None) -> Caller:
    """The facts that rules are held against."""
    is_foreign = any(name in request.headers for name in FOREIGN_HEADERS)
    address = request.client.host if request.client and not is_foreign else None
    return Caller(address, key, _device_of(request))


def choose(rules: Iterable[TrustRule], caller: Caller) -> TrustRule | None:
    """The rule that lets the caller in; None where none does, or where it is unclear for whom.

    The caller's own device goes before a key, that before the smaller network.
    """
    if caller.address is None or (caller.key or "").startswith(PREFIX):
        return None  # an unknown or revoked token stays what it is
    fitting = [rule for rule in rules if _fits(rule, caller)]
    if not fitting:
        return None
    best = max(_rank(rule, caller) for rule in fitting)
    chosen = [rule for rule in fitting if _rank(rule, caller) == best]
    rivals = chosen if caller.device_id else fitting
    return chosen[0] if len({rule.user_id for rule in rivals}) == 1 else None


def principal_of(rule: TrustRule) -> Principal:
    """Whom the rule speaks for: it writes, and nothing else."""
    return Principal(rule.trust_id, rule.user_id, rule.device_id, frozenset({Scope.WRITE}))


class TrustRules:
    """The rules as the database has them, remembered for a few seconds."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        """Takes connections from `pool`."""
        self._pool = pool
        self._known: Sequence[TrustRule] = ()
        self._until = 0.0
        self._noted: dict[UUID, float] = {}

    async def principal(self, caller: Caller) -> Principal | None:
        """Whom the caller may write for; None = nobody.

        Raises: UnavailableError.
        """
        try:
            rule = choose(await self._rules(), caller)
            if rule is not None:
                await self._note(rule)
        except (psycopg.OperationalError, PoolTimeout) as error:
            raise UnavailableError(f"the database does not answer: {error}") from error
        return principal_of(rule) if rule else None

    async def _rules(self) -> Sequence[TrustRule]:
        if self._until <= time.monotonic():
            async with self._pool.connection() as connection:
                cursor = connection.cursor(row_factory=class_row(TrustRule))
                self._known = await (await cursor.execute(RULES)).fetchall()
            self._until = time.monotonic() + REMEMBER_S
        return self._known

    async def _note(self, rule: TrustRule) -> None:
        """Tell the owner when a rule was used last, to the minute."""
        if self._noted.get(rule.trust_id, 0.0) > time.monotonic():
            return
        async with self._pool.connection() as connection:
            await connection.execute(USED, (rule.trust_id,))
        self._noted[rule.trust_id] = time.monotonic() + 60


def read_network(text: str) -> Network:
    """A network as a person writes it: `192.168.1.0/24`, or one address.

    Raises: ValueError for what is none, or is too wide to be trusted.
    """
    try:
        network = ip_network(text.strip())
    except ValueError as error:
        raise ValueError(_other_spelling(text.strip()) or str(error)) from error
    least = MIN_PREFIX[network.version]
    if network.prefixlen < least:
        raise ValueError(f"{network} is wider than /{least}: name the network that you trust")
    return network


def _other_spelling(text: str) -> str | None:
    """What to write instead of one machine's address with the length of its network."""
    try:
        machine = ip_interface(text)
    except ValueError:
        return None
    return f"write {machine.network} for the whole network, or {machine.ip} for that machine alone"


def add_rule(
    connection: psycopg.Connection,
    *,
    user_id: str,
    network: Network,
    device_id: str | None,
    key: str | None,
) -> UUID:
    """Keep a rule; the key as a hash.

    Raises: ValueError for a user id that can't be part of an object's name, or an AM token.
    """
    if not USER_ID.match(user_id):
        raise ValueError(f"user id {user_id!r} must match {USER_ID.pattern}")
    if key is not None and key.startswith(PREFIX):
        raise ValueError("a token needs no rule: --key is for a key that the client can't change")
    row = connection.execute(
        "INSERT INTO am.trust (user_id, network, device_id, key_sha256) VALUES (%s, %s, %s, %s) "
        "RETURNING trust_id",
        (
            user_id,
            network,
            None if device_id == ANY_DEVICE else device_id,
            None if key is None else token_sha256(key),
        ),
    ).fetchone()
    assert row is not None
    trust_id: UUID = row[0]
    return trust_id


def list_rules(connection: psycopg.Connection) -> list[TrustRule]:
    """All rules that let somebody in, oldest first."""
    return connection.cursor(row_factory=class_row(TrustRule)).execute(RULES).fetchall()


def remove_rule(connection: psycopg.Connection, trust_id: UUID) -> bool:
    """Let nobody in by this rule any more; False where there is none."""
    cursor = connection.execute(
        "UPDATE am.trust SET removed_at = now() WHERE trust_id = %s AND removed_at IS NULL",
        (trust_id,),
    )
    return cursor.rowcount == 1


def _fits(rule: TrustRule, caller: Caller) -> bool:
    is_device = rule.device_id is None or caller.device_id in (None, rule.device_id)
    return is_device and _has_key(rule, caller.key) and _is_within(caller.address, rule.network)


def _has_key(rule: TrustRule, key: str | None) -> bool:
    if rule.key_sha256 is None:
        return key in (None, PUBLIC_KEY)
    return key is not None and token_sha256(key) == rule.key_sha256


def _is_within(address: str | None, network: Network) -> bool:
    try:
        found = ip_address(address or "")
    except ValueError:  # a unix socket or a name
        return False
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return found in network


def _rank(rule: TrustRule, caller: Caller) -> tuple[bool, bool, int]:
    is_own = rule.device_id is not None and rule.device_id == caller.device_id
    return is_own, rule.key_sha256 is not None, rule.network.prefixlen


def _device_of(request: HTTPConnection) -> str | None:
    """The device that a request names outside its body."""
    params: Mapping[str, str] = request.path_params
    agent = request.headers.get("user-agent", "")
    named = (
        params.get("device_id")
        or request.headers.get("x-device-id")
        or request.query_params.get("device_id")
    )
    return named or (agent.removeprefix(AGENT) if agent.startswith(AGENT) else None) or None
