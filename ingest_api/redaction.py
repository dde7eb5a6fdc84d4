"""What never gets into a log: tokens, passwords, and whatever clients put into a query."""

import logging
import re

HIDDEN = "…"
PATTERNS = (
    (re.compile(r"am_[A-Za-z0-9_-]{32,}"), f"am_{HIDDEN}"),
    (re.compile(r"(?<=\S)\?[^\s\"'<>]*=[^\s\"'<>]*"), f"?{HIDDEN}"),
    (re.compile(r"(?<=://)[^\s/@]+@"), f"{HIDDEN}@"),
    (
        re.compile(
            r"(?i)\b(authorization|x-api-key|cookie|password|secret)\b([\"']?\s*[:=,]\s*[\"']?)"
            r"(?:(?:bearer|basic)\s+)?[^\s,;\"']+"
        ),
        rf"\1\2{HIDDEN}",
    ),
)


def redact(text: str) -> str:
    """The text without tokens, queries, and passwords in URLs and headers. Pure."""
    for pattern, replacement in PATTERNS:
        text = pattern.sub(replacement, text)
    return text


class RedactingFormatter(logging.Formatter):
    """Redacts the whole line, tracebacks too: it is the last to see it."""

    def format(self, record: logging.LogRecord) -> str:
        """The line to write."""
        return redact(super().format(record))
