"""What every model has: its name, and a version that changes when its weights do."""

import hashlib
from importlib import metadata
from pathlib import Path
from typing import Protocol

VERSION_DIGITS = 12  # hex digits of a SHA-256: enough to tell weights apart, short in a row


class Model(Protocol):
    """Identity of a loaded model, as derived rows record it."""

    @property
    def model_id(self) -> str:
        """Name in the catalog, such as `whisper-base`."""
        ...

    @property
    def model_version(self) -> str:
        """First hex digits of the weights' SHA-256, or the version of the package they are in."""
        ...


def file_version(path: Path) -> str:
    """First hex digits of the SHA-256 of a weight file.

    Raises: OSError when the file can't be read.
    """
    with path.open("rb") as weights:
        return hashlib.file_digest(weights, "sha256").hexdigest()[:VERSION_DIGITS]


def package_version(package: str) -> str:
    """`package-1.2.3` of an installed package that carries its weights.

    Raises: importlib.metadata.PackageNotFoundError.
    """
    return f"{package}-{metadata.version(package)}"
