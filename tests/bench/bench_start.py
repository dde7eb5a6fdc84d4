"""How soon the stack is there again: what a person waits for after `am up`."""

import time
from pathlib import Path

from infra.ports import choose_free
from infra.stack import Stack
from ingest_api.settings import Settings


def bench_starts_of_the_stack(tmp_path: Path, note: list[str]) -> None:
    """Stack: seconds until every part answers, and until none is left"""
    ports = choose_free(["api", "dagster"])
    settings = Settings(home=tmp_path, api_port=ports["api"], dagster_port=ports["dagster"])
    stack = Stack(tmp_path, settings=settings)
    note += ["| what | s |", "| --- | --- |"]
    for name, act in (
        ("first `am up`, with an empty home", stack.start),
        ("`am down`", stack.stop),
        ("second `am up`", stack.start),
        ("`am down` again", stack.stop),
    ):
        begin = time.perf_counter()
        act()
        note.append(f"| {name} | {time.perf_counter() - begin:.1f} |")
