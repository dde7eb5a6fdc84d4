from hypothesis import given
from hypothesis import strategies as st

from am_assets.derived.moments import chunks

WORDS = st.lists(st.text(alphabet="abc", min_size=1, max_size=3), max_size=80)


@given(WORDS, st.integers(1, 20))
def test_chunks_hold_all_words_in_order_in_as_few_and_equal_parts_as_fit(
    words: list[str], max_words: int
) -> None:
    found = [part.split() for part in chunks(" ".join(words), max_words=max_words)]
    assert [word for part in found for word in part] == words
    assert len(found) == -(-len(words) // max_words)
    sizes = [len(part) for part in found]
    assert max(sizes, default=0) <= max_words
    assert max(sizes, default=0) - min(sizes, default=0) <= 1


def test_a_text_that_fits_keeps_its_line_breaks() -> None:
    assert chunks(" one\ntwo ") == ["one\ntwo"]
