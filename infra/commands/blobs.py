"""`am blobs`: which blobs may go, and their removal."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.commands.printing import AsJson, RefusedError, plain, print_table, telling
from ingest_api.settings import Settings

if TYPE_CHECKING:
    from resources.blob_plan import Plan
    from resources.blob_retention import BlobRetention

app = typer.Typer(no_args_is_help=True, help="Which blobs may go, and their removal.")
Shown = Annotated[int, typer.Option("--limit", min=0, help="Lines; the sums are over all.")]
NO_MORE = "nothing of what is left goes by itself: raise AM_BLOB_BUDGET_GB, or `am erase`"


@app.command("plan")
def plan_(limit: Shown = 20, is_json: AsJson = False) -> None:
    """Tell what would go now, why, and how many bytes that are. Removes nothing."""
    with telling():
        found = _retention().plan(now=datetime.now(UTC))
    if is_json:
        typer.echo(json.dumps(_told(found, limit=limit), default=plain, indent=2))
        return
    lines = [
        (one.ground.value, one.user_id, one.stream, one.begin, one.byte_count, one.reason)
        for one in found.removals[:limit]
    ]
    if lines:
        print_table(["kind", "user", "stream", "from", "bytes", "why"], lines)
    if len(found.removals) > limit:
        typer.echo(f"and {len(found.removals) - limit} more: `--limit` shows them")
    _print_sums(found, would="would go")


@app.command()
def prune(is_json: AsJson = False) -> None:
    """Remove what `am blobs plan` tells; the assets do it every night."""
    from resources.blobs import BlobUnreachableError  # noqa: PLC0415 (heavy)

    with telling():
        try:
            pruned = _retention().prune(now=datetime.now(UTC))
        except BlobUnreachableError as error:
            raise RefusedError(f"{error}; what is left goes at the next call") from error
    if is_json:
        told = {
            "removed_count": pruned.removed_count,
            "removed_bytes": pruned.removed_bytes,
            "kept_count": pruned.kept_count,
            "over_bytes": pruned.plan.over_bytes,
        }
        typer.echo(json.dumps(told, indent=2))
        return
    _print_sums(pruned.plan, would="gone")
    if pruned.kept_count:
        typer.echo(f"{pruned.kept_count} stay after all: held, or needed again in the meantime")


def _retention() -> "BlobRetention":
    """Raises: RefusedError for rules that can't be."""
    from am_assets.streams.registry import UnknownStreamError  # noqa: PLC0415 (heavy)
    from am_assets.upkeep.blob_retention import blob_retention  # noqa: PLC0415

    settings = Settings()
    try:
        return blob_retention(settings.connections(), settings.blob_rules())
    except (ValueError, UnknownStreamError) as error:
        raise RefusedError(f"AM_BLOB_KEEP_DAYS: {error}") from error


def _print_sums(found: "Plan", *, would: str) -> None:
    from am_assets.upkeep.blob_retention import by_ground  # noqa: PLC0415 (heavy)

    for ground, (count, byte_count) in by_ground(found.removals).items():
        typer.echo(f"{would}: {count} of {ground}, {byte_count:,} bytes")
    if not found.removals:
        typer.echo(f"{would}: nothing")
    for ground, (count, byte_count) in by_ground(found.held).items():
        typer.echo(f"held: {count} of {ground}, {byte_count:,} bytes (`am hold list`)")
    left = found.used_bytes - found.freed_bytes
    budget = "no budget" if found.budget_bytes is None else f"budget {found.budget_bytes:,}"
    typer.echo(f"blobs: {found.used_bytes:,} bytes, {left:,} after that, {budget}")
    if found.over_bytes:
        typer.echo(f"{found.over_bytes:,} bytes above the budget after that: {NO_MORE}")


def _told(found: "Plan", *, limit: int) -> Mapping[str, Any]:
    from am_assets.upkeep.blob_retention import by_ground  # noqa: PLC0415 (heavy)

    return {
        "used_bytes": found.used_bytes,
        "budget_bytes": found.budget_bytes,
        "freed_bytes": found.freed_bytes,
        "over_bytes": found.over_bytes,
        "going": {name: _sum(*sums) for name, sums in by_ground(found.removals).items()},
        "held": {name: _sum(*sums) for name, sums in by_ground(found.held).items()},
        "removals": [
            {
                "blob_key": one.blob_key,
                "byte_count": one.byte_count,
                "begin": one.begin,
                "ground": one.ground,
                "reason": one.reason,
                "kept_key": one.kept_key,
            }
            for one in found.removals[:limit]
        ],
    }


def _sum(count: int, byte_count: int) -> Mapping[str, int]:
    return {"count": count, "byte_count": byte_count}
