"""The hot worker: a resident process that works off what has just landed, with warm models.

It polls the ledger and gives each raw stream a thread, so that reading a screen does not keep
speech waiting. Everything it does is done by `process`, and whatever it leaves (for an error, for
its end, for being late) the assets do. It tells Dagster what it did by events that have no run.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
from dagster import AssetMaterialization, DagsterInstance, MetadataValue
from dagster._core.definitions.data_version import CODE_VERSION_TAG

from am_assets.derived.asset import derived_key
from am_assets.derived.catalog import ENRICHMENTS
from am_assets.derived.enrichment import Enrichment
from am_assets.facts import counts_metadata
from am_assets.live import (
    RUN_ID,
    Agenda,
    Place,
    advance,
    first_place,
    follow,
    live_streams,
    news_of,
    read_lines,
)
from am_assets.partitions import FIRST_DAY
from am_assets.process import Counts, Progress, Tools
from models.catalog import Task

POLL_S = 0.2
CONNECT_TIMEOUT_S = 3
RETRY_S = 1.0
REPORT_EVERY = timedelta(seconds=20)  # each report makes Dagster ask what follows
APPLICATION = "am hot worker"

log = logging.getLogger(__name__)


class Complaints:
    """Logs an error when it begins and when it ends, and not each time in between."""

    def __init__(self) -> None:
        self._now: dict[str, str] = {}
        self._lock = threading.Lock()

    @property
    def now(self) -> list[str]:
        """What is wrong."""
        with self._lock:
            return [f"{where}: {what}" for where, what in sorted(self._now.items())]

    def raised(self, where: str, error: Exception) -> None:
        """It goes wrong."""
        what = without_rows(error)
        with self._lock:
            is_known = self._now.get(where) == what
            self._now[where] = what
        if not is_known:
            is_of_database = isinstance(error, psycopg.Error)
            log.error("%s: %s", where, what, exc_info=None if is_of_database else error)

    def passed(self, where: str) -> None:
        """It works."""
        with self._lock:
            was_wrong = self._now.pop(where, None)
        if was_wrong:
            log.info("%s: works again", where)


def without_rows(error: Exception) -> str:
    """What to log of an error: the database puts the row at fault into the details of its own."""
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return f"{type(error).__name__}: {primary or error}".strip()


class Reporter:
    """Tells Dagster what was derived without a run: for each day at most every 20 seconds."""

    def __init__(
        self, open_instance: Callable[[], DagsterInstance], enrichments: Sequence[Enrichment]
    ) -> None:
        """`open_instance` is called when there is something to tell, until it succeeds."""
        self._open_instance = open_instance
        self._instance: DagsterInstance | None = None
        self._enrichments = {enrichment.name: enrichment for enrichment in enrichments}
        self._due: dict[tuple[str, str], Counts] = {}
        self._told: dict[tuple[str, str], datetime] = {}
        self._lock = threading.Lock()

    def note(self, progress: Progress) -> None:
        """Have it told. A day that is no partition is told to nobody."""
        if not FIRST_DAY <= progress.day <= datetime.now(UTC).date():
            return
        key = (progress.enrichment, progress.day.isoformat())
        with self._lock:
            self._due[key] = _sum(self._due.get(key, Counts()), progress.counts)

    def tell(self, *, now: datetime, is_last: bool = False) -> None:
        """Report what is due; at the end, all. What cannot be reported stays due.

        Raises: what Dagster's storage raises.
        """
        for key in self._chosen(now, is_last=is_last):
            with self._lock:
                counts = self._due.pop(key)
            try:
                self._open().report_runless_asset_event(self._event(*key, counts))
            except Exception:  # whatever it is: what was not told is due again
                with self._lock:
                    self._due[key] = _sum(counts, self._due.get(key, Counts()))
                raise
            self._told[key] = now

    def _open(self) -> DagsterInstance:
        if self._instance is None:
            self._instance = self._open_instance()
        return self._instance

    def _chosen(self, now: datetime, *, is_last: bool) -> list[tuple[str, str]]:
        self._told = {k: at for k, at in self._told.items() if now - at < REPORT_EVERY}
        with self._lock:
            return [key for key in self._due if is_last or key not in self._told]

    def _event(self, name: str, partition: str, counts: Counts) -> AssetMaterialization:
        enrichment = self._enrichments[name]
        return AssetMaterialization(
            derived_key(enrichment),
            partition=partition,
            description="Derived from what had just landed; a run publishes it.",
            metadata={**counts_metadata(counts), "lane": MetadataValue.text(RUN_ID)},
            tags={CODE_VERSION_TAG: str(enrichment.version)},
        )


@dataclass(frozen=True)
class Pulse:
    """How the worker is. `problems`: what does not work now."""

    at: datetime
    waiting: int
    problems: Sequence[str]


class HotWorker:
    """Works until it is asked to end."""

    def __init__(
        self,
        tools: Tools,
        *,
        open_instance: Callable[[], DagsterInstance] = DagsterInstance.get,
        enrichments: Sequence[Enrichment] = ENRICHMENTS,
        on_pulse: Callable[[Pulse], None] = lambda _: None,
    ) -> None:
        self._tools = tools
        self._enrichments = tuple(enrichments)
        self._streams = live_streams(enrichments, [raw.name for raw in tools.registry.raw])
        self._reporter = Reporter(open_instance, enrichments)
        self._on_pulse = on_pulse
        self._complaints = Complaints()
        self._agenda = Agenda()
        self._news = threading.Condition()
        self._ending = threading.Event()
        # Not every model may be used by two threads at a time.
        self._model_locks = {task: threading.Lock() for task in Task}

    def end(self) -> None:
        """Ask it to end: each thread after the batch that it is at."""
        self._ending.set()

    def run(self) -> None:
        """Work until `end` is called; what is left then is left to the assets."""
        threads = [
            threading.Thread(target=self._work, args=(stream,), name=stream)
            for stream in sorted(self._streams)
        ]
        threads.append(threading.Thread(target=self._report, name="reports"))
        for thread in threads:
            thread.start()
        try:
            self._watch()
        finally:
            self._ending.set()
            with self._news:
                self._news.notify_all()
            for thread in threads:
                thread.join()
        self._tell(is_last=True)

    def _watch(self) -> None:
        place: Place | None = None
        while not self._ending.is_set():
            try:
                place = self._watch_once(place)
            except psycopg.Error as error:
                self._complaints.raised("the ledger", error)
                self._pulse()
                self._ending.wait(RETRY_S)

    def _watch_once(self, place: Place | None) -> Place:
        """Poll over one connection, until the end or an error. Returns how far it was read."""
        with psycopg.connect(
            self._tools.database_url,
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT_S,
            application_name=APPLICATION,
        ) as connection:
            place = place or first_place(connection)
            while not self._ending.is_set():
                place, fresh = advance(place, read_lines(connection, place))
                self._complaints.passed("the ledger")
                if news := news_of(fresh, self._streams):
                    with self._news:
                        self._agenda.note(news)
                        self._news.notify_all()
                self._pulse()
                self._ending.wait(POLL_S)
        return place

    def _pulse(self) -> None:
        self._on_pulse(Pulse(datetime.now(UTC), len(self._agenda), self._complaints.now))

    def _work(self, stream: str) -> None:
        """One stream's thread."""
        while not self._ending.is_set():
            with self._news:
                news = self._agenda.take(stream, now=datetime.now(UTC))
                if news is None:
                    self._news.wait(RETRY_S)
                    continue
            is_moving = follow(
                news,
                self._tools,
                enrichments=self._enrichments,
                on_progress=self._reporter.note,
                attempt=self._attempt,
            )
            if is_moving:  # look again, but after what is newer
                with self._news:
                    self._agenda.note([news])

    def _attempt(self, enrichment: Enrichment, do: Callable[[], Counts]) -> Counts:
        """Nothing done where it raises: the items are free again, and the assets try them."""
        if self._ending.is_set():
            return Counts()
        try:
            if enrichment.task is None:
                counts = do()
            else:
                with self._model_locks[enrichment.task]:
                    counts = do()
        except Exception as error:  # noqa: BLE001 - whatever it is, other news goes on
            self._complaints.raised(enrichment.name, error)
            return Counts()
        if counts.reason:
            self._complaints.raised(enrichment.name, BlockedError(counts.reason))
        elif counts != Counts():
            self._complaints.passed(enrichment.name)
        return counts

    def _report(self) -> None:
        while not self._ending.wait(RETRY_S):
            self._tell()

    def _tell(self, *, is_last: bool = False) -> None:
        try:
            self._reporter.tell(now=datetime.now(UTC), is_last=is_last)
        except Exception as error:  # noqa: BLE001 - of many classes, and no reason to stop working
            self._complaints.raised("reports to Dagster", error)
        else:
            self._complaints.passed("reports to Dagster")


class BlockedError(Exception):
    """A model is missing; its items wait."""


def _sum(one: Counts, other: Counts) -> Counts:
    return Counts(
        enqueued=one.enqueued + other.enqueued,
        done=one.done + other.done,
        empty=one.empty + other.empty,
        failed=one.failed + other.failed,
        blocked=one.blocked + other.blocked,
        derived=one.derived + other.derived,
        reason=other.reason or one.reason,
    )
