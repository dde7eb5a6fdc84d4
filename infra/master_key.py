"""The master key's file of a home: made once, renewed on request, never made where one is lost."""

from infra.errors import HomeError
from infra.home import write_private
from ingest_api.settings import Settings
from resources.keys import KeyRing, KeyRingError
from resources.master_keys import FileMasterKey, MasterKeyError, new_master_key


def ensure_master_key(settings: Settings) -> None:
    """Make the file at a home's first start; elsewhere (a variable, a service) nothing is made.

    Raises: HomeError where keys in the database were wrapped by one that is gone.
    """
    try:
        master = settings.master()
        if not isinstance(master, FileMasterKey) or master.path.exists():
            return
        is_needed = any(line.wrapped for line in KeyRing(settings.connections()).lines())
    except (KeyRingError, MasterKeyError) as cause:
        raise HomeError(f"The keys of blobs: {cause}") from cause
    if is_needed:
        raise HomeError(
            f"{master.path} is missing, and without it nobody can read the blobs there are: "
            "restore it from a backup, or set AM_MASTER_KEY or AM_MASTER_KEY_FILE."
        )
    write_private(master.path, new_master_key() + "\n")


def renew(master: FileMasterKey) -> None:
    """Put a new key in place; the earlier one stays beside it and opens what it has wrapped."""
    before = master.newest()
    aside = master.aside(before.master_id)
    if not aside.exists():
        write_private(aside, master.path.read_text())
    write_private(master.path, new_master_key() + "\n")
