"""Appointments: as calendars hold them, and what follows from them."""

# ruff: noqa: A005 - imports are absolute, so the standard library's calendar stays itself

from datetime import timedelta
from typing import Any

from pydantic import AwareDatetime, Field, JsonValue, model_validator

from am_assets.streams.as_sent import with_instants
from am_assets.streams.embedded import EmbeddedText
from am_assets.streams.stream import Row, Stream

YEAR = timedelta(days=365)
FLOW = "calendar_processing"


class CalendarTimes(Row):
    """When an appointment is. An all-day one has dates, a floating one no zone: no instants."""

    start_as_sent: str = Field(min_length=1, description="Its begin: a time, or a date.")
    end_as_sent: str | None = Field(default=None, description="Its end: a time, or a date.")
    start_ts: AwareDatetime | None = Field(
        default=None, description="Its begin; null = a date, or without a zone."
    )
    end_ts: AwareDatetime | None = Field(
        default=None, description="Its end; null = a date, or without a zone."
    )

    @model_validator(mode="before")
    @classmethod
    def _read_times(cls, values: Any) -> Any:
        return with_instants(values, {"start_as_sent": "start_ts", "end_as_sent": "end_ts"})


class CalendarEvent(CalendarTimes):
    """One appointment, as the calendar held it when it was fetched."""

    event_uid: str = Field(min_length=1, description="The calendar's own id of it.")
    calendar_id: str | None = Field(default=None, description="Which calendar.")
    title: str | None = Field(default=None, description="Its name.")
    description: str | None = Field(default=None, description="Its text.")
    location: str | None = Field(default=None, description="Where, as written.")
    latitude: float | None = Field(default=None, ge=-90, le=90, description="WGS 84, of location.")
    longitude: float | None = Field(
        default=None, ge=-180, le=180, description="WGS 84, of location."
    )
    is_all_day: bool | None = Field(default=None, description="Whether it has no time of day.")
    recurring_rule: str | None = Field(default=None, description="RRULE of RFC 5545.")
    organizer: str | None = Field(default=None, description="Who invites.")
    attendees: list[JsonValue] | None = Field(
        default=None, description="As sent: addresses, or objects with name, address, status."
    )
    status: str | None = Field(default=None, description="confirmed, tentative, cancelled.")
    visibility: str | None = Field(default=None, description="As the calendar says.")
    reminders: list[dict[str, Any]] | None = Field(default=None, description="As sent.")
    conference_data: dict[str, Any] | None = Field(default=None, description="As sent.")
    color_id: str | None = Field(default=None, description="As the calendar names it.")
    last_modified_as_sent: str | None = Field(default=None, description="Of the entry, as sent.")


class CalendarSource(Row):
    """One entry of a calendar as it was transferred (RFC 5545)."""

    icalendar: str = Field(min_length=1, description="The whole source, BEGIN:VCALENDAR first.")
    event_uid: str | None = Field(default=None, description="The calendar's own id of it.")
    calendar_id: str = Field(min_length=1, description="Which calendar.")
    etag: str | None = Field(default=None, description="Of this version, as the server says.")


class CalendarAppointment(Row):
    """What can be told of an appointment by rules."""

    event_uid: str = Field(min_length=1, description="The calendar's own id of it.")
    attendee_count: int = Field(ge=0, description="Other people who are invited.")
    meeting_type: str = Field(description="one_to_one, team, external or none.")
    duration_category: str = Field(description="short, medium, long or all_day.")
    time_of_day: str | None = Field(default=None, description="Local; null = an all-day one.")
    is_recurring: bool = Field(description="Whether it comes again.")


CALENDAR_EVENTS = Stream(
    name="external.calendar.events.raw",
    row=CalendarEvent,
    summary="Appointments, one row whenever one is new or changed.",
    identity=(
        "event_uid",
        "start_as_sent",
        "end_as_sent",
        "title",
        "location",
        "status",
        "last_modified_as_sent",
    ),
    is_resent_with_new_time=True,
    kind="appointment",
    title="{title}",
    body="{description}",
    example={
        "uid": "8d1f-4a@calendar.example.org",
        "source_calendar": "private",
        "summary": "Baking class",
        "description": "Bring your own starter.",
        "location": "Mill Lane 4",
        "start_time": "2026-03-07T10:00:00+01:00",
        "end_time": "2026-03-07T12:00:00+01:00",
        "organizer": "mill@example.org",
        "attendees": ["me@example.org", {"name": "Jane", "address": "jane@example.org"}],
        "status": "confirmed",
    },
    aliases={
        "uid": "event_uid",
        "event_id": "event_uid",
        "source_calendar": "calendar_id",
        "summary": "title",
        "start_time": "start_as_sent",
        "end_time": "end_as_sent",
        "all_day": "is_all_day",
        "organizer_email": "organizer",
        "last_modified": "last_modified_as_sent",
    },
    sent_by="calendar fetcher",
    keep_hot=YEAR,
)

CALENDAR_SOURCE = Stream(
    name="external.calendar.raw",
    row=CalendarSource,
    summary="Appointments as they were transferred, alarms and zones and all.",
    identity=("calendar_id", "icalendar", "etag"),
    is_resent_with_new_time=True,
    kind="appointment",
    title="Entry of {calendar_id}",
    is_detail=True,
    example={
        "icalendar": "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:8d1f-4a@calendar.example.org\r\n"
        "SUMMARY:Baking class\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
        "uid": "8d1f-4a@calendar.example.org",
        "source_calendar": "private",
        "etag": '"7"',
    },
    aliases={"uid": "event_uid", "source_calendar": "calendar_id"},
    sent_by="calendar fetcher",
    keep_hot=YEAR,
)

CALENDAR_ENRICHED = Stream(
    name="external.calendar.enriched",
    row=CalendarAppointment,
    summary="What kind of appointments those are.",
    identity=("event_uid",),
    is_derived=True,
    planned=FLOW,
    is_detail=True,
    kind="appointment",
    title="{meeting_type}, {duration_category}",
    keep_hot=YEAR,
)

CALENDAR_EMBEDDED = Stream(
    name="external.calendar.embedded",
    row=EmbeddedText,
    summary="Which appointments can be found by meaning.",
    identity=("text_length",),
    is_derived=True,
    planned=FLOW,
    is_detail=True,
    kind="embedding",
    title="{chunk_count} moments",
    keep_hot=YEAR,
)

STREAMS = (CALENDAR_EVENTS, CALENDAR_SOURCE, CALENDAR_ENRICHED, CALENDAR_EMBEDDED)
