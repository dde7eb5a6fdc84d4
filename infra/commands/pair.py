"""`am pair`: an invitation for one device."""

from typing import Annotated

import psycopg
import typer

from ingest_api.pairing import VALID_FOR, create_invite
from ingest_api.settings import Settings

app = typer.Typer(help="Make a code by which one device gets its token.")


@app.callback(invoke_without_command=True)
def pair(user: Annotated[str, typer.Option(help="Whose data the device will write.")]) -> None:
    """Print a code that works once, within 7 days; it is kept as a hash and can't be shown again.

    The device sends it: POST /v1/pair {"code": …, "device_id": …, "name": …}.
    """
    with psycopg.connect(Settings().connections().database_url) as connection:
        try:
            code = create_invite(connection, user_id=user)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
    typer.echo(code)
    typer.echo(f"for one device of {user}, within {VALID_FOR.days} days", err=True)
