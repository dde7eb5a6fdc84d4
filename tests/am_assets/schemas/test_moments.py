"""The schema of moments, and their ids."""

from uuid import UUID

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from am_assets.schemas.moments import FACTS, moment_id, moment_schema

names = st.from_regex(r"[a-z]+(\.[a-z]+){2}", fullmatch=True)
sources = st.tuples(names, st.uuids(), st.integers(0, 99))


def test_a_moment_is_its_facts_and_a_vector_of_the_models_length() -> None:
    schema = moment_schema(384)
    assert schema.names == [*FACTS.names, "vector"]
    assert schema.field("vector").type == pa.list_(pa.float32(), 384)
    assert all(field.metadata for field in schema)


@given(sources, sources)
def test_two_chunks_have_the_same_id_only_if_they_are_the_same(
    a: tuple[str, UUID, int], b: tuple[str, UUID, int]
) -> None:
    assert (moment_id(*a) == moment_id(*b)) == (a == b)
    assert moment_id(a[0], str(a[1]), a[2]) == moment_id(*a)
