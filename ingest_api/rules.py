"""The rules of a row type, applied to whole columns; they follow from the row's declaration.

A value that passes here is what pydantic would have made of it. One that does not may still be
right by pydantic's wider rules (a number sent as text, say): it is left to them, with its element.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import annotated_types
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic.fields import FieldInfo

from am_assets.schemas.arrow import ARROW_TYPES
from am_assets.schemas.columns import ColumnType
from am_assets.streams.stream import Row, Stream

Mask = np.ndarray[Any, np.dtype[np.bool_]]
Column = Any  # an Arrow array; its stubs are generic, the class itself is not
Limit = tuple[Callable[..., Any], Any]
PLAIN = {
    str: ColumnType.TEXT,
    int: ColumnType.INTEGER,
    float: ColumnType.REAL,
    bool: ColumnType.BOOLEAN,
}
LIMITS: Mapping[type, tuple[str, Callable[..., Any], str]] = {
    annotated_types.Ge: ("value", pc.greater_equal, "ge"),
    annotated_types.Gt: ("value", pc.greater, "gt"),
    annotated_types.Le: ("value", pc.less_equal, "le"),
    annotated_types.Lt: ("value", pc.less, "lt"),
    annotated_types.MinLen: ("length", pc.greater_equal, "min_length"),
    annotated_types.MaxLen: ("length", pc.less_equal, "max_length"),
}
ACCEPTED: Mapping[ColumnType, Callable[[pa.DataType], bool]] = {
    ColumnType.TEXT: lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind),
    ColumnType.INTEGER: pa.types.is_integer,
    ColumnType.REAL: lambda kind: (
        pa.types.is_float32(kind) or pa.types.is_float64(kind) or pa.types.is_integer(kind)
    ),
    ColumnType.BOOLEAN: pa.types.is_boolean,
}


@dataclass(frozen=True)
class ColumnRule:
    """What one column takes: its type, whether it may be absent, its limits."""

    name: str
    type: ColumnType
    is_required: bool
    default: Any
    limits: tuple[Limit, ...]
    lengths: tuple[Limit, ...]

    @property
    def arrow_type(self) -> Any:
        """What the column holds in memory."""
        return ARROW_TYPES[self.type]

    def absent(self, length: int) -> tuple[Column, Mask]:
        """The column where no element has it."""
        filled = pa.repeat(pa.scalar(self.default, self.arrow_type), length)
        return filled, np.full(length, not self.is_required)

    def apply(self, sent: Column) -> tuple[Column, Mask]:
        """The values as they are stored, and which of them are surely right."""
        if pa.types.is_null(sent.type):
            return self.absent(len(sent))
        if not ACCEPTED[self.type](sent.type):
            return pa.nulls(len(sent), self.arrow_type), _bits(sent.is_null(), len(sent), self)
        try:
            array = self._cast(sent)
        except pa.ArrowInvalid:  # an integer of more than 64 bits
            return pa.nulls(len(sent), self.arrow_type), _bits(sent.is_null(), len(sent), self)
        sure = self._passes(array)
        if array.null_count:
            sure = np.where(_mask(array.is_null()), not self.is_required, sure)
            array = pc.fill_null(array, self.default) if self.default is not None else array
        return array, sure

    def _cast(self, sent: Column) -> Column:
        if sent.type == self.arrow_type:
            return sent
        # From integers as Python has it: to the nearest real.
        return sent.cast(self.arrow_type, safe=self.type is not ColumnType.REAL)

    def _passes(self, array: Column) -> Mask:
        sure = np.ones(len(array), dtype=bool)
        if self.type is ColumnType.REAL:  # null is not finite here
            sure &= np.isfinite(array.to_numpy(zero_copy_only=False))
        if self.type is ColumnType.TEXT:
            sure &= without_nul(array)
        for compare, bound in self.limits:
            sure &= _mask(compare(array, bound))
        if self.lengths:
            lengths = pc.utf8_length(array)
            for compare, bound in self.lengths:
                sure &= _mask(compare(lengths, bound))
        return sure


@cache
def rules_of(stream: Stream) -> tuple[ColumnRule, ...] | None:
    """The rules of a stream's columns; None where there is more to its rows than single columns.

    Such are blobs, ids that leave the time out, values that grow, validators of one's own, and
    types that have no plain form.
    """
    row = stream.row
    is_more = stream.blob or stream.is_derived or stream.is_resent_with_new_time or stream.grows
    if is_more or _has_own_rules(row):
        return None
    rules = [_rule(name, field) for name, field in row.model_fields.items()]
    found = tuple(rule for rule in rules if rule is not None)
    return found if len(found) == len(rules) else None


def without_nul(array: Column) -> Mask:
    """Which texts a database can hold."""
    content = array.buffers()[2]
    if content is None or b"\0" not in memoryview(content).tobytes():
        return np.ones(len(array), dtype=bool)
    return ~_mask(pc.match_substring(array, "\0"))


def _bits(is_null: Column, length: int, rule: ColumnRule) -> Mask:
    """Of a column of a wrong type, the rows that don't have it may be right."""
    may_be_absent = not rule.is_required and rule.default is None
    return _mask(is_null) if may_be_absent else np.zeros(length, dtype=bool)


def _mask(array: Column) -> Mask:
    """A mask of which null is no part: what is not known is not sure."""
    filled = array.fill_null(False) if array.null_count else array
    return np.asarray(filled.to_numpy(zero_copy_only=False), dtype=bool)


def _has_own_rules(row: type[Row]) -> bool:
    known = row.__pydantic_decorators__
    has_validators = any(
        (
            known.validators,
            known.field_validators,
            known.root_validators,
            known.model_validators,
            known.computed_fields,
            known.field_serializers,
            known.model_serializers,
        )
    )
    return has_validators or row.model_config != Row.model_config


def _rule(name: str, field: FieldInfo) -> ColumnRule | None:
    """None where the declaration asks for something that is not known here."""
    kinds = _kinds(field.annotation)
    limits = [_limit(part) for part in field.metadata]
    if len(kinds) != 1 or kinds[0] not in PLAIN or field.default_factory or field.validation_alias:
        return None
    if any(limit is None for limit in limits) or not _may_be_null(field):
        return None
    known = [limit for limit in limits if limit is not None]
    return ColumnRule(
        name=name,
        type=PLAIN[kinds[0]],
        is_required=field.is_required(),
        default=None if field.is_required() else field.default,
        limits=tuple(limit for of, limit in known if of == "value"),
        lengths=tuple(limit for of, limit in known if of == "length"),
    )


def _may_be_null(field: FieldInfo) -> bool:
    """Whether what is absent can be stored as the field's default."""
    return field.is_required() or isinstance(field.default, str | int | float | bool | NoneType)


def _limit(part: Any) -> tuple[str, Limit] | None:
    known = LIMITS.get(type(part))
    if known is None:
        return None
    of, compare, name = known
    return of, (compare, getattr(part, name))


def _kinds(annotation: Any) -> list[Any]:
    """What a field takes but for null; nothing for what is made of other types."""
    if get_origin(annotation) in (Union, UnionType):
        return [kind for kind in get_args(annotation) if kind is not NoneType]
    return [annotation] if get_origin(annotation) is None else []
