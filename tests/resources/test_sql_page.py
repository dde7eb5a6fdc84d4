"""The page about SQL says what is so: each of its questions is answered."""

import re
from pathlib import Path

import pytest

from am_assets.streams.registry import REGISTRY
from resources.connections import Connections
from resources.duck import connect, query

PAGE = (Path(__file__).parents[2] / "docs" / "sql.md").read_text()
QUESTIONS = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
TYPED = re.findall(r'^am sql [^"\n]*"(SELECT .*)"', PAGE, re.MULTILINE)
TOLD = re.findall(r"`(SHOW [^`]*|DESCRIBE [^`]*)`", PAGE)


@pytest.mark.parametrize("text", [*QUESTIONS, *TYPED, *TOLD])
def test_a_question_of_the_page_is_answered(connections: Connections, text: str) -> None:
    with connect(connections, REGISTRY) as duck:
        assert query(duck, text).column_names


def test_the_page_has_questions_of_each_kind() -> None:
    assert [len(QUESTIONS), len(TYPED), len(TOLD)] == [4, 2, 2]


def test_the_ready_questions_that_the_page_names_are_there() -> None:
    folder = Path(__file__).parents[2] / "infra" / "queries"
    for name in re.findall(r"--query (\w+)", PAGE):
        assert (folder / f"{name}.sql").exists()
