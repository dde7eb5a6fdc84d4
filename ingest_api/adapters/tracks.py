"""Tracks as files: GPX and GPSLogger's CSV, cut into the fields of one point each."""

import csv
import io
from collections.abc import Iterator
from xml.etree.ElementTree import Element, ParseError  # defusedxml parses # nosec B405

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from ingest_api.adapters.text import text_of
from ingest_api.errors import Reason, RejectedError

CSV_BEGIN = b"time,lat,lon"
POINTS = ("trkpt", "wpt", "rtept")
BOM = b"\xef\xbb\xbf"


def is_track(content: bytes) -> bool:
    """Whether the bytes begin as one of the two formats does."""
    begin = content.removeprefix(BOM).lstrip()[:64]
    return begin.startswith((b"<?xml", b"<gpx")) or begin.lower().startswith(CSV_BEGIN)


def points_of(content: bytes) -> list[dict[str, str]]:
    """The fields of each point, as text and without those that are blank.

    Raises: RejectedError for a file that is neither, or is cut off.
    """
    if content.removeprefix(BOM).lstrip().startswith(b"<"):
        return list(_gpx(content))
    if not is_track(content):
        raise RejectedError(Reason.BAD_VALUE, "this file is neither GPX nor GPSLogger's CSV")
    rows = csv.DictReader(io.StringIO(text_of(content.removeprefix(BOM))))
    return [
        {name: value for name, value in row.items() if isinstance(value, str) and value}
        for row in rows
    ]


def _gpx(content: bytes) -> Iterator[dict[str, str]]:
    try:
        root: Element = fromstring(content)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise RejectedError(Reason.BAD_VALUE, f"this is no GPX file: {error}") from error
    for node in root.iter():
        if _name(node) in POINTS:
            yield {**node.attrib, **_leaves(node)}


def _leaves(node: Element) -> dict[str, str]:
    """The text of each element in a point, its extensions' too, by the name without namespace."""
    return {
        _name(part): part.text.strip()
        for part in node.iter()
        if part is not node and part.text and part.text.strip()
    }


def _name(node: Element) -> str:
    return str(node.tag).rpartition("}")[2]
