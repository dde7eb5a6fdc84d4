"""What the demo waits for: its own days, whatever else arrives meanwhile."""

from datetime import UTC, date, datetime

from am_assets.streams.digital import NOTE
from infra.commands.demo import Backlog
from resources.connections import Connections
from tests.planting import Garden

DAY, OTHER = date(2021, 3, 6), date(2021, 3, 9)


def test_what_a_device_sends_on_other_days_does_not_keep_the_demo_waiting(
    connections: Connections,
) -> None:
    noon = datetime(2021, 3, 9, 12, tzinfo=UTC)
    Garden(connections).plant(NOTE, [(noon, {"content": "meanwhile", "note_type": "text"})])
    assert any("2021-03-09" in line for line in Backlog(connections).open())
    assert any("2021-03-09" in line for line in Backlog(connections, frozenset({OTHER})).open())
    assert Backlog(connections, frozenset({DAY})).open() == []
