"""What may go wrong in any verb of `am` and is no fault of the program, in words for a person."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic_core import ValidationError

OWN = frozenset({"am_assets", "collectors", "infra", "ingest_api", "models", "resources"})
SETTINGS = "All settings are told of in ingest_api/settings.py."
NOT_WELL = "Look with `am status`, and bring back what is not ready with `am up --detach`."


def words_for(error: Exception) -> str | None:
    """What to tell; None for what nobody expects, of which the traceback is wanted.

    AM's own errors say what to do. Others are those of the stores, of settings and of files.
    """
    import psycopg  # noqa: PLC0415 - this is imported where something went wrong, and needed then
    from deltalake.exceptions import DeltaError  # noqa: PLC0415
    from minio.error import MinioException  # noqa: PLC0415
    from pydantic_core import ValidationError  # noqa: PLC0415
    from pydantic_settings import SettingsError  # noqa: PLC0415
    from urllib3.exceptions import HTTPError  # noqa: PLC0415

    if type(error).__module__.partition(".")[0] in OWN:
        return str(error)
    if isinstance(error, ValidationError) and error.title == "Settings":
        return "\n".join(_settings(error))
    if isinstance(error, SettingsError):
        named = re.search(r'field "(\w+)"', str(error))
        return f"AM_{named[1].upper() if named else '…'} is to be JSON. {SETTINGS}"
    if isinstance(error, psycopg.OperationalError):
        return f"The database does not answer: {_line(error)}. {NOT_WELL}"
    if isinstance(error, HTTPError | MinioException | DeltaError):
        return f"The object store does not answer as it should: {_line(error)}. {NOT_WELL}"
    # A broken pipe is no news: whoever read has gone.
    is_told = isinstance(error, OSError) and not isinstance(error, BrokenPipeError)
    return _line(error) if is_told else None


def _settings(error: "ValidationError") -> Iterator[str]:
    for fault in error.errors(include_url=False, include_input=False):
        name = "_".join(map(str, fault["loc"])).upper()
        yield f"AM_{name}: {fault['msg']}. {SETTINGS}"


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
