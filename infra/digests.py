"""By what a file is known to be the one that was meant."""

import hashlib
from pathlib import Path


def file_sha256(path: Path) -> str:
    """Of the whole file, in hexadecimal. Raises: OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
