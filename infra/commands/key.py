"""`am key`: tokens for devices and people."""

from typing import Annotated
from uuid import UUID

import psycopg
import typer

from ingest_api.settings import Settings
from ingest_api.tokens import Scope, create_token, list_tokens, revoke_token

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke tokens.")


@app.command()
def create(
    user: Annotated[str, typer.Option(help="Whose data the token writes or reads.")],
    device: Annotated[str, typer.Option(help="The one device it is for; '*' for all.")],
    scope: Annotated[list[Scope] | None, typer.Option(help="write, read, sql or admin.")] = None,
) -> None:
    """Make a token and print it; it is kept as a hash and can't be shown again."""
    with psycopg.connect(Settings().connections().database_url) as connection:
        try:
            token = create_token(
                connection,
                user_id=user,
                device_id=device,
                scopes=frozenset(scope or [Scope.WRITE]),
            )
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
    typer.echo(token)


@app.command("list")
def list_() -> None:
    """Show all tokens' owners, scopes and last use."""
    with psycopg.connect(Settings().connections().database_url) as connection:
        for token in list_tokens(connection):
            state = f"revoked {token.revoked_at:%F %T}" if token.revoked_at else "valid"
            used = f"{token.last_used_at:%F %T}" if token.last_used_at else "never"
            typer.echo(
                f"{token.token_id}  {token.user_id}  {token.device_id or '*'}  "
                f"{','.join(token.scopes)}  {state}  last used {used}"
            )


@app.command()
def revoke(token_id: UUID) -> None:
    """Make a token worthless, within seconds."""
    with psycopg.connect(Settings().connections().database_url) as connection:
        if not revoke_token(connection, token_id):
            raise typer.BadParameter(f"there is no valid token {token_id}: see `am key list`")
