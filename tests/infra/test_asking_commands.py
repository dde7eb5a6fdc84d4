"""The asking commands over the real stores."""

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import typer
from pyarrow import feather, parquet
from typer.testing import CliRunner, Result

from am_assets.streams.digital import NOTE
from infra.commands.day import app as day_app
from infra.commands.ledger import app as ledger_app
from infra.commands.printing import instant
from infra.commands.search import app as search_app
from infra.commands.sql import app as sql_app
from resources.connections import Connections
from resources.vectors import VectorStore
from tests.resources import moments_data
from tests.resources.rows import insert, landing
from tests.resources.trino_facade import facade
from tests.variables import variables_of

NOON = datetime(2022, 9, 4, 12, tzinfo=UTC)
DAY = date(2022, 9, 4)
ANN, AMY = "cli-ann", "cli-amy"
TINY = "all-minilm-l6-v2-int8"
Ask = Callable[..., Result]


@pytest.fixture(scope="module")
def filled(connections: Connections) -> Connections:
    """Two users' notes; one of them is missing a row that the ledger says was stored."""
    for user, stored in ((ANN, 1), (AMY, 2)):
        note = {"user_id": user, "ts": NOON, "title": "Bread", "content": f"[b]of {user}[/b]"}
        insert(connections.database_url, NOTE, [note])
        landing(connections.database_url, user, NOTE, DAY, stored, stored, 0, 0)
    moment = moments_data.moment("the bread rises", user_id=ANN, ts=NOON)
    store = VectorStore(connections, model_id=TINY, dimension=moments_data.DIMENSION)
    table = moments_data.table([moment])
    store.replace(["e1"], table, user_id=ANN, source_stream=moments_data.SPEECH)
    return connections


@pytest.fixture
def ask(filled: Connections, tmp_path: Path) -> Ask:
    """Runs a command against the stores; the models folder is empty."""
    place = {
        "AM_HOME": str(tmp_path / "home"),
        **variables_of(filled),
        "AM_MODELS_DIR": str(tmp_path / "weights"),
        "AM_COMPUTE": "local",
    }

    def run(app: typer.Typer, *arguments: str, **env: str) -> Result:
        return CliRunner().invoke(app, list(arguments), env={**place, **env})

    return run


NOTES = f"SELECT ts, user_id, content FROM hot.am.digital_notes_raw WHERE ts = '{NOON}' ORDER BY 2"


def test_sql_prints_rows_as_json_as_csv_and_as_a_table(ask: Ask) -> None:
    rows = json.loads(ask(sql_app, NOTES, "--format", "json").stdout)
    assert [row["user_id"] for row in rows] == [AMY, ANN]
    assert datetime.fromisoformat(rows[0]["ts"]) == NOON
    printed = list(csv.DictReader(io.StringIO(ask(sql_app, NOTES, "--format", "csv").stdout)))
    assert [row["content"] for row in printed] == [row["content"] for row in rows]
    table = ask(sql_app, NOTES).stdout
    assert f"[b]of {ANN}[/b]" in table


def test_sql_of_a_user_shows_that_user_only(ask: Ask) -> None:
    rows = json.loads(ask(sql_app, NOTES, "--format", "json", "--user", ANN).stdout)
    assert [row["user_id"] for row in rows] == [ANN]


def test_sql_that_is_wrong_or_writes_ends_with_1_and_a_reason(ask: Ask) -> None:
    wrong = ask(sql_app, "SELECT nothing FROM hot.am.digital_notes_raw")
    assert wrong.exit_code == 1
    assert "nothing" in wrong.stderr
    writes = ask(sql_app, "DELETE FROM hot.am.digital_notes_raw")
    assert writes.exit_code == 1
    assert "only questions" in writes.stderr


@pytest.mark.parametrize("ending", ["parquet", "csv", "json", "arrow"])
def test_an_answer_goes_into_a_file_of_the_kind_that_its_name_says(
    ask: Ask, tmp_path: Path, ending: str
) -> None:
    path = tmp_path / f"notes.{ending}"
    result = ask(sql_app, NOTES, "--to", str(path))
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert "2 rows" in result.stderr
    read: dict[str, Callable[[Path], list[dict[str, Any]]]] = {
        "parquet": lambda path: parquet.read_table(path).to_pylist(),
        "arrow": lambda path: feather.read_table(str(path)).to_pylist(),
        "csv": lambda path: list(csv.DictReader(path.open())),
        "json": lambda path: json.loads(path.read_text()),
    }
    assert [row["user_id"] for row in read[ending](path)] == [AMY, ANN]


def test_a_file_of_another_kind_is_refused_before_anything_is_asked(
    ask: Ask, tmp_path: Path
) -> None:
    result = ask(sql_app, NOTES, "--to", str(tmp_path / "notes.xlsx"))
    assert result.exit_code == 2
    assert ".parquet" in result.stderr
    assert not list(tmp_path.glob("notes.*"))


def test_a_question_of_the_library_is_asked_by_its_name(ask: Ask) -> None:
    span = ("--param", "begin=2022-09-04", "--param", "end=2022-09-05")
    result = ask(sql_app, "--query", "notes_per_day", *span, "--format", "json", "--user", ANN)
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)
    assert (found["user_id"], found["day"], found["notes"]) == (ANN, "2022-09-04", 1)
    listed = ask(sql_app, "--list").stdout
    assert "notes_per_day" in listed
    assert "How many notes" in listed


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--query", "nothing_like_it"), "--list"),
        (("--query", "notes_per_day"), "begin"),
        (("--query", "notes_per_day", "--param", "begin"), "name=value"),
        (("--query", "notes_per_day", "SELECT 1"), "give a question"),
        (("SELECT 1", "--param", "a=b"), "--query"),
        ((), "give a question"),
    ],
)
def test_a_question_that_is_not_there_or_not_whole_says_what_is_missing(
    ask: Ask, arguments: tuple[str, ...], told: str
) -> None:
    result = ask(sql_app, *arguments)
    assert result.exit_code == 2
    assert told in result.stderr


def test_trino_is_asked_at_its_address_or_one_is_told_to_name_it(ask: Ask) -> None:
    result = ask(sql_app, "SELECT 1", "--engine", "trino")
    assert result.exit_code == 2
    assert "AM_TRINO_URL" in result.stderr
    trino = ("--engine", "trino", "--format", "json", "--user", ANN)
    with facade() as server:
        asked = ask(sql_app, "SELECT 1 AS one", *trino, AM_TRINO_URL=server.url)
        refused = ask(sql_app, "DELETE FROM am.x", *trino, AM_TRINO_URL=server.url)
    assert json.loads(asked.stdout) == [{"one": 1}]
    assert server.headers[0]["x-trino-user"] == ANN
    assert refused.exit_code == 1
    assert "only questions" in refused.stderr


def test_search_without_weights_goes_by_words_and_says_so_beside_the_answer(ask: Ask) -> None:
    result = ask(search_app, "bread", "--user", ANN, "--kind", "speech", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [hit["text"] for hit in found["hits"]] == ["the bread rises"] * len(found["hits"])
    printed = ask(search_app, "bread", "--user", ANN)
    assert "by words alone" in printed.stderr
    assert "by words alone" not in printed.stdout
    nothing = ask(search_app, "bread", "--user", ANN, "--from", "2040-01-01", "--json")
    assert json.loads(nothing.stdout)["hits"] == []


def test_where_there_are_several_users_one_has_to_be_named(ask: Ask) -> None:
    result = ask(search_app, "bread")
    assert result.exit_code == 2
    assert ANN in result.stderr
    assert ask(day_app, "2022-09-04").exit_code == 2


def test_a_day_is_printed_and_the_same_in_json(ask: Ask) -> None:
    printed = ask(day_app, "2022-09-04", "--user", ANN)
    assert printed.exit_code == 0, printed.output
    assert "Sunday, 04 September 2022" in printed.stdout
    assert f"12:00  Bread: [b]of {ANN}[/b]" in printed.stdout
    found = json.loads(ask(day_app, "2022-09-04", "--user", ANN, "--json").stdout)
    assert found["user_id"] == ANN
    assert found["counts"] == {NOTE.name: 1}
    assert "Nothing arrived" in ask(day_app, "2001-01-01", "--user", ANN).stdout
    assert ask(day_app, "yesterday", "--user", ANN).exit_code == 2


def test_a_ledger_that_does_not_add_up_ends_with_1(ask: Ask, connections: Connections) -> None:
    result = ask(ledger_app, "--day", "2022-09-04", "--json")
    found = json.loads(result.stdout)
    assert {line["user_id"]: line["rows"] for line in found["lines"]} == {ANN: 1, AMY: 1}
    assert (found["is_adding_up"], result.exit_code) == (False, 1)
    tomorrow = datetime.now(UTC).date()
    landing(connections.database_url, f"cli-{uuid4()}", NOTE, tomorrow, 1, 1, 0, 0)
    lost = ask(ledger_app, "--day", tomorrow.isoformat())
    assert lost.exit_code == 1
    assert "NO" in lost.stdout
    empty = ask(ledger_app, "--day", "2001-01-01")
    assert empty.exit_code == 0
    assert "0 received = 0 stored" in empty.stdout


def test_without_a_stack_every_command_says_what_to_do(ask: Ask) -> None:
    for app, arguments in (
        (sql_app, ["FROM hot.am.timeline"]),
        (search_app, ["x"]),
        (day_app, ["2022-09-04"]),
        (ledger_app, []),
    ):
        result = ask(app, *arguments, AM_DATABASE_URL="")
        assert result.exit_code == 1
        assert result.stderr


def test_a_time_without_a_zone_is_utc() -> None:
    assert instant("2022-09-04") == datetime(2022, 9, 4, tzinfo=UTC)
    assert instant("2022-09-04T14:00+02:00") == NOON
    with pytest.raises(typer.BadParameter):
        instant("noon")
