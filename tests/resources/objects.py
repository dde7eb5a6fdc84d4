"""The object store laid bare, for tests that break what lies in it."""

import io
from dataclasses import dataclass

from minio import Minio

from am_assets.streams.stream import Stream
from resources.connections import Connections
from resources.lake import Lake
from tests.planting import object_store


@dataclass(frozen=True)
class Folder:
    """All objects below a place (`s3://…`), by their paths in it."""

    connections: Connections
    uri: str

    def names(self) -> list[str]:
        """Of all objects, sorted."""
        found = self._client.list_objects(self._bucket, prefix=f"{self._root}/", recursive=True)
        return sorted(str(one.object_name).removeprefix(f"{self._root}/") for one in found)

    def put(self, path: str, content: bytes) -> None:
        """Make this all that is in an object."""
        key = f"{self._root}/{path}"
        self._client.put_object(self._bucket, key, io.BytesIO(content), len(content))

    def get(self, path: str) -> bytes:
        """What is in an object."""
        with self._client.get_object(self._bucket, f"{self._root}/{path}") as answer:
            return bytes(answer.read())

    def remove(self, path: str) -> None:
        """Make an object gone."""
        self._client.remove_object(self._bucket, f"{self._root}/{path}")

    def cut(self, path: str, *, keep: float = 0.5) -> None:
        """Leave only the first part of an object."""
        content = self.get(path)
        self.put(path, content[: int(len(content) * keep)])

    def flip(self, path: str) -> None:
        """Change one byte in the middle of an object."""
        content = bytearray(self.get(path))
        content[len(content) // 2] ^= 0xFF
        self.put(path, bytes(content))

    def flip_rows(self, path: str) -> None:
        """Change the first pages of a Parquet file: in its middle may be what no row is made of."""
        content = bytearray(self.get(path))
        content[4:260] = bytes(byte ^ 0xFF for byte in content[4:260])
        self.put(path, bytes(content))

    @property
    def _client(self) -> Minio:
        return object_store(self.connections)

    @property
    def _bucket(self) -> str:
        return self.uri.removeprefix("s3://").split("/", 1)[0]

    @property
    def _root(self) -> str:
        return self.uri.removeprefix("s3://").split("/", 1)[1].rstrip("/")


def table_objects(lake: Lake, stream: Stream) -> Folder:
    """All that a table of the lake is."""
    return Folder(lake.connections, lake.table_uri(stream))
