from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from am_assets.derived.catalog import ENRICHMENTS
from am_assets.live import LIVE_FOR, Agenda, Line, News, Place, advance, live_streams, news_of
from am_assets.streams.audio import AUDIO
from am_assets.streams.registry import REGISTRY

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = date(2026, 3, 1)
STREAMS = ["a.b.raw", "c.d.raw"]


def line(xid: int, seq: int, *, is_settled: bool = True, stream: str = "a.b.raw") -> Line:
    return Line(xid, seq, "ada", DAY, stream, NOW, is_news=True, is_settled=is_settled)


@given(st.data())
def test_every_line_is_fresh_exactly_once_in_whatever_order_transactions_commit(
    data: st.DataObject,
) -> None:
    count = data.draw(st.integers(1, 12))
    # Transaction n wrote line n, and commits at a time of its own; those still open hide theirs.
    commits = data.draw(st.lists(st.integers(0, 6), min_size=count, max_size=count))
    place, seen = Place(), list[int]()
    for now in range(8):
        oldest_running = min((n for n, at in enumerate(commits) if at > now), default=count)
        visible = [
            line(n, n + 1, is_settled=n < oldest_running)
            for n, at in enumerate(commits)
            if at <= now and (n, n + 1) > (place.xid, place.seq)
        ]
        place, fresh = advance(place, visible)
        seen += [one.seq for one in fresh]
    assert sorted(seen) == list(range(1, count + 1))
    assert not place.ahead


def test_a_line_is_not_kept_waiting_by_a_slow_transaction() -> None:
    _, fresh = advance(Place(4, 9), [line(6, 11, is_settled=False)])
    assert [one.seq for one in fresh] == [11]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ada", "bo"]),
            st.integers(0, 3),
            st.sampled_from(STREAMS),
            st.integers(0, 200),
        )
    )
)
def test_the_agenda_gives_each_user_and_day_once_newest_day_first_since_its_oldest_news(
    told: list[tuple[str, int, str, int]],
) -> None:
    news = [
        News(user, DAY - timedelta(days=back), stream, NOW - timedelta(seconds=age))
        for user, back, stream, age in told
    ]
    agenda = Agenda()
    agenda.note(news)
    for stream in STREAMS:
        taken = list(iter(lambda s=stream: agenda.take(s, now=NOW), None))  # type: ignore[misc]  # mypy knows no lambda's default
        days = [one.day for one in taken]
        assert days == sorted(days, reverse=True)
        mine = [one for one in news if one.stream == stream]
        oldest = {
            (one.user_id, one.day): min(
                x.since for x in mine if (x.user_id, x.day) == (one.user_id, one.day)
            )
            for one in mine
        }
        assert {(one.user_id, one.day): one.since for one in taken} == oldest
        assert len(taken) == len(oldest)


def test_what_landed_too_long_ago_is_forgotten() -> None:
    agenda = Agenda()
    agenda.note([News("ada", DAY, "a.b.raw", NOW)])
    assert agenda.take("a.b.raw", now=NOW + LIVE_FOR + timedelta(seconds=1)) is None
    assert len(agenda) == 0


def test_lines_that_stored_nothing_or_from_which_nothing_follows_are_no_news() -> None:
    lines = [line(1, 1), line(1, 2, stream="c.d.raw")]
    assert [one.stream for one in news_of(lines, {"a.b.raw"})] == ["a.b.raw"]
    empty = Line(1, 3, "ada", DAY, "a.b.raw", NOW, is_news=False, is_settled=True)
    assert news_of([empty], {"a.b.raw"}) == []


def test_recordings_are_live_and_so_is_no_stream_from_which_nothing_follows() -> None:
    live = live_streams(ENRICHMENTS, [stream.name for stream in REGISTRY.raw])
    assert AUDIO.name in live
    assert "device.state.power.raw" not in live
