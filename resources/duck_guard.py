"""What a question to DuckDB may be: one SELECT over the catalogs, by functions that only compute.

DuckDB has no rights of its own: whoever may ask, may ask anything. So the question is parsed before
it is run, by DuckDB's own parser, and every part of it has to be one that is known here to be
harmless. What this lets through is then run by the same parser: there is no second reading.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from duckdb import DuckDBPyConnection

from resources.duck_functions import OPERATORS, SCALARS, TABLES

EXPLAIN = re.compile(r"^\s*explain\s+(analyze\s+)?", re.IGNORECASE)
NAME = re.compile(r"^\w+$")
QUESTIONS = "SELECT, FROM, WITH, VALUES, PIVOT with IN, DESCRIBE, SHOW, SUMMARIZE, EXPLAIN"
CATALOGS = {"hot": {"am"}, "lake": {"am"}, "whole": {"am"}, "vectors": {"am"}}
LISTS = {'"tables"', "__show_tables_expanded", '"databases"'}  # what SHOW may show
HARMLESS_NODES = frozenset(
    """
    SELECT_NODE SET_OPERATION_NODE CTE_NODE RECURSIVE_CTE_NODE
    EMPTY SUBQUERY JOIN EXPRESSION_LIST PIVOT
    ORDER_MODIFIER LIMIT_MODIFIER LIMIT_PERCENT_MODIFIER DISTINCT_MODIFIER
    ORDER_DEFAULT ASCENDING DESCENDING
    """.split()  # noqa: SIM905 - as a list it would take twenty lines
)
HARMLESS_CLASSES = frozenset(
    """
    BETWEEN CASE CAST COLLATE COLUMN_REF COMPARISON CONJUNCTION CONSTANT DEFAULT FUNCTION LAMBDA
    LAMBDA_REF OPERATOR PARAMETER POSITIONAL_REFERENCE STAR SUBQUERY TYPE WINDOW
    """.split()  # noqa: SIM905 - see above
)


class ForbiddenError(Exception):
    """A question that is not answered; says which part of it and what is."""


@dataclass(frozen=True)
class Allowed:
    """What a guard lets through besides what it always does: catalogs that are attached, macros."""

    catalogs: frozenset[str] = frozenset()
    scalars: frozenset[str] = frozenset()
    tables: frozenset[str] = frozenset()


def check(connection: DuckDBPyConnection, text: str, allowed: Allowed) -> None:
    """Raises: ForbiddenError, and what DuckDB raises for text that is no SQL."""
    if len(connection.extract_statements(text)) != 1:
        raise ForbiddenError("give one statement")
    explained = EXPLAIN.sub("", text, count=1)
    tree = _tree(connection, explained)
    names = set(_common_tables(tree))
    for node in _nodes(tree):
        _check_node(node, names, allowed)


def _tree(connection: DuckDBPyConnection, text: str) -> Any:
    row = connection.execute("SELECT json_serialize_sql(?)", [text]).fetchone()
    assert row is not None
    found = json.loads(row[0])
    if not found["error"]:
        (statement,) = found["statements"]
        return statement["node"]
    if found["error_type"] == "parser":
        raise ForbiddenError(found["error_message"])
    raise ForbiddenError(f"only questions are answered: {QUESTIONS}")


def _nodes(part: Any) -> Iterator[dict[str, Any]]:
    """All objects of the tree."""
    waiting = [part]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)


def _common_tables(tree: Any) -> Iterator[str]:
    """The names that the question gives to its own parts."""
    for node in _nodes(tree):
        for entry in (node.get("cte_map") or {}).get("map", ()):
            yield entry["key"].lower()
        if str(node.get("type")) in {"CTE_NODE", "RECURSIVE_CTE_NODE"}:
            yield (node.get("cte_name") or node.get("ctename") or "").lower()


def _check_node(node: dict[str, Any], names: set[str], allowed: Allowed) -> None:
    kind = node.get("type")
    if "function_name" in node:
        _check_function(node, allowed)
    if kind == "BASE_TABLE":
        _check_table(node, names, allowed)
    elif kind == "TABLE_FUNCTION":
        _check_table_function(node, allowed)
    elif kind == "SHOW_REF":
        _check_show(node)
    elif isinstance(kind, str) and not _is_harmless(node, kind):
        raise ForbiddenError(f"this part of SQL is not answered here: {kind}")


def _is_harmless(node: dict[str, Any], kind: str) -> bool:
    if "class" in node:
        return node["class"] in HARMLESS_CLASSES
    return kind in HARMLESS_NODES or kind.endswith("_TYPE_INFO")


def _check_function(node: dict[str, Any], allowed: Allowed) -> None:
    name = str(node["function_name"]).lower()
    # The parser itself puts `main.list_value` for [1, 2].
    is_builtin = node.get("schema") in {"", "main"} and node.get("catalog") in {"", "system"}
    # A function in the place of a table is looked at there.
    known = SCALARS | OPERATORS | TABLES | allowed.scalars | allowed.tables
    if not is_builtin or name not in known:
        raise ForbiddenError(f"the function {name} may not be used in a question")


def _check_table_function(node: dict[str, Any], allowed: Allowed) -> None:
    name = str(node["function"].get("function_name", "")).lower()
    if name not in TABLES | allowed.tables:
        raise ForbiddenError(f"the table function {name} may not be used in a question")


def _check_table(node: dict[str, Any], names: set[str], allowed: Allowed) -> None:
    catalog, schema, table = (
        str(node[part] or "").lower() for part in ("catalog_name", "schema_name", "table_name")
    )
    if not NAME.match(table):
        raise ForbiddenError(f"there is no table called {table!r}; files are not read")
    if not schema and not catalog and table in names:
        return
    if catalog in allowed.catalogs or (not catalog and schema in allowed.catalogs):
        return
    if schema not in {"", "am"} or catalog not in {"", *CATALOGS}:
        place = ".".join(part for part in (catalog, schema) if part)
        raise ForbiddenError(f"there is no {place}: tables are in {', '.join(CATALOGS)}, all in am")


def _check_show(node: dict[str, Any]) -> None:
    if node.get("query") is None and node.get("table_name") not in LISTS:
        raise ForbiddenError("SHOW answers TABLES and ALL TABLES; DESCRIBE tells of one table")
