"""`am collect`: what happens on this desktop, sent to AM, on this machine or another."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from collectors.desktop import service
from collectors.desktop.access import Access, load_access, pair, save_access
from collectors.desktop.errors import CollectError, SettingsError
from collectors.desktop.machine import Machine
from collectors.desktop.run import Plan, availability, collect, dry_run
from collectors.desktop.settings import (
    MIB,
    SOURCES,
    CollectSettings,
    Folders,
    default_device,
    read_settings,
)
from collectors.desktop.spool import Report, Spool, alone

DEFAULT_URL = "http://127.0.0.1:8000"
MAX_REFUSED_SHOWN = 20
app = typer.Typer(help="Collect what happens on this desktop.")


@dataclass(frozen=True)
class Desktop:
    """This machine, its settings and folders."""

    machine: Machine
    folders: Folders
    settings: CollectSettings
    device_id: str
    url: str | None

    def plan(self, names: str | None, *, is_once: bool = False) -> Plan:
        """What is to be collected."""
        return Plan(self.machine, self.settings, self.folders, _named(names), is_once)

    def access(self, *, code: str | None, token: str | None) -> Access:
        """How to be let in: by a new code, a token that is told, or what was kept.

        Raises: PairingError, SettingsError.
        """
        kept = load_access(self.folders.access) if not (code or token) else None
        if kept is not None:
            return kept if self.url is None else kept.model_copy(update={"url": self.url})
        url = self.url or DEFAULT_URL
        if code:
            access = pair(url, code=code, device_id=self.device_id)
        elif token:
            access = Access(url=url, token=token, device_id=self.device_id)
        else:
            raise SettingsError(
                "this machine is not paired: make a code with `am pair --user U` where AM runs,"
                " then `am collect --url URL --pair CODE` here"
            )
        save_access(self.folders.access, access)
        return access


@app.command("collect")
def collect_(  # noqa: PLR0913 - each is one option of the command
    *,
    url: Annotated[str | None, typer.Option(help="Where AM answers.")] = None,
    code: Annotated[str | None, typer.Option("--pair", help="A code of `am pair`.")] = None,
    token: Annotated[str | None, typer.Option(help="A token, or - to read it.")] = None,
    device: Annotated[str | None, typer.Option(help="What AM calls this machine.")] = None,
    names: Annotated[str | None, typer.Option("--sources", help="Only these: a,b.")] = None,
    settings: Annotated[Path | None, typer.Option(help="Another settings file.")] = None,
    is_once: Annotated[bool, typer.Option("--once", help="One look, one sending.")] = False,
    is_list: Annotated[bool, typer.Option("--list", help="Which sources can run here.")] = False,
    is_status: Annotated[bool, typer.Option("--status", help="What waits, what went.")] = False,
    is_dry: Annotated[bool, typer.Option("--dry-run", help="Show, store nothing.")] = False,
    is_again: Annotated[bool, typer.Option("--retry-refused", help="Send these again.")] = False,
    is_install: Annotated[bool, typer.Option("--install-service", help="For systemd.")] = False,
    is_uninstall: Annotated[bool, typer.Option("--uninstall-service", help="Undo it.")] = False,
) -> None:
    """Collect until Ctrl-C: windows, idle times, clipboard, screenshots, battery, network, apps.

    What the rules exclude is never stored. What can't be sent waits in a spool on this machine.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with _telling():
        desktop = _desktop(settings, url=url, device=device)
        if is_list:
            _list(desktop.plan(names))
        elif is_status:
            _status(desktop.folders.spool)
        elif is_again:
            _again(desktop.folders)
        elif is_uninstall:
            _uninstall(desktop.folders.unit)
        elif is_dry:
            plan = desktop.plan(names, is_once=is_once)
            dry_run(plan, typer.echo, device_id=desktop.device_id)
        else:
            plan = desktop.plan(names, is_once=is_once)
            told = sys.stdin.readline().strip() if token == "-" else token  # noqa: S105 # nosec B105
            access = desktop.access(code=code, token=told)
            if is_install:
                _install(desktop.folders.unit, names=names, settings=settings)
            else:
                _collect(plan, access)


def _desktop(settings: Path | None, *, url: str | None, device: str | None) -> Desktop:
    home = Path.home()
    folders = Folders.of(os.environ, home=home)
    found = read_settings(settings or folders.settings, is_required=settings is not None)
    return Desktop(
        machine=Machine(os.environ, home),
        folders=folders,
        settings=found,
        device_id=device or found.device or default_device(),
        url=url or found.url,
    )


def _named(names: str | None) -> list[str] | None:
    if names is None:
        return None
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = sorted(set(wanted) - set(SOURCES))
    if unknown or not wanted:
        told = f"no source {', '.join(unknown)}; there are: {', '.join(SOURCES)}"
        raise SettingsError(told)
    return wanted


def _list(plan: Plan) -> None:
    for name, why_not in availability(plan).items():
        typer.echo(f"{name:<12} {'ready' if why_not is None else f'no: {why_not}'}")


def _collect(plan: Plan, access: Access) -> None:
    typer.echo(f"collecting as {access.device_id} for {access.url}; Ctrl-C ends it", err=True)
    is_all_sent = collect(plan, access)
    if plan.is_once and not is_all_sent:
        typer.echo("not all was sent; it waits for the next time", err=True)
        raise typer.Exit(1)


def _status(path: Path) -> None:
    if not path.exists():
        typer.echo("nothing was collected yet")
        return
    spool = Spool(path)
    try:
        report = spool.report()
    finally:
        spool.close()
    for line in status_lines(report):
        typer.echo(line)


def status_lines(report: Report) -> Iterator[str]:
    """The spool in words: what waits, what the server refuses, and the fate of all else."""
    since = f" since {report.waiting_since}" if report.waiting_since else ""
    yield f"waiting: {report.waiting}{since}, {report.byte_count / MIB:.1f} MiB"
    for tally in report.tallies:
        told = f" ({tally.reason})" if tally.reason else ""
        yield f"{tally.fate.replace('_', ' ')}: {tally.count} {tally.source}{told}"
    yield f"refused: {len(report.refused)}"
    for refused in report.refused[:MAX_REFUSED_SHOWN]:
        yield f"  {refused.refused_at} {refused.stream} {refused.status}: {refused.reason}"
    if len(report.refused) > MAX_REFUSED_SHOWN:
        yield f"  … and {len(report.refused) - MAX_REFUSED_SHOWN} more"


def _again(folders: Folders) -> None:
    with alone(folders.state):
        spool = Spool(folders.spool)
        try:
            typer.echo(f"{spool.send_again()} messages wait to be sent again")
        finally:
            spool.close()


def _install(unit: Path, *, names: str | None, settings: Path | None) -> None:
    command = [str(Path(sys.argv[0]).absolute()), "collect"]
    command += [] if names is None else ["--sources", names]
    command += [] if settings is None else ["--settings", str(settings.absolute())]
    service.install(unit, service.unit_text(command))
    typer.echo(f"written: {unit}")
    _tell(service.RELOAD, service.ENABLE)


def _uninstall(unit: Path) -> None:
    if not unit.exists():
        typer.echo(f"there is no service: {unit}")
        return
    _tell(service.DISABLE)
    unit.unlink()
    typer.echo(f"removed: {unit}")
    _tell(service.RELOAD)


def _tell(*commands: tuple[str, ...]) -> None:
    """Have systemd know of it; where it can't be told, say what to type."""
    for line in service.tell_systemd(*commands, runtime=os.environ.get("XDG_RUNTIME_DIR")):
        typer.echo(f"now type: {line}")


@contextmanager
def _telling() -> Iterator[None]:
    """Turn what is expected to go wrong into one message and exit code 1."""
    try:
        yield
    except CollectError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
