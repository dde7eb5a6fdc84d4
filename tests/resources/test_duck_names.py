"""What a question is about, told from its words."""

from hypothesis import given
from hypothesis import strategies as st

from am_assets.streams.digital import NOTE
from am_assets.streams.health import HEART_RATE
from am_assets.streams.registry import REGISTRY
from resources.duck_names import Mentions, mentions_of

NOTES, BEATS = NOTE.table, HEART_RATE.table
PLACES = {
    "hot": Mentions(hot=True),
    "lake": Mentions(lake=frozenset({NOTE})),
    "whole": Mentions(whole=frozenset({NOTE})),
}


def test_only_what_is_named_is_opened_and_the_database_only_where_it_is_needed() -> None:
    assert not mentions_of(f"FROM lake.am.{NOTES}", REGISTRY).needs_hot
    assert mentions_of(f"FROM lake.am.{NOTES} JOIN am.{BEATS} USING (ts)", REGISTRY) == Mentions(
        lake=frozenset({NOTE}), whole=frozenset({HEART_RATE})
    )
    assert mentions_of(f"FROM {NOTES}", REGISTRY).needs_hot
    assert mentions_of("FROM lake.am.timeline", REGISTRY) == Mentions(is_lake_timeline=True)
    assert mentions_of("FROM am.timeline", REGISTRY) == Mentions(is_whole_timeline=True)
    assert mentions_of("FROM am.timeline WHERE NOT is_detail", REGISTRY) == Mentions(
        is_whole_timeline=True, is_by_detail=True
    )
    assert mentions_of("FROM hot.am.timeline", REGISTRY) == Mentions(hot=True)
    assert mentions_of("SELECT 1", REGISTRY) == Mentions()


def test_a_list_of_tables_names_all_of_them_and_a_description_only_its_own() -> None:
    assert mentions_of("SHOW ALL TABLES", REGISTRY).whole == frozenset(REGISTRY.values())
    assert mentions_of(f"DESCRIBE am.{NOTES}", REGISTRY).whole == frozenset({NOTE})


@given(
    place=st.sampled_from(sorted(PLACES)),
    is_quoted=st.booleans(),
    blank=st.sampled_from(["", " ", "\n"]),
    is_upper=st.booleans(),
)
def test_a_name_is_known_however_it_is_written(
    place: str, is_quoted: bool, blank: str, is_upper: bool
) -> None:
    parts = [part.upper() if is_upper else part for part in (place, "am", NOTES)]
    name = f"{blank}.{blank}".join(f'"{part}"' if is_quoted else part for part in parts)
    assert mentions_of(f"SELECT * FROM {name} WHERE 1 = 1", REGISTRY) == PLACES[place]
