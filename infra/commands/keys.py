"""`am keys`: what blobs are sealed with.

Each user has data keys; the master key wraps them. A new data key seals what comes from then on,
and `--reseal` puts the rest under it too.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any

import typer

from infra.commands.printing import AsJson, print_table, telling
from infra.master_key import renew
from ingest_api.settings import Settings
from resources.blobs import BlobError
from resources.keys import KeyLine, KeyRing, KeyRingError
from resources.master_keys import FileMasterKey, new_master_key
from resources.resealing import Resealed, Resealing, ToSeal

app = typer.Typer(no_args_is_help=True, help="The keys that blobs are sealed with.")
User = Annotated[str | None, typer.Option("--user", help="Of this user; of all without it.")]


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """Show all data keys, the master key's id, and what is not under a newest key yet."""
    with _telling():
        settings = Settings()
        connections = settings.connections()
        ring = KeyRing(connections)
        lines, to_do = ring.lines(), Resealing(connections).to_do()
        master_id = settings.master().master_id
        ring.check()
    if as_json:
        keys = [_plain(line) for line in lines]
        left = [vars(one) for one in to_do]
        typer.echo(json.dumps({"master_id": master_id, "keys": keys, "to_seal": left}, indent=2))
        return
    rows = [list(_plain(line).values()) for line in lines]
    print_table(["user", "key", "master key", "made", "retired", "destroyed"], rows)
    typer.echo(f"master key {master_id}", err=True)
    _tell_left(to_do)


@app.command()
def rotate(
    user: User = None,
    is_master: Annotated[bool, typer.Option("--master", help="The master key instead.")] = False,
    is_resealing: Annotated[
        bool, typer.Option("--reseal", help="Put what is there under the new keys at once.")
    ] = False,
) -> None:
    """Make new data keys, or (--master) put the data keys under a new master key."""
    if is_master and (user or is_resealing):
        raise typer.BadParameter("--master touches no blob: it goes with neither of the others")
    with _telling():
        settings = Settings()
        ring = KeyRing(settings.connections())
        if is_master:
            _rotate_master(settings, ring)
            return
        known = sorted({line.user_id for line in ring.lines()})
        if user and user not in known:
            raise typer.BadParameter(f"{user} has no key: `am keys list` shows whose there are")
        for user_id in [user] if user else known:
            typer.echo(f"{user_id}  {ring.rotate(user_id).key_id}")
    if is_resealing:
        reseal(user)


@app.command()
def reseal(user: User = None) -> None:
    """Seal what is in the clear or under a retired key; exit code 1 where blobs are damaged.

    It may be ended at any time and goes on where it was.
    """
    with _telling():
        resealing = Resealing(Settings().connections())
        _tell_left(resealing.to_do(user))
        done = resealing.run(user, on_progress=_tell_progress)
    typer.echo(f"{done.sealed_count} sealed, {done.gone_count} gone meanwhile")
    for key in done.damaged:
        typer.echo(f"damaged, left as it is: {key}", err=True)
    raise typer.Exit(1 if done.damaged else 0)


@app.command()
def new() -> None:
    """Print a fresh master key, for AM_MASTER_KEY. It is kept nowhere."""
    typer.echo(new_master_key())


def _rotate_master(settings: Settings, ring: KeyRing) -> None:
    master = settings.master()
    if isinstance(master, FileMasterKey):
        aside = master.aside(master.master_id)
        count = ring.rewrap(partial(renew, master))
        todo = (
            f"Back up {master.path}. The earlier one is {aside}: backups made before need it; "
            "remove it once there are none."
        )
    else:
        count = ring.rewrap()
        todo = (
            "For another master key set AM_MASTER_KEY to it (`am keys new` prints one) and "
            "AM_MASTER_KEYS_OLD to the one before, restart, and call this again."
        )
    typer.echo(f"{count} data keys were put under the master key {master.master_id}")
    typer.echo(todo, err=True)


def _tell_left(to_do: Iterable[ToSeal]) -> None:
    for one in to_do:
        typer.echo(
            f"{one.user_id}: {one.in_the_clear} blobs in the clear, {one.under_older_keys} under "
            "retired keys (`am keys reseal`)",
            err=True,
        )


def _tell_progress(done: Resealed) -> None:
    if done.sealed_count and done.sealed_count % 1_000 == 0:
        typer.echo(f"{done.sealed_count} sealed", err=True)


def _plain(line: KeyLine) -> dict[str, Any]:
    times = (line.created_at, line.retired_at, line.destroyed_at)
    made, retired, destroyed = (at.isoformat(timespec="seconds") if at else None for at in times)
    return {
        "user_id": line.user_id,
        "key_id": str(line.key_id),
        "master_id": line.master_id,
        "created_at": made,
        "retired_at": retired,
        "destroyed_at": destroyed,
    }


@contextmanager
def _telling() -> Iterator[None]:
    """Turn what is expected to go wrong into one message and exit code 1."""
    with telling():
        try:
            yield
        except (BlobError, KeyRingError) as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(1) from error
