"""Whether a published day is what the registry says: columns, nulls, ranges, and that day only."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from types import NoneType
from typing import Any, Literal, cast, get_args, get_origin

import annotated_types as at
import pyarrow as pa
import pyarrow.compute as pc
from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetChecksDefinition,
    MetadataValue,
    asset_check,
)
from pydantic import StringConstraints

from am_assets.derived.asset import key_of
from am_assets.partitions import partition_day
from am_assets.process import Tools
from am_assets.schemas.arrow import delta_schema
from am_assets.schemas.columns import columns
from am_assets.streams.stream import Stream
from resources.hot import Span

NAME = "contract"


@dataclass(frozen=True)
class Rule:
    """What the values of a column have to be: a name for people, and the test. Null passes."""

    column: str
    text: str
    holds: pc.Expression


def schema_faults(stored: pa.Schema, stream: Stream) -> list[str]:
    """Columns that are missing or of another type. Columns beyond the registry's are no fault."""
    faults = []
    for field in delta_schema(stream):
        if field.name not in stored.names:
            faults.append(f"{field.name} is missing")
        elif stored.field(field.name).type != field.type:
            found = stored.field(field.name).type
            faults.append(f"{field.name} is {found}, not {field.type}")
    return faults


def rules_of(stream: Stream, day: date) -> list[Rule]:
    """All rules of a stream's day: required columns, the fields' own limits, times of that day."""
    span = Span.of_day(day)
    ts, instant = pc.field("ts"), pa.timestamp("us", tz="UTC")
    begin, end = pa.scalar(span.begin, instant), pa.scalar(span.end, instant)
    return [
        Rule("ts", f"on {day}", (ts >= begin) & (ts < end)),
        *(_required(column.name) for column in columns(stream) if not column.is_nullable),
        *(rule for name in stream.columns for rule in _limits(stream, name)),
    ]


def count_violations(batch: pa.RecordBatch, rules: list[Rule]) -> Counter[str]:
    """How many rows break each rule that is broken."""
    table = pa.Table.from_batches([batch])
    broken = {
        f"{rule.column}: {rule.text}": table.filter(~rule.holds).num_rows
        for rule in rules
        if rule.column in table.column_names
    }
    return Counter({name: count for name, count in broken.items() if count})


def contract_check(stream: Stream) -> AssetChecksDefinition:
    """The check of one stream's days. What it finds stops what follows in the same run."""

    @asset_check(
        asset=key_of(stream),
        name=NAME,
        description="The published day has the registry's columns, and values within its limits.",
        blocking=True,
        required_resource_keys={"tools"},
    )
    def contract(context: AssetCheckExecutionContext) -> AssetCheckResult:
        tools: Tools = context.resources.tools
        return check_day(tools, stream, partition_day(context))

    return contract


def check_day(tools: Tools, stream: Stream, day: date) -> AssetCheckResult:
    """Look at every row of the day as published."""
    stored = tools.lake.stored_schema(stream)
    faults = ["there is no table"] if stored is None else schema_faults(stored, stream)
    rules = rules_of(stream, day)
    violations: Counter[str] = Counter()
    for batch in tools.lake.batches(stream, day):
        violations += count_violations(batch, rules)
    told = {**dict.fromkeys(faults, 1), **violations}
    return AssetCheckResult(
        passed=not told,
        metadata={"violations": MetadataValue.json(told), "rules": len(rules)},
    )


def _required(name: str) -> Rule:
    holds = cast("pc.Expression", pc.field(name).is_valid())  # the stubs say bool
    return Rule(name, "not null", holds)


def _limits(stream: Stream, name: str) -> Iterator[Rule]:
    info = stream.row.model_fields[name]
    column = pc.field(name)
    for limit in info.metadata:
        for text, holds in _tests(limit, column):
            yield Rule(name, text, column.is_null() | holds)
    if choices := _choices(info.annotation):
        yield Rule(name, f"one of {', '.join(choices)}", column.is_null() | column.isin(choices))


def _tests(limit: Any, column: pc.Expression) -> Iterator[tuple[str, pc.Expression]]:
    match limit:
        case at.Ge(ge=bound):
            yield f"≥ {bound}", column >= bound
        case at.Gt(gt=bound):
            yield f"> {bound}", column > bound
        case at.Le(le=bound):
            yield f"≤ {bound}", column <= bound
        case at.Lt(lt=bound):
            yield f"< {bound}", column < bound
        case at.MinLen(min_length=length) | StringConstraints(min_length=int(length)):
            yield f"at least {length} long", pc.utf8_length(column) >= length


def _choices(annotation: Any) -> list[str]:
    """The values of a Literal, or of one that may be null."""
    options = [part for part in get_args(annotation) if part is not NoneType]
    if get_origin(annotation) is Literal:
        return [str(option) for option in options]
    return _choices(options[0]) if len(options) == 1 and get_args(options[0]) else []
