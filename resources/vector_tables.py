"""The vector store's tables as Arrow, for questions in SQL: `vectors.am.<table>`, one a model.

Without the vectors themselves: they are for `search`, and make a row a hundred times as large.
"""

from collections.abc import Mapping

import pyarrow as pa

from resources.connections import Connections

VECTOR = "vector"
MOST = 1000  # tables: one a model


def own_tables(connections: Connections, user_id: str | None) -> Mapping[str, pa.Table]:
    """Every table of moments, one user's rows of it (None = everybody's); none = nothing stored."""
    import lancedb  # noqa: PLC0415 (heavy)
    from lancedb.expr import col, lit  # noqa: PLC0415

    database = lancedb.connect(connections.vectors_uri, storage_options=connections.lance_options())
    found = {}
    for name in database.list_tables(limit=MOST).tables:
        try:
            table = database.open_table(name)
        except ValueError as error:
            if "not found" not in str(error):  # LanceDB has no class of its own for this
                raise
            continue  # dropped: the object store may go on listing its folder
        asked = table.search().select([field for field in table.schema.names if field != VECTOR])
        if user_id is not None:
            asked = asked.where(col("user_id") == lit(user_id))
        found[name] = asked.limit(table.count_rows() or 1).to_arrow()
    return found
