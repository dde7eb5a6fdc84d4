"""The `am` command: the stack's own verbs, and the list of all others.

A verb that is not about the stack lives in its own module, named in `LATER`, which exposes
`app: typer.Typer` and is imported only when it is called: `am --help` has to come at once.
"""

import json
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from infra.deep import Examined
    from infra.stack import PartStatus, Stack

# command: (module, one line for `am --help`)
LATER = {
    "demo": ("infra.commands.demo", "Send one real day through the public doors, process it."),
    "models": ("infra.commands.models", "Pull and list the models' weights."),
    "key": ("infra.commands.key", "Create tokens for devices."),
    "keys": ("infra.commands.keys", "The keys that blobs are sealed with: list, rotate, reseal."),
    "pair": ("infra.commands.pair", "Make a code by which one device gets its token."),
    "connect": ("infra.commands.connect", "Print what to enter in another app."),
    "trust": ("infra.commands.trust", "Let in clients that can send no token."),
    "sql": ("infra.commands.sql", "Ask the lake and the database in SQL."),
    "search": ("infra.commands.search", "Find moments by words and meaning."),
    "day": ("infra.commands.day", "Print one day's digest."),
    "process": ("infra.commands.process", "Work off pending items now, without Dagster."),
    "backfill": ("infra.commands.backfill", "Compute a range of days again, through Dagster."),
    "dead-letters": ("infra.commands.dead_letters", "List, show and replay what was rejected."),
    "ledger": ("infra.commands.ledger", "Show that the counts add up."),
    "export": ("infra.commands.export", "Write down everything about one user."),
    "import": ("infra.commands.import_", "Take an export into this stack."),
    "backup": ("infra.commands.backup", "Keep everything of this stack in another folder."),
    "restore": ("infra.commands.restore", "Put a backup into an empty AM_HOME."),
    "retention": ("infra.commands.retention", "Let old days leave the database for the lake."),
    "blobs": ("infra.commands.blobs", "Which blobs may go, and their removal."),
    "erase": ("infra.commands.erase", "Erase a user's data, of a time or all, everywhere."),
    "hold": ("infra.commands.hold", "Keep what must not be removed."),
    "collect": ("infra.commands.collect", "Collect what happens on this desktop."),
}
WATCH_S = 1.0


class LazyGroup(TyperGroup):
    """Lists the verbs of `LATER` by their line, and imports one only when it is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The stack's own verbs first, then those that are installed."""
        later = [name for name, (module, _) in LATER.items() if _is_there(module)]
        return [*super().list_commands(ctx), *later]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A stand-in with its one line, enough for the help."""
        if cmd_name in LATER and _is_there(LATER[cmd_name][0]):
            return TyperCommand(cmd_name, help=LATER[cmd_name][1])
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The real thing, for a call."""
        if args and args[0] in LATER and _is_there(LATER[args[0]][0]):
            found = typer.main.get_command(import_module(LATER[args[0]][0]).app)
            found.name = args[0]
            return args[0], found, args[1:]
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run a verb, each behind the same border: what may go wrong is told in words."""
        with _telling():
            return super().invoke(ctx)


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even its package
        return False


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,  # they hold passwords
    help="AM: every digital time series one person has, kept, crunched and searchable.",
)


@app.command()
def up(
    detach: Annotated[bool, typer.Option("--detach", help="Return once all is ready.")] = False,
    tls_cert: Annotated[
        Path | None,
        typer.Option(exists=True, help="PEM: the API speaks TLS, from then on at every start."),
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(exists=True, help="PEM, of the certificate.")
    ] = None,
    is_tls: Annotated[bool, typer.Option("--tls/--no-tls", help="No more TLS.")] = True,
) -> None:
    """Start the stack; without --detach stay until Ctrl-C, then stop it."""
    from infra.home import require_whole  # noqa: PLC0415 - see the module docstring

    for number in (signal.SIGTERM, signal.SIGINT):  # a shell's background job ignores the latter
        signal.signal(number, signal.default_int_handler)
    if (tls_cert is None) != (tls_key is None):
        raise typer.BadParameter("--tls-cert and --tls-key belong together")
    given = {"tls_cert": tls_cert, "tls_key": tls_key, "is_tls": None if is_tls else False}
    stack = _stack(**{name: value for name, value in given.items() if value is not None})
    require_whole(stack.home)
    stack.start(_say)
    _say("stack", f"ready: {_addresses(stack)}")
    if detach:
        return
    _stay(stack)


@app.command()
def down() -> None:
    """Stop the stack; nothing of it keeps running."""
    _stack().stop(_say)
    _say("stack", "stopped")


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json")] = False,
    is_sizing: Annotated[
        bool, typer.Option("--sizes", help="Measure every stream in every store; takes seconds.")
    ] = False,
) -> None:
    """Show each part and how large all is; exit code 1 unless all are ready."""
    from infra.sizes import summary, told_lines  # noqa: PLC0415 - see the module docstring

    stack = _stack()
    if is_sizing:
        _print_sizes(stack, as_json=as_json)
        return
    found = stack.status()
    is_ready = all(part.is_ready for part in found)
    trusted = _trusted(stack, found)
    sizes = summary(stack.settings, is_database_ready=trusted is not None)
    if as_json:
        parts = [asdict(part) for part in found]
        told = {"is_ready": is_ready, "parts": parts, "trusted": trusted, "sizes": asdict(sizes)}
        typer.echo(json.dumps(told, indent=2, default=str))
    else:
        for part in found:
            typer.echo(_status_line(asdict(part)))
        typer.echo("\n".join([f"trusted: {_trusted_line(trusted)}", *told_lines(sizes)]))
    raise typer.Exit(0 if is_ready else 1)


def _print_sizes(stack: "Stack", *, as_json: bool) -> None:
    from infra import sizes  # noqa: PLC0415 - see the module docstring
    from infra.commands.printing import print_table, telling  # noqa: PLC0415

    with telling():
        found = sizes.measured(stack.settings)
    if as_json:
        typer.echo(json.dumps(sizes.as_json(found), indent=2))
        return
    print_table(sizes.TABLE_NAMES, sizes.table_rows(found.sizes))
    told = sizes.summary(stack.settings, is_database_ready=True)
    faults = [f"NOT MEASURED  {fault}" for fault in found.faults]
    typer.echo("\n".join([*faults, *sizes.told_lines(told)]))


def _trusted(stack: "Stack", parts: Iterable["PartStatus"]) -> list[str] | None:
    """Whom `am trust` lets in without a token; None while the database can't be asked."""
    import psycopg  # noqa: PLC0415 - see the module docstring

    from infra.commands.trust import trusted  # noqa: PLC0415
    from ingest_api.settings import StackNotFoundError  # noqa: PLC0415

    if any(part.name == "postgres" and not part.is_ready for part in parts):
        return None
    try:
        return trusted(stack.settings.connections().database_url)
    except (psycopg.Error, StackNotFoundError):
        return None


def _trusted_line(trusted: list[str] | None) -> str:
    if trusted is None:
        return "unknown, the database does not answer"
    return "; ".join(trusted) or "nobody without a token"


def _status_line(part: dict[str, Any]) -> str:
    sign = "ready " if part["is_ready"] else "NOT OK"
    uptime = "-" if part["uptime_s"] is None else f"{part['uptime_s']:.0f} s"
    memory = "-" if part["memory_mb"] is None else f"{part['memory_mb']} MB"
    where = f"pid {part['pid'] or '-':<8} port {part['port'] or '-':<6} up {uptime:<9} {memory:<8}"
    return f"{sign}  {part['name']:<15} {part['state']:<9} {where} {part['problem'] or ''}".rstrip()


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json")] = False,
    is_deep: Annotated[
        bool, typer.Option("--deep", help="Read back and compare everything that is stored.")
    ] = False,
    is_repairing: Annotated[
        bool, typer.Option("--repair", help="With --deep: make whole what can be.")
    ] = False,
    is_reopening: Annotated[
        bool,
        typer.Option("--reopen", help="With --deep: bring back rows that the database lost."),
    ] = False,
) -> None:
    """Say what is wrong and what to do; exit code 1 if anything is."""
    from infra.doctor import examine  # noqa: PLC0415 - see the module docstring

    if (is_repairing or is_reopening) and not is_deep:
        raise typer.BadParameter("--repair and --reopen belong to --deep")
    stack = _stack()
    findings = examine(stack)
    deep = _deep(stack, is_repairing or is_reopening, is_reopening) if is_deep else None
    is_well = all(finding.level != "error" for finding in findings)
    is_well = is_well and (deep is None or deep.is_well)
    if as_json:
        told: dict[str, Any] = {"is_well": is_well, "findings": [asdict(one) for one in findings]}
        if deep is not None:
            told["faults"] = [asdict(fault) for fault in deep.faults]
            told["repaired"] = [asdict(fault) for fault in deep.repaired]
        typer.echo(json.dumps(told, indent=2, default=str))
    else:
        for found in findings:
            todo = f"\n       → {found.todo}" if found.todo else ""
            typer.echo(f"{found.level:<6} {found.check}: {found.what}{todo}")
        for line in deep.lines() if deep else ():
            typer.echo(line)
    raise typer.Exit(0 if is_well else 1)


def _deep(stack: "Stack", is_repairing: bool, is_reopening: bool) -> "Examined":
    from infra.deep import Deep  # noqa: PLC0415 - see the module docstring

    connections = stack.settings.connections()
    deep = Deep(connections, on_progress=lambda what: typer.echo(f"looking: {what}", err=True))
    return deep.repair(is_reopening=is_reopening) if is_repairing else deep.examine()


@app.command()
def logs(
    part: Annotated[str | None, typer.Argument(help="One part; all without it.")] = None,
    is_following: Annotated[bool, typer.Option("-f", "--follow", help="Stay.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="Of each part.")] = 50,
) -> None:
    """Print the parts' logs."""
    from infra.logs import follow, tail  # noqa: PLC0415 - see the module docstring

    home = _stack().home
    paths = sorted(home.logs.glob("*.log")) if part is None else [home.log_of(part)]
    _require_logs(part, [path.exists() for path in paths], home.logs)
    for path in paths:
        for line in tail(path, lines=lines).splitlines():
            typer.echo(f"{path.stem:<15} {line}" if part is None else line)
    for name, line in follow(paths) if is_following else ():
        typer.echo(f"{name:<15} {line}" if part is None else line)


def _require_logs(part: str | None, exist: list[bool], folder: Any) -> None:
    if not exist or not all(exist):
        have = ", ".join(sorted(path.stem for path in folder.glob("*.log"))) or "none"
        raise typer.BadParameter(f"no log of {part or 'any part'} in {folder}; there are: {have}")


def _stack(**given: Any) -> "Stack":
    from infra.stack import Stack  # noqa: PLC0415 - see the module docstring
    from ingest_api.settings import Settings  # noqa: PLC0415

    settings = Settings(**given)
    return Stack(settings.home, settings=settings)


def _addresses(stack: "Stack") -> str:
    settings = stack.settings
    scheme = "https" if settings.tls_files() else "http"
    api = f"{scheme}://{settings.api_host}:{settings.api_port}"
    return f"API {api}, Dagster http://127.0.0.1:{settings.dagster_port}, home {stack.home.root}"


def _say(part: str, state: str) -> None:
    typer.echo(f"{part:<15} {state}")


def _stay(stack: "Stack") -> None:
    """Tell of changes until Ctrl-C or SIGTERM, then stop everything in order."""
    try:
        _watch(stack)
    except KeyboardInterrupt:
        for number in (signal.SIGTERM, signal.SIGINT):  # a second one must not leave half of it
            signal.signal(number, signal.SIG_IGN)
        stack.stop(_say)


def _watch(stack: "Stack") -> None:
    known: dict[str, str] = {}
    while found := stack.supervisor.states():
        for name, part in found.items():
            if known.setdefault(name, part.state) != part.state:
                _say(name, part.state.lower())
                known[name] = part.state
        time.sleep(WATCH_S)
    _say("stack", "was stopped from elsewhere")


@contextmanager
def _telling() -> Iterator[None]:
    """Turn what a person can do something about into one message and exit code 1."""
    try:
        yield
    except Exception as wrong:
        from infra.expected import words_for  # noqa: PLC0415 - see the module docstring

        words = words_for(wrong)
        if words is None:
            raise
        typer.echo(words, err=True)
        sys.exit(1)


if __name__ == "__main__":
    app()
