"""`am erase`: what one user's data of a time is in every store, and its end, with a receipt."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.commands.printing import RefusedError, print_table, telling
from infra.errors import StackError
from infra.home import Home, load_state, write_private
from infra.signing import SignatureError, public_key, sign, verify, verify_by
from ingest_api.settings import Settings

if TYPE_CHECKING:
    from resources.erasure import Asked, Erasures, Plan
    from resources.erasure_rows import Scope

app = typer.Typer(help="Erase a user's data, of a time or all of it, everywhere.")
RECEIPTS = "receipts"


@app.command()
def erase(  # noqa: PLR0913, PLR0917 - a command's options are its arguments
    user: Annotated[str | None, typer.Option("--user", help="Whose data.")] = None,
    begin: Annotated[
        str | None, typer.Option("--from", help="A UTC day or time; all before --to without it.")
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--to", help="A day, which is erased as well, or a time, until before it."),
    ] = None,
    is_dry: Annotated[
        bool, typer.Option("--dry-run", help="Count what there is and change nothing.")
    ] = False,
    is_sure: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    receipt: Annotated[
        Path | None, typer.Option("--verify", help="Check a receipt instead of erasing.")
    ] = None,
    is_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Erase one user's data; without --from and --to the user goes, with tokens and keys."""
    if receipt is not None:
        _verify(receipt)
        return
    if user is None:
        raise typer.BadParameter("say whose data with --user")
    scope = scope_of(user, begin, end)
    with telling(), _refusing():
        settings = Settings()
        erasures = _erasures(settings)
        plan = erasures.plan(scope)
        if is_dry:
            _print_plan(plan, is_json=is_json)
            return
        if not (is_sure or plan.is_empty):
            _print_plan(plan, is_json=False)
            typer.confirm("Erase this for good?", abort=True)
        signed = carry_out(erasures, erasures.begin(scope), settings)
    path = _keep(settings, signed)
    typer.echo(json.dumps(signed, indent=2) if is_json else _told(signed, path))


def scope_of(user: str, begin: str | None, end: str | None) -> "Scope":
    """Whose and when. A day as the end is erased as well. Raises: typer.BadParameter."""
    from resources.erasure_rows import Scope  # noqa: PLC0415 (heavy)

    found = Scope(user, _instant(begin, is_end=False), _instant(end, is_end=True))
    if found.begin and found.end and found.begin >= found.end:
        raise typer.BadParameter("--to has to be later than --from")
    return found


def carry_out(erasures: "Erasures", asked: "Asked", settings: Settings) -> dict[str, Any]:
    """All steps of an erasure and its signed receipt.

    Raises: as `Erasures.run`, and resources.erasure_storage.BusyError, StackError.
    """
    from resources.erasure_storage import rewrite  # noqa: PLC0415 (heavy)

    connections = settings.connections()
    say = partial(typer.echo, err=True)
    done = erasures.run(asked, lambda step: say(f"erasing: {step}"))
    say("erasing: files")
    storage: dict[str, Any] = {"tables": rewrite(connections.database_url, erasures.touched(done))}
    if embedded := _embedded(settings):
        storage |= embedded.clean()
    signed = erasures.finish(
        done,
        storage={**storage, "public_key": public_key(settings.home)},
        sign=partial(sign, settings.home),
    )
    rewrite(connections.database_url, ["am.erasure_todo"])
    if done.counts.get("digests"):
        _renew_digests(settings, asked.scope)
    return signed


def _renew_digests(settings: Settings, scope: "Scope") -> None:
    """Make again what went of local days of which a part stays: those near the edges."""
    from am_assets.out.day_digest import digests_of, keep_digests  # noqa: PLC0415 (heavy)
    from am_assets.streams.registry import REGISTRY  # noqa: PLC0415
    from resources.whole import WholeStore  # noqa: PLC0415

    connections = settings.connections()
    for day in scope.days_at_edges():
        made = digests_of(WholeStore(connections), REGISTRY, day, now=datetime.now(UTC))
        keep_digests(connections, day, made)


def _embedded(settings: Settings) -> Any:
    from infra.erasing import EmbeddedStorage  # noqa: PLC0415 (heavy)

    home = Home.at(settings.home)
    state = load_state(home)
    return EmbeddedStorage(home, state, settings.connections()) if state else None


def _erasures(settings: Settings) -> "Erasures":
    from am_assets.streams.registry import REGISTRY  # noqa: PLC0415 (heavy)
    from resources.erasure import Erasures  # noqa: PLC0415

    return Erasures(settings.connections(), REGISTRY)


@contextmanager
def _refusing() -> Iterator[None]:
    """Turn what stops an erasure into one message and exit code 1; run again, it goes on."""
    from resources.blobs import BlobError  # noqa: PLC0415 (heavy)
    from resources.erasure import ErasureError  # noqa: PLC0415
    from resources.erasure_storage import BusyError  # noqa: PLC0415
    from resources.lake import ReceiptError  # noqa: PLC0415
    from resources.retention import RetentionError  # noqa: PLC0415

    try:
        yield
    except (ErasureError, BusyError, BlobError, ReceiptError, RetentionError, StackError) as error:
        raise RefusedError(str(error)) from error


def _instant(text: str | None, *, is_end: bool) -> datetime | None:
    """A day is a UTC day: its beginning, and as an end the beginning of the next."""
    if text is None:
        return None
    try:
        day = date.fromisoformat(text) if len(text) == len("2026-05-04") else None
        parsed = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no day or time like 2026-05-04T12:00Z") from error
    if day is not None:
        return parsed.replace(tzinfo=UTC) + timedelta(days=1 if is_end else 0)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _print_plan(plan: "Plan", *, is_json: bool) -> None:
    tiers: Mapping[str, Mapping[str, int]] = {
        "rows": plan.rows,
        "lake": plan.lake,
        "digests": {"days": plan.digests},
        "vectors": plan.vectors,
        "blobs": {"objects": plan.blobs, "bytes": plan.blob_bytes},
        "records": plan.records,
    }
    if is_json:
        typer.echo(json.dumps(tiers, indent=2))
        return
    lines = [(tier, name, n) for tier, counts in tiers.items() for name, n in counts.items() if n]
    print_table(("tier", "of", "count"), lines, title=f"of {plan.scope.user_id}")


def _keep(settings: Settings, signed: Mapping[str, Any]) -> Path:
    folder = settings.home / RECEIPTS
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"erasure-{signed['receipt']['erasure_id']}.json"
    write_private(path, json.dumps(signed, indent=2) + "\n")
    return path


def _told(signed: Mapping[str, Any], path: Path) -> str:
    receipt = signed["receipt"]
    counts = [
        f"{sum(found.values())} {tier}" if tier != "blobs" else f"{found['objects']} blobs"
        for tier, found in receipt["erased"].items()
    ]
    arrived = "; data has arrived since" if receipt["left"] else ""
    return f"erased: {', '.join(counts) or 'there was nothing'}{arrived}. Signed receipt: {path}"


def _verify(path: Path) -> None:
    """Exit code 1 unless this home signed the receipt, or else the key that it names did."""
    from resources.erasure import signed_bytes  # noqa: PLC0415 (heavy)

    home = Settings().home
    try:
        found = json.loads(path.read_text())
        message, signature = signed_bytes(found["receipt"]), str(found["signature"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise typer.BadParameter(f"{path} is no receipt of an erasure: {error!r}") from error
    try:
        verify(home, message, signature)
        typer.echo(f"{path.name}: signed by this home, unchanged")
    except SignatureError as error:
        named = str(found["receipt"].get("storage", {}).get("public_key", ""))
        try:
            verify_by(named, message, signature)
        except SignatureError:
            typer.echo(f"{path.name}: {error}", err=True)
        else:
            typer.echo(
                f"{path.name}: unchanged, but signed by another home's key {named}", err=True
            )
        raise typer.Exit(1) from error
