"""What the owner does with AM's own notifications."""

from datetime import timedelta
from typing import Any

from pydantic import Field

from am_assets.streams.stream import Row, Stream


class NudgeResponse(Row):
    """A notification of AM was delivered, read, dismissed or answered."""

    notification_id: int = Field(description="As AM numbered it.")
    response_type: str = Field(
        min_length=1, description="delivered, read, dismissed, clicked, button_click, text_reply."
    )
    action_id: str | None = Field(default=None, description="The button that was pressed.")
    action_data: dict[str, Any] | None = Field(default=None, description="As sent.")
    text_response: str | None = Field(default=None, description="What was written back.")


NUDGE_RESPONSE = Stream(
    name="device.notification.response.raw",
    row=NudgeResponse,
    summary="What became of AM's own notifications on a device.",
    identity=("notification_id", "response_type", "action_id", "text_response"),
    kind="nudge response",
    title="Notification {notification_id}: {response_type}",
    body="{text_response}",
    is_detail=True,
    example={
        "notification_id": 17,
        "response_type": "text_reply",
        "action_id": "reply",
        "text_input": "later",
    },
    aliases={
        "text_input": "text_response",
        "actionData": "action_data",
        "response_data": "action_data",
    },
    sent_by="phone",
    keep_hot=timedelta(days=30),
)

STREAMS = (NUDGE_RESPONSE,)
