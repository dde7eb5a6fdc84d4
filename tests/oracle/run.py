"""One run of the oracle: a stack of its own, load and faults at once, calm, and the verdict."""

import asyncio
import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from infra.ports import choose_free
from infra.stack import Stack
from ingest_api.settings import Settings
from ingest_api.tokens import Scope, create_token
from tests.oracle.abuse import Abuse
from tests.oracle.book import Book
from tests.oracle.faults import PARTS, Disk, Faults, NotBackError, own_disk
from tests.oracle.load import Load, Target
from tests.oracle.messages import USERS, Author
from tests.oracle.verdict import Verdict, judge

BREATH_S = 2.0  # of load between two faults
RECOVERY_S = 600.0  # of a database, at the end, on a machine with much else to do


@dataclass
class Account:
    """How a run went. `complaints`: what the clients saw that breaks the promise."""

    verdict: Verdict
    complaints: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    @property
    def is_kept(self) -> bool:
        """Whether the promise was."""
        return self.verdict.is_kept and not self.complaints

    def report(self) -> str:
        """For people."""
        parts = [*self.told, self.verdict.report(), *(f"complaint: {c}" for c in self.complaints)]
        return "\n".join(parts)


@contextmanager
def own_stack(folder: Path, **options: Any) -> Iterator[tuple[Stack, Disk]]:
    """Database, object store and API on a disk that can be filled; `options` are settings."""
    home = folder / "home"
    with own_disk(home) as disk:
        told = {"home": home, "api_port": choose_free(["api"])["api"], **options}
        settings = Settings.model_validate(told)
        stack = Stack(home, parts=PARTS, settings=settings)
        try:
            stack.start()
            yield stack, disk
        finally:
            disk.free(stack)
            stack.stop()
            shutil.copytree(home / "logs", folder / "logs")


def target_of(stack: Stack, users: Sequence[str] = USERS) -> Target:
    """Where the stack's API is, with a token for each user."""
    url = stack.settings.connections().database_url
    with psycopg.connect(url, autocommit=True) as connection:
        tokens = {
            user: create_token(
                connection, user_id=user, device_id="*", scopes=frozenset({Scope.WRITE})
            )
            for user in users
        }
    return Target(f"http://127.0.0.1:{stack.settings.api_port}", tokens)


def prove(folder: Path, *, seconds: float, seed: int) -> Account:
    """Load and faults for so long, then the verdict."""
    with own_stack(folder) as (stack, disk):
        target = target_of(stack)
        book = Book(folder / "obligations.ndjson")
        load = Load(target, book, Author(seed))
        abuse = Abuse(target, book, Author(seed + 1), load.tally)
        faults = Faults(stack, disk, lambda: load.refusals)
        asyncio.run(_run(load, abuse, faults, seconds))
        # What took too long was complained of; nothing can be judged before it is there.
        faults.await_well("all of it", patience_s=RECOVERY_S)
        closed = asyncio.run(load.pass_all())
        book.close()
        verdict = judge(book.path, stack.settings.connections())
    told = [*faults.told, _seen(load, abuse)]
    seen = [f"{text} ({count} times)" for text, count in load.tally.complaints.items()]
    fresh = [f"a fresh message does not pass {door}" for door in closed]
    return Account(verdict, [*seen, *fresh], told)


async def _run(load: Load, abuse: Abuse, faults: Faults, seconds: float) -> None:
    wrong = asyncio.create_task(abuse.run())
    try:
        await load.run(asyncio.to_thread(break_on, faults, seconds=seconds))
    except* NotBackError as group:
        load.tally.complain(str(group.exceptions[0]))
    finally:
        wrong.cancel()
        with suppress(asyncio.CancelledError):
            await wrong


def break_on(faults: Faults, *, seconds: float) -> None:
    """One fault after another, each kind at least once, until the time is up."""
    dice, begin = random.Random(0), time.monotonic()
    kinds: list[Callable[[], None]] = [
        lambda: faults.kill("api"),
        lambda: faults.kill("postgres"),
        lambda: faults.kill("objects"),
        lambda: faults.fill_disk(seconds=4),
        lambda: faults.freeze("postgres", seconds=3),
        lambda: faults.freeze("objects", seconds=3),
        lambda: faults.kill("api", "postgres", "objects"),
    ]
    for fault in kinds:
        time.sleep(BREATH_S)  # load without faults, for a change
        fault()
    while time.monotonic() < begin + seconds:
        time.sleep(dice.uniform(0, 2 * BREATH_S))
        dice.choice(kinds)()


def _seen(load: Load, abuse: Abuse) -> str:
    statuses = ", ".join(f"{name} {count}" for name, count in load.tally.statuses.most_common())
    return (
        f"clients saw: {statuses}; slowest answer {load.tally.slowest_s:.1f} s; "
        f"{abuse.slow_ones_ended} slow clients were ended"
    )
