"""`am connect`: what to enter in another app so that it sends to AM, and its setup link as a QR."""

import io
import json
from typing import Annotated

import psycopg
import segno
import typer

from ingest_api.adapters.adapter import Adapter, Door
from ingest_api.adapters.catalog import ADAPTERS
from ingest_api.mqtt_rules import ROOT, MqttSettingsError, broker_of, rules_of
from ingest_api.settings import Settings
from ingest_api.tokens import Scope, create_token

MQTT = "owntracks-mqtt"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "0.0.0.0")  # noqa: S104 - compared, not bound # nosec B104
app = typer.Typer(help="Print what to enter in another app so that it sends to AM.")


@app.command()
def connect(
    name: Annotated[str | None, typer.Argument(help="The app; without it all are listed.")] = None,
    url: Annotated[str | None, typer.Option(help="Where the app reaches AM.")] = None,
    token: Annotated[
        str | None, typer.Option(help="A token that exists; else one is made.")
    ] = None,
    user: Annotated[str | None, typer.Option(help="Whose data the new token writes.")] = None,
    device: Annotated[
        str | None, typer.Option(help="The device that the new token is for.")
    ] = None,
) -> None:
    """Print an app's settings; a new token may write as its one device and read nothing."""
    if name is None:
        for adapter in ADAPTERS.values():
            typer.echo(f"{adapter.name:<20} {adapter.app} ({adapter.systems})")
        typer.echo(f"{MQTT:<20} OwnTracks through an MQTT broker (Android, iOS)")
        return
    if name not in (*ADAPTERS, MQTT):
        raise typer.BadParameter(f"no app {name!r}; there are: {', '.join((*ADAPTERS, MQTT))}")
    settings = Settings()
    if name == MQTT:
        typer.echo(described_mqtt(settings, user=user or "USER", device=device or "DEVICE"))
        return
    base = (url or settings.api_url).rstrip("/")
    door = Door(base=base, token=token or _new_token(settings, user, device))
    typer.echo(described(ADAPTERS[name], door))


def described(adapter: Adapter, door: Door) -> str:
    """The settings, one a line, and the setup link with its QR code where the app has one."""
    lines = [f"{adapter.app} ({adapter.systems})", ""]
    lines += [f"{setting.name}: {setting.value}" for setting in adapter.settings(door)]
    if adapter.link is not None:
        link = adapter.link(door)
        lines += ["", f"or open on the device: {link}", "", qr_code(link)]
    if any(f"//{host}" in door.base for host in LOOPBACK):
        lines += ["", "This address is of this machine alone: pass --url with one a phone reaches."]
    return "\n".join(lines)


def described_mqtt(settings: Settings, *, user: str, device: str) -> str:
    """What to enter in the app, for the broker, and for AM; no token has a part in it.

    Raises: typer.BadParameter where AM_MQTT_URL or AM_MQTT_USERS can't be used.
    """
    try:
        url = settings.mqtt_url
        broker = None if url is None else broker_of(url.get_secret_value())
        rules = rules_of(settings.mqtt_users or {user: user})
    except MqttSettingsError as error:
        raise typer.BadParameter(str(error)) from error
    name = next((name for name, owner in rules.items() if owner.user_id == user), user)
    host, port = (broker.host, broker.port) if broker else ("HOST", 1883)
    lines = [
        "OwnTracks (Android, iOS), Preferences → Connection:",
        "Mode: MQTT",
        f"Host: {host}",
        f"Port: {port}",
        f"TLS: {'on' if broker and broker.is_tls else 'off'}",
        f"Username, Password: those of {name} at the broker",
        f"Device ID: {device}",
        f"(it publishes to {ROOT}/{name}/{device}; on iOS leave the topic's field empty)",
        "",
        "mosquitto.conf, so that the broker keeps what comes while AM is away:",
        "persistence true",
        "max_queued_messages 0",
        "an acl_file: AM reads all, each other account writes its own topics alone:",
        f"user am, topic read {ROOT}/#; pattern readwrite {ROOT}/%u/#",
        "",
        "AM's environment, then `am up`:",
        f"AM_MQTT_URL={'(set)' if broker else 'mqtt://am:PASSWORD@HOST:1883'}",
        f"AM_MQTT_USERS={json.dumps(dict(settings.mqtt_users or {name: user}))}",
    ]
    return "\n".join(lines)


def qr_code(text: str) -> str:
    """A QR code in block characters, two modules a character high."""
    drawn = io.StringIO()
    segno.make_qr(text).terminal(out=drawn, compact=True)
    return drawn.getvalue().rstrip("\n")


def _new_token(settings: Settings, user: str | None, device: str | None) -> str:
    if user is None or device is None:
        raise typer.BadParameter("pass --token, or --user and --device to make one")
    with psycopg.connect(settings.connections().database_url) as connection:
        try:
            return create_token(
                connection, user_id=user, device_id=device, scopes=frozenset({Scope.WRITE})
            )
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
