"""OwnTracks over a real Mosquitto: what the broker took is landed once, whatever was down."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt import publish
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from ingest_api.adapters.sealing import seal
from ingest_api.mqtt_rules import (
    MqttSettingsError,
    Owner,
    broker_of,
    owner_of,
    request_of,
    rules_of,
    topics_of,
)
from resources.connections import Connections
from tests.ingest_api.adapters.test_adapters import NOW
from tests.ingest_api.founding.test_database_down import allow
from tests.variables import variables_of

SECRET = "correct horse battery"
TST = 1704067200
GPS = "am.device_sensor_gps_raw"
ENTER = b'{"_type": "transition", "event": "enter", "tst": 1704067200}'


def until(is_so: Callable[[], Any], what: str, *, within_s: float = 40) -> None:
    """Wait for it."""
    deadline = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline, f"{what}: not within {within_s} s"
        threading.Event().wait(0.05)


def fix(number: int) -> bytes:
    """The position of a second."""
    told = {"_type": "location", "lat": 48.1, "lon": 11.5, "tst": TST + number, "batt": 85, "bs": 2}
    return json.dumps(told).encode()


@dataclass
class Broker:
    """Mosquitto on a port of its own, with a memory."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
        assert program is not None
        settings = self.folder / "mosquitto.conf"
        settings.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
            f"persistence_location {self.folder}/\nmax_queued_messages 0\nuser root\n"
        )
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen([program, "-c", settings], stdout=log, stderr=log)
        until(self._answers, "mosquitto")

    def stop(self) -> None:
        """End it in order: it writes what it holds."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)

    def publish(self, *messages: tuple[str, bytes]) -> None:
        """Hand messages to it, with QoS 1: returns once it has them."""
        told = [{"topic": topic, "payload": body, "qos": 1} for topic, body in messages]
        publish.multiple(told, hostname="127.0.0.1", port=self.port)  # type: ignore[arg-type]  # plain dicts, as documented

    def left(self, client_id: str) -> int:
        """How many messages it still holds for a session."""
        heard: list[bytes] = []
        is_there = threading.Event()
        client = Client(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=False)

        def begin(*_: Any) -> None:
            client.subscribe("end/of/session", 1)

        def end(*_: Any) -> None:
            client.publish("end/of/session", b"end", 1)

        def hear(_client: Any, _data: Any, message: Any) -> None:
            if message.topic == "end/of/session":
                is_there.set()
            else:
                heard.append(message.payload)

        client.on_connect, client.on_subscribe, client.on_message = begin, end, hear
        client.connect("127.0.0.1", self.port)
        client.loop_start()
        assert is_there.wait(20)
        client.unsubscribe("end/of/session")
        client.disconnect()
        client.loop_stop()
        return len(heard)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker that runs."""
    if shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin") is None:
        assert not os.environ.get("CI"), "CI has to have it: apt-get install mosquitto"
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    found = Broker(tmp_path, port)
    found.start()
    yield found
    found.stop()


@pytest.fixture
def subscriber(
    broker: Broker, connections: Connections, user: str, tmp_path: Path
) -> Callable[[], Any]:
    """Runs the subscriber as a process for as long as its context lasts."""
    settings = {
        "HOME": str(tmp_path),
        "AM_HOME": str(tmp_path / "am"),
        **variables_of(connections),
        "AM_MQTT_URL": f"mqtt://127.0.0.1:{broker.port}",
        "AM_MQTT_USERS": json.dumps({"jane": user, "jane/tablet": f"{user}/kitchen"}),
        "AM_OWNTRACKS_SECRETS": json.dumps({user: SECRET}),
        "NO_PROXY": "127.0.0.1",
        "PATH": os.environ["PATH"],
    }
    pulse = tmp_path / "mqtt.json"

    @contextmanager
    def run() -> Iterator[Callable[[], dict[str, Any]]]:
        pulse.unlink(missing_ok=True)
        argv = [sys.executable, "-m", "ingest_api.mqtt", str(pulse)]
        with (tmp_path / "subscriber.log").open("ab") as log:
            process = subprocess.Popen(argv, env=settings, stdout=log, stderr=log)
        try:
            until(lambda: pulse.exists() or process.poll() is not None, "the subscriber")
            assert process.poll() is None, (tmp_path / "subscriber.log").read_text()
            until(lambda: json.loads(pulse.read_text())["is_connected"], "its connection")
            yield lambda: dict(json.loads(pulse.read_text()))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)

    return run


def counts(url: str, user: str) -> tuple[int, int]:
    """Rows of fixes, and open dead letters."""
    with psycopg.connect(url) as database:
        row = database.execute(
            f"SELECT (SELECT count(*) FROM {GPS} WHERE user_id = %s), "
            "(SELECT count(*) FROM am.dead_letter WHERE user_id = %s)".encode(),
            (user, user),
        ).fetchone()
    assert row is not None
    return row[0], row[1]


def test_messages_become_rows_of_their_device_and_poison_holds_up_nothing(
    broker: Broker,
    subscriber: Callable[[], Any],
    connections: Connections,
    database: psycopg.Connection,
    user: str,
) -> None:
    sealed = json.dumps({"_type": "encrypted", "data": seal(fix(3), secret=SECRET)}).encode()
    with subscriber():
        broker.publish(
            ("owntracks/jane/phone", b"{broken"),
            ("owntracks/jane/phone", b""),
            ("owntracks/jane/phone", b'{"_type": "location", "lat": 95, "lon": 1, "tst": 1}'),
            ("owntracks/jane/phone", b'{"_type": "encrypted", "data": "AAAA"}'),
            ("owntracks/jane/phone", b"\xff" * 300_000),
            ("owntracks/jane", fix(9)),
            ("owntracks/bob/phone", fix(1)),
            ("owntracks/jane/phone", fix(1)),
            ("owntracks/jane/phone", fix(1)),
            ("owntracks/jane/tablet", fix(2)),
            ("owntracks/jane/phone", sealed),
            ("owntracks/jane/phone/event", ENTER),
        )
        until(lambda: counts(connections.database_url, user) == (4, 4), "rows and dead letters")
    rows = database.execute(
        f"SELECT device_id, extract(epoch from ts)::int - {TST} FROM {GPS} "
        "WHERE user_id = %s ORDER BY ts".encode(),
        (user,),
    ).fetchall()
    assert rows == [("phone", 1), ("kitchen", 2), ("phone", 3), ("owntracks", 9)]
    events = database.execute(
        "SELECT event_type FROM am.os_events_system_raw WHERE user_id = %s", (user,)
    ).fetchall()
    assert events == [("region_enter",)]
    assert broker.left("am") == 0


def test_nothing_is_lost_or_doubled_while_broker_database_and_subscriber_go_and_come(
    broker: Broker,
    subscriber: Callable[[], Any],
    connections: Connections,
    server_url: str,
    user: str,
) -> None:
    topic = "owntracks/jane/phone"
    url = connections.database_url
    with subscriber() as told:
        broker.publish(*((topic, fix(number)) for number in range(10)))
        until(lambda: counts(url, user)[0] == 10, "the first ten")
        allow(server_url, connections, is_allowed=False)
        try:
            broker.publish(*((topic, fix(number)) for number in range(10, 60)))
            until(lambda: told()["waiting"], "what waits for the database")
            broker.stop()
            until(lambda: not told()["is_connected"], "the end of the connection")
            broker.start()
            until(lambda: told()["is_connected"], "the next connection")
        finally:
            allow(server_url, connections, is_allowed=True)
        until(lambda: counts(url, user)[0] == 60, "those of the outage")
    broker.publish(*((topic, fix(number)) for number in range(60, 80)))
    broker.stop()
    broker.start()
    with subscriber():
        until(lambda: counts(url, user)[0] == 80, "those that came while nobody listened")
    assert counts(url, user) == (80, 0)
    assert broker.left("am") == 0


def test_a_killed_subscriber_loses_nothing_that_it_had_not_committed(
    broker: Broker,
    subscriber: Callable[[], Any],
    connections: Connections,
    server_url: str,
    user: str,
) -> None:
    url = connections.database_url
    with subscriber() as told:
        allow(server_url, connections, is_allowed=False)
        try:
            broker.publish(*(("owntracks/jane/phone", fix(number)) for number in range(30)))
            until(lambda: told()["waiting"], "what waits for the database")
            os.kill(told()["pid"], signal.SIGKILL)
        finally:
            allow(server_url, connections, is_allowed=True)
    with subscriber():
        until(lambda: counts(url, user)[0] == 30, "all of them")
    assert broker.left("am") == 0


@pytest.mark.parametrize(
    "url", ["", "http://host", "mqtt://", "mqtt://host:port", "mqtt://host:99999", "host:1883"]
)
def test_an_address_that_names_no_broker_is_refused(url: str) -> None:
    with pytest.raises(MqttSettingsError, match="AM_MQTT_URL"):
        broker_of(url)


def test_an_address_holds_host_port_and_credentials_and_prints_no_password() -> None:
    broker = broker_of("mqtts://am:p%40ss@broker.example")
    assert (broker.host, broker.port, broker.is_tls) == ("broker.example", 8883, True)
    assert (broker.username, broker.password) == ("am", "p@ss")
    assert str(broker) == "broker.example:8883"


@pytest.mark.parametrize(
    "rules",
    [{}, {"#": "ada"}, {"jane/+": "ada"}, {"": "ada"}, {"a/b/c": "ada"}, {"jane": "not a user"}],
)
def test_a_rule_that_would_let_in_others_is_refused(rules: dict[str, str]) -> None:
    with pytest.raises(MqttSettingsError, match="AM_MQTT_USERS"):
        rules_of(rules)


def test_a_devices_own_rule_goes_before_its_users() -> None:
    rules = rules_of({"jane": "ada", "jane/car": "family/car"})
    assert topics_of(rules) == ["owntracks/jane/#", "owntracks/jane/car/#"]
    assert owner_of("owntracks/jane/phone", rules) == Owner("ada", None)
    assert owner_of("owntracks/jane/car/event", rules) == Owner("family", "car")
    assert owner_of("owntracks/bob/phone", rules) is None


@given(st.text(max_size=40), st.binary(max_size=20))
def test_any_topic_makes_a_request_and_no_topic_is_anybodys_without_a_rule(
    topic: str, payload: bytes
) -> None:
    request = request_of(topic, payload, received_at=NOW, secret=None)
    assert request.body == payload
    assert owner_of(topic, {}) is None
