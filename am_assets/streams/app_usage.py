"""How much apps are used, as Android adds it up.

One message is one row: its lists are JSON columns, as sent, because they belong to one period.
"""

from datetime import timedelta
from typing import Any

from pydantic import AwareDatetime, Field, model_validator

from am_assets.streams.as_sent import with_instants
from am_assets.streams.stream import Door, Row, Stream

HOT = timedelta(days=30)
PERIOD_ALIASES = {
    "aggregation_period_start": "period_start_as_sent",
    "aggregation_period_end": "period_end_as_sent",
}


class Period(Row):
    """The stretch of time that usage is added up over."""

    period_start_as_sent: str = Field(min_length=1, description="Its begin; often without a zone.")
    period_end_as_sent: str = Field(min_length=1, description="Its end; often without a zone.")
    period_start_ts: AwareDatetime | None = Field(
        default=None, description="Its begin; null = sent without a zone."
    )
    period_end_ts: AwareDatetime | None = Field(
        default=None, description="Its end; null = sent without a zone."
    )

    @model_validator(mode="before")
    @classmethod
    def _read_times(cls, values: Any) -> Any:
        return with_instants(
            values,
            {"period_start_as_sent": "period_start_ts", "period_end_as_sent": "period_end_ts"},
        )

    @model_validator(mode="after")
    def _check_order(self) -> "Period":
        begin, end = self.period_start_ts, self.period_end_ts
        if begin and end and end <= begin:
            raise ValueError("the period has to end after it begins")
        return self


class AppUsage(Period):
    """Everything that Android knows of one period's use."""

    aggregation_interval_min: int = Field(
        default=60, gt=0, description="Length that was asked for."
    )
    total_screen_time_ms: int = Field(ge=0, description="Screen on and unlocked.")
    total_unlocks: int = Field(default=0, ge=0, description="How often it was unlocked.")
    app_usage_stats: list[dict[str, Any]] = Field(
        description="As sent, an object an app: package_name, app_name, total_time_foreground_ms, "
        "last_time_used, last_time_foreground_service_used, "
        "total_time_foreground_service_used_ms, launch_count."
    )
    app_event_stats: list[dict[str, Any]] | None = Field(
        default=None,
        description="As sent, an object an app and event: package_name, event_type, event_count, "
        "last_event_time.",
    )
    screen_time_by_category: list[dict[str, Any]] | None = Field(
        default=None,
        description="As sent, an object a category: category, total_time_ms, app_count, "
        "percentage_of_total.",
    )
    notification_stats: list[dict[str, Any]] | None = Field(
        default=None,
        description="As sent, an object an app: package_name, notification_count, "
        "interaction_count, dismissal_count.",
    )


class AppEvent(Row):
    """One usage event of Android: an activity resumed, a shortcut used, a bucket changed."""

    package_name: str = Field(min_length=1, description="The app's package.")
    app_name: str | None = Field(default=None, description="As people know it.")
    event_type: str = Field(min_length=1, description="As Android names it.")
    class_name: str | None = Field(default=None, description="The activity or service.")
    configuration: dict[str, Any] | None = Field(
        default=None, description="Of the screen, as sent."
    )
    shortcut_id: str | None = Field(default=None, description="The shortcut that was used.")
    standby_bucket: int | None = Field(default=None, description="10 active … 50 never used.")
    notification_channel_id: str | None = Field(default=None, description="Of the notification.")
    metadata: dict[str, Any] | None = Field(default=None, description="As the client sent it.")


class CategoryUsage(Period):
    """Screen time of one period by the kind of app."""

    category_stats: list[dict[str, Any]] = Field(
        description="As sent, an object a category: category, total_time_ms, app_count, "
        "percentage_of_total."
    )
    total_screen_time_ms: int = Field(ge=0, description="Screen on and unlocked.")
    device_unlocks: int = Field(default=0, ge=0, description="How often it was unlocked.")
    metadata: dict[str, Any] | None = Field(default=None, description="As the client sent it.")


AGGREGATED = Stream(
    name="device.app_usage.android.aggregated",
    row=AppUsage,
    summary="Screen time, launches and notifications by app, about once an hour.",
    identity=("period_start_as_sent", "period_end_as_sent"),
    kind="app usage",
    title="{total_screen_time_ms} ms of screen time",
    example={
        "aggregation_period_start": "2026-03-01T07:00:00.000000",
        "aggregation_period_end": "2026-03-01T08:00:00.000000",
        "aggregation_interval_minutes": 60,
        "total_screen_time_ms": 1_260_000,
        "total_unlocks": 9,
        "app_usage_stats": [
            {
                "package_name": "org.mozilla.firefox",
                "app_name": "Firefox",
                "total_time_foreground_ms": 900_000,
                "last_time_used": "2026-03-01T07:58:11.000000",
                "launch_count": 4,
            }
        ],
        "notification_stats": [{"package_name": "org.telegram.messenger", "notification_count": 3}],
    },
    doors=(Door(path="/system/apps/android/usage"),),
    aliases={**PERIOD_ALIASES, "aggregation_interval_minutes": "aggregation_interval_min"},
    sent_by="phone",
    keep_hot=HOT,
)

EVENTS = Stream(
    name="device.app_usage.android.events",
    row=AppEvent,
    summary="Android's own usage events, one row an event.",
    identity=("package_name", "event_type", "class_name"),
    kind="app event",
    title="{package_name} {event_type}",
    is_detail=True,
    example={
        "package_name": "org.mozilla.firefox",
        "app_name": "Firefox",
        "event_type": "ACTIVITY_RESUMED",
        "class_name": "org.mozilla.fenix.HomeActivity",
    },
    doors=(Door(path="/system/apps/android/events"),),
    sent_by="phone",
    keep_hot=HOT,
)

CATEGORIES = Stream(
    name="device.app_usage.android.categories",
    row=CategoryUsage,
    summary="Screen time by kind of app.",
    identity=("period_start_as_sent", "period_end_as_sent"),
    kind="app usage",
    title="{total_screen_time_ms} ms of screen time",
    example={
        "aggregation_period_start": "2026-03-01T00:00:00Z",
        "aggregation_period_end": "2026-03-01T08:00:00Z",
        "category_stats": [
            {
                "category": "social",
                "total_time_ms": 600_000,
                "app_count": 2,
                "percentage_of_total": 47.6,
            }
        ],
        "total_screen_time_ms": 1_260_000,
        "device_unlocks": 9,
    },
    doors=(Door(path="/system/apps/android/categories"),),
    aliases=PERIOD_ALIASES,
    sent_by="phone",
    keep_hot=HOT,
)

STREAMS = (AGGREGATED, EVENTS, CATEGORIES)
