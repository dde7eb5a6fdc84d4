"""The master key of the test stack, for programs that are started with `AM_…` variables."""

from resources.connections import Connections
from resources.master_keys import FileMasterKey


def master_key_file(connections: Connections) -> str:
    """What `AM_MASTER_KEY_FILE` has to be for a program that works on these stores."""
    assert isinstance(connections.master_key, FileMasterKey)
    return str(connections.master_key.path)
