"""How much room there is on a disk."""

import shutil
from pathlib import Path


def free_on_disk(path: Path) -> int:
    """Bytes free on the disk that a path is on, or will be once it is made. Raises: OSError."""
    absolute = path.resolve()
    there = next(one for one in (absolute, *absolute.parents) if one.exists())
    return shutil.disk_usage(there).free
