"""The notebook runs from top to bottom over the real stores, and is kept without its outputs."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from am_assets.streams.audio import AUDIO
from am_assets.streams.digital import NOTE
from am_assets.streams.health import HEART_RATE
from am_assets.streams.motion import ACTIVITY, WINDOWS
from am_assets.streams.position import GPS_FIX
from am_assets.streams.text import TRANSCRIPT
from resources.connections import Connections
from tests.resources.rows import insert, landing, lineage
from tests.variables import variables_of

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "timeline.ipynb"
DAY = date(2033, 1, 4)
NOON = datetime(2033, 1, 4, 12, tzinfo=UTC)
FIGURES = 4  # lanes, track, heart rate, words


def read() -> NotebookNode:
    found: NotebookNode = nbformat.reads(NOTEBOOK.read_text(), as_version=4)
    return found


def run(
    notebook: NotebookNode, connections: Connections, folder: Path, patch: pytest.MonkeyPatch
) -> str:
    """Execute it against the stores; returns all that it printed and showed."""
    for name, value in {
        "AM_HOME": str(folder / "home"),
        **variables_of(connections),
        "MPLCONFIGDIR": str(folder / "matplotlib"),
    }.items():
        patch.setenv(name, value)
    client = NotebookClient(notebook, timeout=120, resources=folder_of(NOTEBOOK))
    client.execute()
    return str([cell.get("outputs") for cell in notebook.cells])


def folder_of(path: Path) -> dict[str, dict[str, str]]:
    """Where Jupyter would start it."""
    return {"metadata": {"path": str(path.parent)}}


def with_user(notebook: NotebookNode, user: str) -> NotebookNode:
    """As its reader would set it."""
    settings = notebook.cells[1]
    assert "USER = None" in settings.source
    settings.source = settings.source.replace("USER = None", f"USER = {user!r}")
    return notebook


def test_the_notebook_shows_the_latest_day_of_its_user(
    connections: Connections, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = f"notebook-{uuid4()}"
    url, own = connections.database_url, {"user_id": user, "ts": NOON}
    made = lineage(AUDIO, uuid4())
    insert(url, TRANSCRIPT, [{**own, "text": "The bread rises beautifully", **made}])
    minutes = [timedelta(minutes=n) for n in range(20)]
    insert(
        url,
        GPS_FIX,
        [
            {**own, "ts": NOON + t, "latitude": 45.2 + t.seconds / 1e5, "longitude": 13.6}
            for t in minutes
        ],
    )
    insert(url, HEART_RATE, [{**own, "ts": NOON + t, "bpm": 60.0} for t in minutes])
    walk = {"activity": "walking", "end_ts": NOON + minutes[-1], **lineage(WINDOWS, uuid4())}
    insert(url, ACTIVITY, [{**own, **walk}])
    insert(url, NOTE, [{**own, "ts": NOON - timedelta(days=1), "content": "yesterday"}])
    landing(url, user, HEART_RATE, DAY, 20, 20, 0, 0)
    landing(url, user, NOTE, DAY - timedelta(days=1), 1, 1, 0, 0)
    shown = run(with_user(read(), user), connections, tmp_path, monkeypatch)
    assert "Tuesday, 04 January 2033" in shown
    assert "| heart rate | device_health_heartrate_raw | 20 | 12:00:00 | 12:19:00 |" in shown
    assert "digital_notes_raw" not in shown
    assert shown.count("image/png") == FIGURES
    assert connections.s3_secret_key not in shown


def test_a_day_with_next_to_nothing_says_so_and_does_not_fail(
    connections: Connections, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = f"notebook-{uuid4()}"
    insert(connections.database_url, NOTE, [{"user_id": user, "ts": NOON, "content": "alone"}])
    landing(connections.database_url, user, NOTE, DAY, 1, 1, 0, 0)
    shown = run(with_user(read(), user), connections, tmp_path, monkeypatch)
    assert "No positions that day." in shown
    assert "Nothing was said that day" in shown


def test_the_notebook_is_kept_without_outputs_counts_or_addresses() -> None:
    for cell in read().cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
    text = NOTEBOOK.read_text()
    assert "://" not in text
    assert "password" not in text.lower()
