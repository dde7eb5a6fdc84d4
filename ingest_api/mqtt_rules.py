"""OwnTracks over MQTT: whose data a topic is, and how a message becomes an app's request. Pure.

Phones publish to `owntracks/<name>/<device>`, and to topics below it. A rule says which of these
names is which user of AM; what no rule names is not subscribed to.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import unquote, urlsplit

from ingest_api.adapters.adapter import AppRequest
from ingest_api.tokens import USER_ID

ROOT = "owntracks"
PORTS = {"mqtt": 1883, "mqtts": 8883}
WILD = "+#"


class MqttSettingsError(ValueError):
    """AM_MQTT_URL or AM_MQTT_USERS can't be used as it is; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Broker:
    """Where the broker is, and as whom AM speaks to it. Printed without the password."""

    host: str
    port: int
    is_tls: bool
    username: str | None
    password: str | None = field(repr=False)

    def __str__(self) -> str:
        """Host and port."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Owner:
    """Whose a message is. `device_id` None: the device is called as in the topic."""

    user_id: str
    device_id: str | None


def broker_of(url: str) -> Broker:
    """Read `mqtt://user:password@host:1883`; `mqtts://` is with TLS.

    Raises: MqttSettingsError.
    """
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError as error:
        raise MqttSettingsError(f"AM_MQTT_URL: {error}") from error
    if parts.scheme not in PORTS or not parts.hostname:
        raise MqttSettingsError("AM_MQTT_URL must be mqtt://user:password@host:1883 (or mqtts://)")
    return Broker(
        host=parts.hostname,
        port=port or PORTS[parts.scheme],
        is_tls=parts.scheme == "mqtts",
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
    )


def rules_of(told: Mapping[str, str]) -> Mapping[str, Owner]:
    """`{"jane": "ada"}`, or `{"jane/phone": "ada/pixel"}` for one device.

    Raises: MqttSettingsError.
    """
    if not told:
        raise MqttSettingsError(
            'AM_MQTT_USERS must say whose data comes: {"<name in the topic>": "<user of AM>"}'
        )
    return {name.strip("/"): _owner(name, owner) for name, owner in told.items()}


def topics_of(rules: Mapping[str, Owner]) -> list[str]:
    """What is subscribed to; `#` stands for the topic itself too."""
    return [f"{ROOT}/{name}/#" for name in rules]


def owner_of(topic: str, rules: Mapping[str, Owner]) -> Owner | None:
    """Whose a message is: a device's own rule goes before its user's. None: nobody's."""
    _, _, rest = topic.partition("/")
    name, _, below = rest.partition("/")
    device, _, _ = below.partition("/")
    return rules.get(f"{name}/{device}") or rules.get(name)


def request_of(
    topic: str, payload: bytes, *, received_at: datetime, secret: str | None
) -> AppRequest:
    """The message as the app would have posted it."""
    levels = topic.split("/")
    named = dict(zip(("x-limit-u", "x-limit-d"), levels[1:3], strict=False))
    return AppRequest(
        received_at=received_at,
        tail=topic,
        headers={"content-type": "application/json", **{k: v for k, v in named.items() if v}},
        body=payload,
        secret=secret,
    )


def _owner(name: str, told: str) -> Owner:
    user_id, _, device_id = told.partition("/")
    is_name = name.strip("/") and not any(mark in name for mark in WILD)
    if not is_name or name.strip("/").count("/") > 1 or not USER_ID.match(user_id):
        raise MqttSettingsError(
            f'AM_MQTT_USERS: "{name}": "{told}" must be "<name>" or "<name>/<device>" of the '
            'topic, and "<user>" or "<user>/<device>" of AM'
        )
    return Owner(user_id, device_id or None)
