"""The vector store against a real object store."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.connections import Connections
from resources.vectors import Hit, SearchRequest, VectorStore, VectorStoreError, slug
from tests.resources.moments_data import DIMENSION, NOON, NOTE, SPEECH, letters, moment, table

HOSTILE = ("o'brien", "' OR '1'='1", 'a"b', "a\\", "a\\' --", "%", "_", "*/ x", "ü'ß", "a;b\n'")


@pytest.fixture
def store(connections: Connections) -> VectorStore:
    return new_store(connections)


@pytest.fixture(scope="module")
def hostile_store(connections: Connections) -> VectorStore:
    store = new_store(connections)
    for user in HOSTILE:
        put(store, moment(f"bread of {user}", user_id=user, app=user, place=user, device_id=user))
    return store


def new_store(connections: Connections, **options: Any) -> VectorStore:
    return VectorStore(
        connections, model_id=f"letters {uuid4().hex}", dimension=DIMENSION, **options
    )


def put(store: VectorStore, *rows: dict[str, Any]) -> None:
    """Store rows that share user and stream."""
    store.replace(
        [row["source_event_id"] for row in rows],
        table(rows),
        user_id=rows[0]["user_id"],
        source_stream=rows[0]["source_stream"],
    )


def find(store: VectorStore, text: str, **filters: Any) -> list[Hit]:
    return store.search(SearchRequest(**{"user_id": "ann", "text": text, **filters}), letters(text))


def texts(hits: Sequence[Hit]) -> list[str]:
    return [hit.text for hit in hits]


def test_before_the_first_moment_there_is_nothing_to_find(store: VectorStore) -> None:
    assert find(store, "bread") == []
    assert store.get("any", "ann") is None
    assert store.count() == 0
    assert store.delete("ann") == 0
    store.refresh_indexes()
    store.replace(["e1"], table([]), user_id="ann", source_stream=SPEECH)
    assert store.count() == 0


def test_a_moment_is_found_as_soon_as_it_is_stored_with_all_its_facts(store: VectorStore) -> None:
    row = moment("the bread rises", end_ts=NOON + timedelta(seconds=4), place="Poreč", app="tv")
    put(store, moment("a taxi came", source_event_id="e0"))
    store.refresh_indexes()
    put(store, row)
    best = find(store, "bread")[0]
    assert {name: getattr(best, name) for name in row if name != "vector"} == {
        name: value for name, value in row.items() if name != "vector"
    }
    assert best.score is not None
    assert store.get(row["moment_id"], "ann") == replace(best, score=None)


def test_storing_twice_is_storing_once(store: VectorStore) -> None:
    rows = [moment("bread one"), moment("bread two", chunk_index=1)]
    put(store, *rows)
    put(store, *rows)
    assert store.count("ann") == 2


def test_a_row_that_gives_fewer_moments_now_loses_the_others(store: VectorStore) -> None:
    put(store, moment("bread one"), moment("bread two", chunk_index=1))
    put(store, moment("kept", source_event_id="e2"))
    put(store, moment("butter"))
    assert sorted(texts(find(store, "bread"))) == ["butter", "kept"]
    store.replace(["e1"], table([]), user_id="ann", source_stream=SPEECH)
    assert texts(find(store, "bread")) == ["kept"]


def test_the_same_event_id_of_another_user_or_stream_is_left_alone(store: VectorStore) -> None:
    put(store, moment("bread of ann"))
    put(store, moment("bread of amy", user_id="amy"))
    put(store, moment("bread, noted", source_stream=NOTE, kind="note"))
    put(store, moment("bread, again"))
    assert sorted(texts(find(store, "bread"))) == ["bread, again", "bread, noted"]
    assert texts(find(store, "bread", user_id="amy")) == ["bread of amy"]
    assert store.get(moment("x")["moment_id"], "amy") is not None
    assert store.delete("amy") == 1
    assert store.count() == 2


def test_users_whose_names_differ_by_one_character_never_see_each_other(
    store: VectorStore,
) -> None:
    names = ("ann", "anna", "an", "Ann", "ann ", "a%n", "a_n")
    for name in names:
        put(store, moment(f"bread of [{name}]", user_id=name))
    for name in names:
        assert texts(find(store, "bread", user_id=name)) == [f"bread of [{name}]"]
        assert texts(store.search(SearchRequest(user_id=name, text="bread"), None)) == [
            f"bread of [{name}]"
        ]


def test_each_filter_leaves_only_what_it_names(store: VectorStore) -> None:
    put(
        store,
        moment("bread a", source_event_id="a"),
        moment("bread b", source_event_id="b", kind="note"),
        moment("bread c", source_event_id="c", device_id="watch"),
        moment("bread d", source_event_id="d", app="org.mozilla.Firefox"),
        moment("bread e", source_event_id="e", place="Mission District, US"),
        moment("bread f", source_event_id="f", ts=NOON + timedelta(hours=1)),
    )
    one = timedelta(hours=1)
    assert texts(find(store, "bread", kind="note")) == ["bread b"]
    assert texts(find(store, "bread", device_id="watch")) == ["bread c"]
    assert texts(find(store, "bread", app="firefox")) == ["bread d"]
    assert texts(find(store, "bread", place="mission district")) == ["bread e"]
    assert texts(find(store, "bread", begin=NOON + one)) == ["bread f"]
    assert len(find(store, "bread", end=NOON + one)) == 5
    assert len(find(store, "bread", begin=NOON, end=NOON + one / 2)) == 5
    assert find(store, "bread", begin=NOON, end=NOON) == []
    assert len(find(store, "bread", limit=2)) == 2
    assert find(store, "bread", limit=0) == []


def test_words_alone_find_only_what_has_them_and_meaning_finds_more(store: VectorStore) -> None:
    put(store, moment("bread bread"), moment("bubbly", source_event_id="e2"))
    words = store.search(SearchRequest(user_id="ann", text="bread"), None)
    assert texts(words) == ["bread bread"]
    assert set(texts(find(store, "bread"))) == {"bread bread", "bubbly"}


def test_words_are_found_in_any_form_case_and_accent(store: VectorStore) -> None:
    put(store, moment("She was BAKING at the Café"))
    for question in ("bake", "baking", "cafe", "the"):
        assert texts(store.search(SearchRequest(user_id="ann", text=question), None))


def test_a_moment_that_does_not_belong_to_the_call_is_refused(store: VectorStore) -> None:
    good, twice = moment("bread"), [moment("bread"), moment("bread")]
    for rows, options in (
        ([good], {"user_id": "amy", "source_stream": SPEECH}),
        ([good], {"user_id": "ann", "source_stream": NOTE}),
        ([moment("bread", source_event_id="e9")], {"user_id": "ann", "source_stream": SPEECH}),
        (twice, {"user_id": "ann", "source_stream": SPEECH}),
    ):
        with pytest.raises(VectorStoreError):
            store.replace(["e1"], table(rows), **options)
    with pytest.raises(VectorStoreError, match="lack the columns vector"):
        store.replace(
            ["e1"], table([good]).drop_columns("vector"), user_id="ann", source_stream=SPEECH
        )
    assert store.count() == 0


def test_a_store_without_a_dimension_reads_what_another_wrote(connections: Connections) -> None:
    writer = new_store(connections)
    reader = VectorStore(connections, model_id=writer.table_name.removeprefix("moments_"))
    with pytest.raises(VectorStoreError, match="without a dimension"):
        put(reader, moment("bread"))
    put(writer, moment("bread"))
    assert texts(find(reader, "bread")) == ["bread"]


def test_first_moments_stored_by_many_at_once_are_all_kept(connections: Connections) -> None:
    first = new_store(connections)
    model = first.table_name.removeprefix("moments_")
    failures: list[Exception] = []

    def write(user: str) -> None:
        try:
            mine = VectorStore(connections, model_id=model, dimension=DIMENSION)
            put(mine, moment("bread", user_id=user))
            put(mine, moment("butter", user_id=user))
        except Exception as error:  # noqa: BLE001 - whatever it is, the test must see it
            failures.append(error)

    writers = [threading.Thread(target=write, args=(f"u{number}",)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failures == []
    assert first.count() == 4
    assert texts(find(first, "butter", user_id="u3")) == ["butter"]


def test_indexes_change_nothing_of_what_is_found(connections: Connections) -> None:
    store = new_store(connections, vector_index_rows=300)
    rows = [
        moment(
            f"{'b' * (number % 7)}{'c' * (number % 5)} number {number}", source_event_id=f"{number}"
        )
        for number in range(320)
    ]
    put(store, *rows)
    question: dict[str, Any] = {"text": "number 17", "begin": NOON, "kind": "speech", "limit": 5}
    before = store.search(SearchRequest(user_id="ann", **question), None)
    store.refresh_indexes()
    store.refresh_indexes()
    after = store.search(SearchRequest(user_id="ann", **question), None)
    assert before[0].text.endswith("number 17")
    assert after[0] == before[0]
    many = find(store, **{**question, "limit": 100})
    assert rows[17]["text"] in texts(many)
    assert find(store, "number 17", user_id="amy") == []


def test_deleting_a_span_leaves_the_rest(store: VectorStore) -> None:
    put(store, moment("bread"), moment("later", source_event_id="e2", ts=NOON + timedelta(days=1)))
    assert store.delete("ann", begin=NOON + timedelta(hours=1)) == 1
    assert texts(find(store, "bread")) == ["bread"]


names = st.sampled_from(HOSTILE) | st.text(min_size=1, max_size=12)


@pytest.mark.slow
@given(user=names, value=names, question=st.text(max_size=30))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_value_however_hostile_ever_reaches_another_users_moments(
    hostile_store: VectorStore, user: str, value: str, question: str
) -> None:
    plain = SearchRequest(user_id=user, text=question)
    requests = (
        plain,
        replace(plain, device_id=value),
        replace(plain, app=value),
        replace(plain, place=value, kind=value),
    )
    for request in requests:
        for vector in (None, letters(question)):
            assert {hit.user_id for hit in hostile_store.search(request, vector)} <= {user}
    found = hostile_store.search(plain, letters(question))
    assert len(found) == (user in HOSTILE)
    assert hostile_store.get(value, user) is None


@pytest.mark.parametrize("user", HOSTILE)
def test_a_hostile_name_still_finds_its_own_moments(hostile_store: VectorStore, user: str) -> None:
    own = find(hostile_store, "bread", user_id=user, app=user, place=user, device_id=user)
    assert texts(own) == [f"bread of {user}"]


def test_a_models_name_becomes_a_table_name() -> None:
    assert slug("sentence-transformers:All MPNet/v2") == "sentence_transformers_all_mpnet_v2"
