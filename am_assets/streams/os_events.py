"""What operating systems report."""

from datetime import timedelta
from typing import Any, Literal

from pydantic import Field

from am_assets.streams.stream import Door, Row, Stream


class AppLifecycle(Row):
    """An app was started, brought to the front, put back, ended, or crashed."""

    app_identifier: str = Field(min_length=1, description="Package name or bundle id.")
    app_name: str | None = Field(default=None, description="As people know it.")
    event_type: Literal["launch", "foreground", "background", "terminate", "crash"] = Field(
        description="What happened."
    )
    duration_s: float | None = Field(default=None, ge=0, description="Of the phase that ended.")
    metadata: dict[str, Any] | None = Field(default=None, description="As the client sent it.")


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
    keep_hot=timedelta(days=30),
)

STREAMS = (APP_LIFECYCLE,)
