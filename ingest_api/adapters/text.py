"""Text of apps that do not say in which encoding it is: none of its bytes is lost."""

from urllib.parse import parse_qsl

BETWEEN = ";"  # of the values of a field that came more than once


def text_of(content: bytes) -> str:
    """UTF-8 where it is that, else Latin-1: each byte has a character there."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")


def fields_of(encoded: bytes) -> dict[str, str]:
    """The fields of a URL-encoded query or form; different values of one name stand together."""
    found: dict[str, list[str]] = {}
    text = encoded.decode("utf-8", "surrogateescape")
    for name, value in parse_qsl(text, keep_blank_values=True, errors="surrogateescape"):
        values = found.setdefault(_read(name), [])
        if _read(value) not in values:
            values.append(_read(value))
    return {name: BETWEEN.join(values) for name, values in found.items()}


def _read(escaped: str) -> str:
    return text_of(escaped.encode("utf-8", "surrogateescape"))
