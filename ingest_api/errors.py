"""Why a request or an element is not taken.

IngestError                 a whole request; carries the HTTP status
├── MalformedBodyError      400  not JSON, cut off, wrongly compressed
├── UnauthorizedError       401  no token, or one that is unknown or revoked
├── ForbiddenError          403  a token without the scope
├── NotFoundError           404  nothing by that name
├── TooLargeError           413  more bytes than allowed
└── UnavailableError        503  AM can't write now; nothing was stored

RejectedError               one element; it becomes a dead letter, its neighbours are stored
"""

from enum import StrEnum


class IngestError(Exception):
    """A request that is not taken, with the status to answer."""

    status = 400


class MalformedBodyError(IngestError):
    """The body can't be read as what it claims to be."""


class UnauthorizedError(IngestError):
    """Nobody is known by this token."""

    status = 401


class ForbiddenError(IngestError):
    """This token may not do that."""

    status = 403


class NotFoundError(IngestError):
    """There is nothing by that name."""

    status = 404


class TooLargeError(IngestError):
    """The body is larger than the setting allows."""

    status = 413


class UnavailableError(IngestError):
    """A store does not take data at the moment; sending again later is safe."""

    status = 503


class Reason(StrEnum):
    """Why an element became a dead letter."""

    NOT_AN_OBJECT = "not_an_object"
    NOT_JSON = "not_json"
    NO_DEVICE = "no_device"
    WRONG_DEVICE = "wrong_device"
    NO_TIME = "no_time"
    BAD_TIME = "bad_time"
    FUTURE_TIME = "future_time"
    BAD_VALUE = "bad_value"
    BAD_TEXT = "bad_text"
    NO_BLOB = "no_blob"
    BAD_BLOB = "bad_blob"
    EMPTY_BLOB = "empty_blob"
    UNKNOWN_TYPE = "unknown_type"
    REFUSED = "refused_by_database"


class RejectedError(Exception):
    """An element that can't become a row: a code to count by and a sentence to act on."""

    def __init__(self, code: Reason, message: str) -> None:
        """Keep both."""
        super().__init__(message)
        self.code = code
