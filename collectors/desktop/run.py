"""Collecting as a whole: sources, rules, spool and sender put together, until a signal."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from collectors.desktop.access import Access
from collectors.desktop.clock import look_at_clocks
from collectors.desktop.collector import Collector, OneThread
from collectors.desktop.errors import SourceUnavailableError, SpoolError
from collectors.desktop.exclusions import Exclusions
from collectors.desktop.machine import Machine
from collectors.desktop.sender import HeldUpError, Sender
from collectors.desktop.settings import CollectSettings, Folders
from collectors.desktop.sinks import PrintSink, Sink, SpoolSink
from collectors.desktop.sources.source import Source
from collectors.desktop.spool import Spool, alone

log = logging.getLogger(__name__)

FAREWELL_S = 5.0


@dataclass(frozen=True)
class Plan:
    """What is to be collected, where and by which rules. `names` None = all that is enabled."""

    machine: Machine
    settings: CollectSettings
    folders: Folders
    names: Sequence[str] | None = None
    is_once: bool = False

    @property
    def exclusions(self) -> Exclusions:
        """The rules."""
        return self.settings.exclude.rules()

    def sources(self) -> list[Source]:
        """What is looked at."""
        named = None if self.names is None else list(self.names)
        return self.machine.sources(self.settings, self.exclusions, names=named)


def availability(plan: Plan) -> dict[str, str | None]:
    """Each source, and why it can't run here; None = it can. Nothing is collected."""
    return {source.name: _why_not(source) for source in plan.sources()}


def _why_not(source: Source) -> str | None:
    try:
        source.open()
    except SourceUnavailableError as error:
        return str(error)
    finally:
        source.close(look_at_clocks())
    return None


def dry_run(plan: Plan, show: Callable[[str], None], *, device_id: str) -> None:
    """Show what would be sent, line by line; nothing is stored."""
    asyncio.run(_collect(plan, PrintSink(show, device_id=device_id), sender=None))


def collect(plan: Plan, access: Access) -> bool:
    """Collect and send, once or until a signal; whether nothing is left to send.

    Raises: AlreadyCollectingError, SpoolError.
    """
    with alone(plan.folders.state):
        spool = Spool(plan.folders.spool)
        try:
            asyncio.run(_collect_and_send(plan, spool, access))
            return not spool.oldest(1)
        finally:
            spool.close()


async def _collect_and_send(plan: Plan, spool: Spool, access: Access) -> None:
    sink = SpoolSink(spool, plan.settings.spool, device_id=access.device_id)
    in_thread = OneThread()
    sender = Sender(spool, access, run=in_thread)
    try:
        await _collect(plan, sink, sender=sender, in_thread=in_thread)
        await _send_the_rest(sender, is_patient=plan.is_once)
    finally:
        await sender.close()
        in_thread.close()


async def _send_the_rest(sender: Sender, *, is_patient: bool) -> None:
    """One more try before leaving; what it does not reach waits for the next start."""
    try:
        async with asyncio.timeout(None if is_patient else FAREWELL_S):
            await sender.send_all()
    except (HeldUpError, TimeoutError) as error:
        log.warning("what waits is sent at the next start: %s", error)
    except SpoolError:
        log.exception("the spool can't be read; what waits is sent at the next start")


async def _collect(
    plan: Plan, sink: Sink, *, sender: Sender | None, in_thread: OneThread | None = None
) -> None:
    watch = plan.machine.lock_watch()
    collector = Collector(plan.sources(), plan.exclusions, sink, is_locked=watch.is_locked)
    thread = in_thread or OneThread()
    try:
        if plan.is_once:
            await _once(collector, thread)
        else:
            await _on_and_on(plan, collector, thread, sender)
    finally:
        await thread(watch.close)


async def _once(collector: Collector, thread: OneThread) -> None:
    """Each source one turn, and another to those that hold something back for a while."""
    names = collector.due()
    await thread(partial(collector.take_turns, names))
    for name, wait_s in sorted(collector.held().items()):
        await asyncio.sleep(wait_s)
        await thread(partial(collector.take_turns, [name]))
    await thread(collector.close)


async def _on_and_on(
    plan: Plan, collector: Collector, thread: OneThread, sender: Sender | None
) -> None:
    fresh = asyncio.Event()
    fresh.set()  # what an earlier run has left
    async with _stopping() as stop:
        sending = None
        if sender is not None:
            every_s = plan.settings.send_every_s
            sending = asyncio.create_task(sender.keep_sending(fresh, every_s=every_s))
            sending.add_done_callback(lambda _: stop.set())  # collecting alone would hide the error
        try:
            await collector.run(stop, in_thread=thread, on_kept=fresh.set)
        finally:
            if sending is not None:
                sending.cancel()
                await asyncio.wait([sending])
        if sending is not None and not sending.cancelled():
            sending.result()


@asynccontextmanager
async def _stopping() -> AsyncIterator[asyncio.Event]:
    """Set by Ctrl-C and by systemd."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
