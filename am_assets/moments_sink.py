"""Storing moments: each with the place and the app of its time, replaced by source row.

The vector store is no part of a database transaction; it is written first, and writing it again
changes nothing, so that an item whose worker dies in between is simply done again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import groupby
from typing import Any

import pyarrow as pa
from psycopg import sql
from psycopg.rows import class_row

from am_assets.derived.enrichment import Derived, Found, Item
from am_assets.derived.moments import MomentText
from am_assets.schemas.moments import moment_id, moment_schema
from am_assets.streams.os_events import APP_LIFECYCLE
from am_assets.streams.position import GPS_FIX
from am_assets.streams.registry import Registry
from resources.hot import Span
from resources.places import name_places
from resources.vectors import VectorStore
from resources.whole import WholeStore
from resources.work import Claimed

NEAR = timedelta(minutes=15)  # a fix further away in time says nothing of the place
APP_STAYS = timedelta(hours=12)  # longer in front without a word means that nobody was there

FIX = ("user_id", "device_id", "ts", "latitude", "longitude")
APP = ("user_id", "device_id", "ts", "event_id", "event_type", "app_name", "app_identifier")
# The nearest fix of any of the user's devices: the laptop has none of its own. The last word of the
# device on its apps, if that is that one came to the front.
CONTEXT = """
SELECT fix.latitude, fix.longitude, app.app
FROM unnest(%(users)s::text[], %(devices)s::text[], %(times)s::timestamptz[])
    WITH ORDINALITY AS moment (user_id, device_id, ts, place)
LEFT JOIN LATERAL (
    SELECT latitude, longitude FROM {fixes} AS g
    WHERE g.user_id = moment.user_id
        AND g.ts BETWEEN moment.ts - %(near)s::interval AND moment.ts + %(near)s::interval
    ORDER BY abs(extract(epoch FROM g.ts - moment.ts)), g.ts, g.device_id LIMIT 1
) AS fix ON true
LEFT JOIN LATERAL (
    SELECT CASE WHEN a.event_type IN ('launch', 'foreground')
        THEN coalesce(a.app_name, a.app_identifier) END AS app
    FROM {apps} AS a
    WHERE a.user_id = moment.user_id AND a.device_id = moment.device_id
        AND a.ts BETWEEN moment.ts - %(stays)s::interval AND moment.ts
    ORDER BY a.ts DESC, a.event_id LIMIT 1
) AS app ON true
ORDER BY moment.place
"""


@dataclass(frozen=True)
class Made:
    """What one item gave. `item` is None, and so there are no rows, where its source is gone."""

    claimed: Claimed
    item: Item | None
    found: Found | None


@dataclass(frozen=True)
class Context:
    """Where the user was and what was in front of them; null = not known."""

    latitude: float | None
    longitude: float | None
    app: str | None
    place: str | None = None


@dataclass(frozen=True)
class MomentSink:
    """Where the moments of one embedder go."""

    store: VectorStore
    dimension: int
    whole: WholeStore
    registry: Registry

    def replace(self, made: Sequence[Made], *, version: int, run_id: str) -> None:
        """Make these moments all that is stored of these items.

        Raises: psycopg.Error, resources.vectors.VectorStoreError.
        """
        rows = self._rows([one for one in made if one.item and one.found], version, run_id)
        for (user_id, source), group in groupby(sorted(made, key=_owner), key=_owner):
            ids = {str(one.claimed.item_id) for one in group}
            mine = [
                row for row in rows if (row["user_id"], row["source_stream"]) == (user_id, source)
            ]
            table = pa.Table.from_pylist(mine, moment_schema(self.dimension))
            self.store.replace(sorted(ids), table, user_id=user_id, source_stream=source)

    def _rows(self, made: Sequence[Made], version: int, run_id: str) -> list[dict[str, Any]]:
        contexts = self._contexts([one.claimed for one in made])
        run = {"enrichment_version": version, "run_id": run_id}
        return [
            {**self._facts(one.item, context), **_chunk(one.item, row, one.found), **run}
            for one, context in zip(made, contexts, strict=True)
            if one.item and one.found
            for row in one.found.rows
        ]

    def _facts(self, item: Item, context: Context) -> dict[str, Any]:
        """What all chunks of an item have in common."""
        lasted = item.row.get("duration_ms")
        return {
            "user_id": item.user_id,
            "device_id": item.device_id,
            "ts": item.ts,
            "end_ts": None if lasted is None else item.ts + timedelta(milliseconds=lasted),
            "kind": self.registry[item.stream].kind,
            "source_stream": item.stream,
            "source_event_id": str(item.item_id),
            "blob_key": item.blob_key,
            "latitude": context.latitude,
            "longitude": context.longitude,
            "place": context.place,
            "app": item.row.get("source_app") or context.app,
        }

    def _contexts(self, claimed: Sequence[Claimed]) -> list[Context]:
        if not claimed:
            return []
        times = [item.ts for item in claimed]
        values = {
            "users": [item.user_id for item in claimed],
            "devices": [item.device_id for item in claimed],
            "times": times,
            "near": NEAR,
            "stays": APP_STAYS,
        }
        moment = timedelta(microseconds=1)
        near = Span(min(times) - NEAR, max(times) + NEAR + moment)
        before = Span(min(times) - APP_STAYS, max(times) + moment)
        with self.whole.snapshot() as snapshot:
            fixes = snapshot.source(GPS_FIX, near, names=FIX)
            apps = snapshot.source(APP_LIFECYCLE, before, names=APP)
            query = sql.SQL(CONTEXT).format(fixes=fixes.text, apps=apps.text)
            cursor = snapshot.connection.cursor(row_factory=class_row(Context))
            cursor.execute(query, {**values, **fixes.values, **apps.values})
            return with_places(cursor.fetchall())


def with_places(contexts: Sequence[Context]) -> list[Context]:
    """The same, with the names of the places where the coordinates are known."""
    points = {
        (one.latitude, one.longitude): None
        for one in contexts
        if one.latitude is not None and one.longitude is not None
    }
    named = dict(zip(points, name_places(list(points)), strict=True)) if points else {}
    places = [named.get((c.latitude or 0.0, c.longitude or 0.0)) for c in contexts]
    return [
        replace(one, place=place.label) if place and one.latitude is not None else one
        for one, place in zip(contexts, places, strict=True)
    ]


def _chunk(item: Item, row: Derived, found: Found) -> dict[str, Any]:
    assert isinstance(row.values, MomentText)
    return {
        "moment_id": moment_id(item.stream, item.item_id, row.values.chunk_index),
        "text": row.values.text,
        "chunk_index": row.values.chunk_index,
        "vector": row.values.vector,
        "model_id": found.maker.model_id,
        "model_version": found.maker.model_version,
    }


def _owner(made: Made) -> tuple[str, str]:
    return made.claimed.user_id, made.claimed.source_stream
