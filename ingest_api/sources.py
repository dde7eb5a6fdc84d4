"""Where many elements come from: an Arrow table, or a list of JSON objects. One face for both.

A column is an Arrow array of what each element holds under a name, null where it holds nothing.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from operator import itemgetter
from typing import Any, Protocol

import pyarrow as pa

MAX_NAMES = 256  # more than any client's fields; the columns of all of them would fill the memory


class NotColumnsError(Exception):
    """These elements can't be laid side by side; they are read one by one."""


class Source(Protocol):
    """Elements that can be read column by column."""

    @property
    def names(self) -> frozenset[str]:
        """The fields that any element has."""
        ...

    def __len__(self) -> int:
        """How many elements."""
        ...

    def column(self, name: str) -> Any:
        """What each element holds under a name. Raises: NotColumnsError when types mix."""
        ...

    def elements(self, positions: Sequence[int]) -> list[Any]:
        """Some of the elements, whole."""
        ...

    def fields(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Of each element the fields of these names that are not null."""
        ...


class TableSource:
    """The rows of an Arrow table whose buffers were checked."""

    def __init__(self, table: pa.Table) -> None:
        """Raises: NotColumnsError where two columns share a name."""
        self._table = table
        filled = [name for name in table.column_names if table[name].null_count < len(table)]
        if len(set(table.column_names)) < table.num_columns:
            raise NotColumnsError
        self.names = frozenset(filled)

    def __len__(self) -> int:
        """Rows."""
        return int(self._table.num_rows)

    def column(self, name: str) -> Any:
        """One column in one piece, dictionaries resolved."""
        whole = self._table[name].combine_chunks()
        array: Any = whole.combine_chunks() if isinstance(whole, pa.ChunkedArray) else whole
        return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array

    def elements(self, positions: Sequence[int]) -> list[Any]:
        """Rows as Python has them."""
        return self._table.take(pa.array(positions, pa.int64())).to_pylist()

    def fields(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Values as Python has them."""
        rows = self._table.select(list(names)).to_pylist()
        return [{key: value for key, value in row.items() if value is not None} for row in rows]


class ListSource:
    """Elements as a JSON parser gives them."""

    def __init__(self, elements: Sequence[Any]) -> None:
        """Raises: NotColumnsError where an element is no object, or they have too many names."""
        if set(map(type, elements)) != {dict}:
            raise NotColumnsError
        self._elements: Sequence[Mapping[str, Any]] = elements
        self._shapes = {tuple(element) for element in elements}
        self.names = frozenset().union(*self._shapes)
        if len(self.names) > MAX_NAMES:
            raise NotColumnsError

    def __len__(self) -> int:
        """Elements."""
        return len(self._elements)

    def column(self, name: str) -> Any:
        """The values of one name, of the one type that they share; integers may stand with reals.

        Raises: NotColumnsError.
        """
        try:
            return pa.array(self._values(name))
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise NotColumnsError from error

    def _values(self, name: str) -> Sequence[Any]:
        if name in self._columns:
            return self._columns[name]
        return [element.get(name) for element in self._elements]

    @cached_property
    def _columns(self) -> Mapping[str, Sequence[Any]]:
        """All values by name where every element has the same names; else nothing."""
        (names, *others) = self._shapes
        if others or len(names) < 2:  # of one name, `itemgetter` gives no tuples
            return {}
        columns = zip(*map(itemgetter(*names), self._elements), strict=True)
        return dict(zip(names, columns, strict=True))

    def elements(self, positions: Sequence[int]) -> list[Any]:
        """As they came."""
        return [self._elements[position] for position in positions]

    def fields(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """As they came."""
        return [
            {name: value for name in names if (value := element.get(name)) is not None}
            for element in self._elements
        ]
