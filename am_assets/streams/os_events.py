"""What operating systems report."""

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from am_assets.streams.stream import Door, Row, Sensitivity, Stream

HOT = timedelta(days=30)
EventType = Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True, min_length=1)]


class AppLifecycle(Row):
    """An app was started, brought to the front, put back, ended, or crashed."""

    app_identifier: str = Field(min_length=1, description="Package name or bundle id.")
    app_name: str | None = Field(default=None, description="As people know it.")
    event_type: Literal["launch", "foreground", "background", "terminate", "crash"] = Field(
        description="What happened."
    )
    duration_s: float | None = Field(
        default=None, ge=0, description="Of the phase, as far as it has come."
    )
    window_title: str | None = Field(default=None, description="Of the window in front.")
    metadata: dict[str, Any] | None = Field(default=None, description="As the client sent it.")


class SystemEvent(Row):
    """Something that the operating system reports of itself."""

    event_type: EventType = Field(
        description="screen_on, screen_off, device_lock, device_unlock, power_connected, "
        "power_disconnected, afk, not-afk, …; in lower case."
    )
    event_category: str = Field(
        default="system", description="screen, lock, power, presence, system."
    )
    severity: Literal["info", "warning", "error"] = Field(
        default="info", description="As the client says."
    )
    description: str | None = Field(default=None, description="In words.")
    duration_s: float | None = Field(
        default=None, ge=0, description="Of what lasts, as far as it has come; null = a moment."
    )
    metadata: dict[str, Any] | None = Field(default=None, description="As the client sent it.")


class Notification(Row):
    """A notification that an app showed, or that went away."""

    notification_id: str = Field(min_length=1, description="The system's own id of it.")
    app_identifier: str = Field(min_length=1, description="Package name or bundle id.")
    title: str | None = Field(default=None, description="Its heading.")
    body: str | None = Field(default=None, description="Its text.")
    action: str | None = Field(default=None, description="posted, removed, clicked.")
    metadata: dict[str, Any] | None = Field(default=None, description="As the client sent it.")


class AppSession(Row):
    """An app's phase, with what is known of the app."""

    app_identifier: str = Field(min_length=1, description="Package name or bundle id.")
    event_type: str = Field(description="As in the event it was made from.")
    category: str | None = Field(default=None, description="work, social, games, …")
    permissions: list[str] | None = Field(default=None, description="That the app holds.")
    session_duration_s: float | None = Field(
        default=None, ge=0, description="Of the session that ended; null = none did."
    )


APP_LIFECYCLE = Stream(
    name="os.events.app_lifecycle.raw",
    row=AppLifecycle,
    summary="Apps coming and going.",
    identity=("app_identifier", "event_type"),
    kind="app",
    title="{app_identifier} {event_type}",
    body="{app_name}",
    example={
        "app_identifier": "org.mozilla.firefox",
        "app_name": "Firefox",
        "event_type": "foreground",
    },
    doors=(Door(path="/os-events/app-lifecycle"),),
    aliases={"duration_seconds": "duration_s"},
    sent_by="phone, desktop",
    grows="duration_s",
    keep_hot=HOT,
)

SYSTEM_EVENT = Stream(
    name="os.events.system.raw",
    row=SystemEvent,
    summary="Screen, lock, power and other events of the system.",
    identity=("event_type", "event_category", "description"),
    kind="system",
    title="{event_type}",
    body="{description}",
    is_detail=True,
    example={"event_type": "screen_on", "event_category": "screen", "severity": "info"},
    doors=(Door(path="/os-events/system"),),
    sent_by="phone, desktop",
    grows="duration_s",
    keep_hot=HOT,
)

NOTIFICATION = Stream(
    name="os.events.notifications.raw",
    row=Notification,
    summary="Notifications that apps show.",
    identity=("notification_id", "app_identifier", "action", "title", "body"),
    kind="notification",
    title="{title}",
    body="{body}",
    example={
        "notification_id": "0|org.telegram.messenger|7|null|10161",
        "app_identifier": "org.telegram.messenger",
        "title": "Jane",
        "body": "Bread at six?",
        "action": "posted",
    },
    doors=(Door(path="/os-events/notifications"),),
    sent_by="phone",
    keep_hot=HOT,
    sensitivity=Sensitivity.SECRET,
)

APP_LIFECYCLE_ENRICHED = Stream(
    name="os.events.app_lifecycle.enriched",
    row=AppSession,
    summary="Apps coming and going, with what kind of app and how long it was used.",
    identity=("app_identifier", "event_type"),
    is_derived=True,
    planned="app_lifecycle_processing",
    is_detail=True,
    kind="app session",
    title="{app_identifier}: {category}",
    body="{app_identifier}",
    keep_hot=HOT,
)

STREAMS = (APP_LIFECYCLE, SYSTEM_EVENT, NOTIFICATION, APP_LIFECYCLE_ENRICHED)
