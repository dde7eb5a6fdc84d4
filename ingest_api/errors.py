"""Why a request or an element is not taken.

IngestError                 a whole request; carries the HTTP status
├── MalformedBodyError      400  not JSON, cut off, wrongly compressed
├── UnauthorizedError       401  no token, or one that is unknown or revoked
├── ForbiddenError          403  a token without the scope
├── NotFoundError           404  nothing by that name
├── SlowBodyError           408  the body did not come in time
├── ConflictError           409  not in this state of things
├── GoneError               410  it was there, and was removed
├── TooLargeError           413  more bytes than allowed
├── MismatchError           422  the bytes are not those that their SHA-256 names
├── DamagedError            500  the bytes that are stored are not those that came
├── TooManyRequestsError    429  this token asks for more than its share
└── UnavailableError        503  AM can't write now; nothing was stored
    ├── BusyError           503  as many requests as AM takes at once are being worked on
    └── InDoubtError        504  the database went away in the middle of the commit

RejectedError               one element; it becomes a dead letter, its neighbours are stored
└── NamedBlobError          it names a blob that the sender has not stored
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


class SlowBodyError(IngestError):
    """The client sends its body too slowly, or has stopped."""

    status = 408


class ConflictError(IngestError):
    """What is asked for can't be done in the state that things are in."""

    status = 409


class GoneError(IngestError):
    """What is asked for was removed; the message says when and why."""

    status = 410


class MismatchError(IngestError):
    """The bytes that came are not those that were announced; nothing was stored."""

    status = 422


class DamagedError(IngestError):
    """What is asked for is stored, but was damaged or changed there; nothing of it is given."""

    status = 500


class TooManyRequestsError(IngestError):
    """The token has used up its share; `retry_after_s` seconds later it has some again."""

    status = 429

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        """Keep both."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TooLargeError(IngestError):
    """The body is larger than the setting allows."""

    status = 413


class UnavailableError(IngestError):
    """A store does not take data at the moment; sending again later is safe."""

    status = 503


class BusyError(UnavailableError):
    """AM works on as many requests as it takes at once."""


class InDoubtError(UnavailableError):
    """Nobody can tell yet whether this was stored; sending it again is safe and tells."""

    status = 504


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


class NamedBlobError(RejectedError):
    """An element that names a blob which is not at hand; `sha256` is its name."""

    def __init__(self, sha256: str) -> None:
        """Keep the name."""
        super().__init__(
            Reason.NO_BLOB,
            f"there is no blob {sha256}: store it first (PUT /v1/blobs/{{sha256}}), "
            "then send this message again",
        )
        self.sha256 = sha256
