"""The promise is told in the same words wherever it is told."""

import re
from pathlib import Path

from ingest_api.main import DESCRIPTION

README = Path(__file__).parents[2] / "README.md"


def words(text: str) -> str:
    """A text without its line breaks."""
    return " ".join(text.split())


def test_the_readme_and_the_apis_documents_make_the_same_promise() -> None:
    quoted = re.findall(r"^> (.*)$", README.read_text(), flags=re.MULTILINE)
    promise = words(DESCRIPTION)
    assert promise in words(" ".join(quoted))
    assert promise.startswith("A 2xx from AM means that the request's content is committed and")
    assert promise.endswith("it answers 503 with Retry-After and stores nothing.")
