"""The MQTT subscriber: OwnTracks' messages from a broker, on the way that its HTTP messages take.

`python -m ingest_api.mqtt PULSE_FILE`. A message is acknowledged to the broker only once it is
committed, as rows or as a dead letter; until then the broker keeps it, over restarts of either
side. What can't be read is a dead letter, so that it holds up nothing behind it.
"""

import asyncio
import json
import logging
import logging.config
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any
from uuid import UUID

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion
from pydantic import SecretStr

from am_assets.streams.registry import REGISTRY, Registry
from ingest_api.adapters.adapter import AppRequest, Unread
from ingest_api.adapters.owntracks import ADAPTER
from ingest_api.app_requests import Received, arrival, understood, unreadable
from ingest_api.errors import IngestError, Reason, RejectedError, UnavailableError
from ingest_api.landing import Arrival, LandingStage
from ingest_api.mqtt_rules import (
    Broker,
    MqttSettingsError,
    Owner,
    broker_of,
    owner_of,
    request_of,
    rules_of,
    topics_of,
)
from ingest_api.serve import LOGGING
from ingest_api.settings import Settings, StackNotFoundError
from ingest_api.stage import landing_stage
from ingest_api.tokens import Principal, Scope

log = logging.getLogger(__name__)

NOBODY = UUID(int=0)  # the broker let the message in, no token of AM's
KEEPALIVE_S = 30
MAX_WAITING = 1_000  # messages; the broker is not read from while there are more
AT_ONCE = 100
FIRST_RETRY_S, LAST_RETRY_S = 0.5, 10.0
PULSE_S = 1.0


@dataclass(frozen=True)
class Message:
    """One message. `connection` counts connections: one that ended has its messages sent again."""

    connection: int
    mid: int
    qos: int
    topic: str
    payload: bytes = field(repr=False)
    received_at: datetime


@dataclass
class State:
    """How the subscriber is, for whoever looks."""

    is_connected: bool = False
    problem: str | None = "not connected yet"
    taken: int = 0
    waiting: int = 0


class Subscriber:
    """Takes messages from a broker and lands them, in the order in which they come."""

    def __init__(
        self,
        broker: Broker,
        rules: Mapping[str, Owner],
        *,
        stage: LandingStage,
        client_id: str = "am",
        secrets: Mapping[str, SecretStr] | None = None,
        registry: Registry = REGISTRY,
    ) -> None:
        """`secrets` are the users' own keys for what is encrypted, by user id."""
        self.state = State()
        self._broker = broker
        self._rules = rules
        self._stage = stage
        self._secrets = secrets or {}
        self._registry = registry
        self._connections = 0
        self._room = BoundedSemaphore(MAX_WAITING)
        self._queue: asyncio.Queue[Message] = asyncio.Queue()
        self._client = self._made(client_id)

    async def run(self) -> None:
        """Work until it is cancelled. What was not acknowledged then comes again."""
        self._loop = asyncio.get_running_loop()
        self._client.connect_async(self._broker.host, self._broker.port, keepalive=KEEPALIVE_S)
        self._client.loop_start()
        try:
            while True:
                await self._work_off(await self._next())
        finally:
            self._client.disconnect()
            for _ in range(self._queue.qsize()):
                self._room.release()
            await asyncio.to_thread(self._client.loop_stop)

    def _made(self, client_id: str) -> Client:
        """A client with a lasting session: the broker keeps what comes while AM is away."""
        client = Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=False, manual_ack=True
        )
        if self._broker.username is not None:
            client.username_pw_set(self._broker.username, self._broker.password)
        if self._broker.is_tls:
            client.tls_set()
        client.reconnect_delay_set(min_delay=1, max_delay=30)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_connect_fail = self._on_connect_fail
        client.on_message = self._on_message
        return client

    def _on_connect(self, client: Client, _data: Any, _flags: Any, reason: Any, _: Any) -> None:
        if reason.is_failure:
            self._lost(f"the broker {self._broker} refuses AM: {reason}")
            return
        self._connections += 1
        client.subscribe([(topic, 1) for topic in topics_of(self._rules)])
        self.state.is_connected, self.state.problem = True, None
        log.info("connected to %s", self._broker)

    def _on_disconnect(self, _client: Client, _data: Any, _flags: Any, reason: Any, _: Any) -> None:
        if self.state.is_connected:
            self._lost(f"the connection to {self._broker} ended: {reason}")

    def _on_connect_fail(self, _client: Client, _data: Any) -> None:
        self._lost(f"nothing answers at {self._broker}")

    def _lost(self, problem: str) -> None:
        if self.state.problem != problem:
            log.warning("%s", problem)
        self.state.is_connected, self.state.problem = False, problem

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        """In the client's own thread, which waits here while too many messages do."""
        self._room.acquire()
        taken = Message(
            self._connections,
            message.mid,
            message.qos,
            message.topic,
            bytes(message.payload),
            datetime.now(UTC),
        )
        self._loop.call_soon_threadsafe(self._queue.put_nowait, taken)

    async def _next(self) -> list[Message]:
        """All that waits, but no more than are landed at once."""
        messages = [await self._queue.get()]
        while len(messages) < AT_ONCE and not self._queue.empty():
            messages.append(self._queue.get_nowait())
        self.state.waiting = self._queue.qsize() + len(messages)
        return messages

    async def _work_off(self, messages: Sequence[Message]) -> None:
        """Land messages together, and acknowledge them in order."""
        current = [message for message in messages if self._is_current(message)]
        try:
            await asyncio.gather(*(self._land(message) for message in current))
        finally:
            for _ in messages:
                self._room.release()
        for message in current:
            if self._is_current(message):
                self._client.ack(message.mid, message.qos)
        self.state.taken += len(current)
        self.state.waiting = self._queue.qsize()

    def _is_current(self, message: Message) -> bool:
        """Whether its connection still stands; if not, the broker sends it again by the next."""
        return message.qos == 0 or message.connection == self._connections

    async def _land(self, message: Message) -> None:
        """Try until it is committed."""
        owner = owner_of(message.topic, self._rules)
        if owner is None:
            log.warning("a message came that no rule of AM_MQTT_USERS names")
            return
        received = await asyncio.to_thread(self._read, message, owner)
        wait_s = FIRST_RETRY_S
        while received.items and not await self._is_landed(received, owner):
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, LAST_RETRY_S)

    async def _is_landed(self, received: Received, owner: Owner) -> bool:
        """Whether it is committed now, if need be as a dead letter."""
        try:
            await self._stage.land(self._arrival(received, owner))
        except UnavailableError as error:
            log.warning("a message waits: %s", error)
            return False
        except Exception as error:  # whatever it is: those behind it wait for it
            log.exception("a message could not be landed")
            if _is_whole(received):
                return False
            refused = _failed(received.told, error)
            return await self._is_landed(refused, owner)
        return True

    def _read(self, message: Message, owner: Owner) -> Received:
        """What the adapter makes of it; where that itself fails, the whole is a dead letter."""
        secret = self._secrets.get(owner.user_id)
        told = request_of(
            message.topic,
            message.payload,
            received_at=message.received_at,
            secret=secret.get_secret_value() if secret else None,
        )
        try:
            return understood(told, ADAPTER)
        except Exception as error:  # a poisonous message must not hold up those behind it
            log.exception("the adapter failed at a message")
            return _failed(told, error)

    def _arrival(self, received: Received, owner: Owner) -> Arrival:
        principal = Principal(NOBODY, owner.user_id, owner.device_id, frozenset({Scope.WRITE}))
        device = received.told.headers.get("x-limit-d")
        return arrival(received, principal=principal, registry=self._registry, device_id=device)


def _failed(told: AppRequest, error: Exception) -> Received:
    """The message as a dead letter, whole."""
    what = str(error) if isinstance(error, IngestError) else f"a bug: {type(error).__name__}"
    reason = RejectedError(Reason.BAD_VALUE, f"AM could not take this message: {what}")
    return Received(adapter=ADAPTER, told=told, items=[unreadable(told, reason)])


def _is_whole(received: Received) -> bool:
    return len(received.items) == 1 and isinstance(received.items[0], Unread)


async def subscribe(settings: Settings, pulse_file: Path) -> None:
    """Subscribe as the settings say, and tell once a second how it goes.

    Raises: MqttSettingsError, StackNotFoundError.
    """
    if settings.mqtt_url is None:
        raise MqttSettingsError("AM_MQTT_URL names no broker: mqtt://user:password@host:1883")
    broker = broker_of(settings.mqtt_url.get_secret_value())
    rules = rules_of(settings.mqtt_users)
    async with landing_stage(settings, settings.connections()) as stage:
        subscriber = Subscriber(
            broker,
            rules,
            stage=stage,
            client_id=settings.mqtt_client_id,
            secrets=settings.owntracks_secrets,
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(subscriber.run())
            tasks.create_task(_tell(subscriber.state, broker, pulse_file))


async def _tell(state: State, broker: Broker, pulse_file: Path) -> None:
    beside = pulse_file.with_suffix(".new")
    while True:
        told = {"at": time.time(), "pid": os.getpid(), "broker": str(broker), **vars(state)}
        beside.write_text(json.dumps(told))
        beside.replace(pulse_file)
        await asyncio.sleep(PULSE_S)


async def _until_told(settings: Settings, pulse_file: Path) -> None:
    task = asyncio.create_task(subscribe(settings, pulse_file))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        log.info("ended")


def main() -> None:
    """Run until SIGTERM or SIGINT; exit code 1 where the settings can't be used."""
    logging.config.dictConfig(LOGGING)
    try:
        asyncio.run(_until_told(Settings(), Path(sys.argv[1])))
    except (MqttSettingsError, StackNotFoundError) as wrong:
        sys.exit(str(wrong))


if __name__ == "__main__":
    main()
