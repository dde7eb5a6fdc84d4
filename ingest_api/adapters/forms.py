"""Multipart bodies: the fields and the files in them."""

import io

from python_multipart import parse_form
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File

from ingest_api.adapters.adapter import AppRequest
from ingest_api.adapters.text import text_of
from ingest_api.errors import MalformedBodyError


def form_and_files(request: AppRequest) -> tuple[dict[str, str], list[tuple[str, bytes]]]:
    """Fields by name, and name and content of each file.

    Raises: MalformedBodyError.
    """
    fields: dict[str, str] = {}
    files: list[tuple[str, bytes]] = []

    def keep_field(field: Field) -> None:
        fields[_text(field.field_name)] = _text(field.value)

    def keep_file(file: File) -> None:
        file.file_object.seek(0)
        files.append((_text(file.file_name), file.file_object.read()))
        file.close()

    headers = {"Content-Type": request.headers.get("content-type", "").encode()}
    try:
        parse_form(headers, io.BytesIO(request.body), keep_field, keep_file)
    except (FormParserError, ValueError) as error:
        raise MalformedBodyError(f"the multipart body is broken: {error}") from error
    if not fields and not files:
        raise MalformedBodyError("the multipart body holds nothing, or is cut off")
    return fields, files


def _text(value: bytes | None) -> str:
    return text_of(value or b"")
