"""`am trust`: rules that let in clients which can send no token.

Such a client may write for one user, from one network, and do nothing else. There is no rule until
the owner makes one; `am status` shows them all.
"""

from typing import Annotated
from uuid import UUID

import psycopg
import typer

from infra.commands.printing import telling
from ingest_api.settings import Settings
from ingest_api.trust import TrustRule, add_rule, list_rules, read_network, remove_rule

app = typer.Typer(no_args_is_help=True, help="Let in clients that can send no token.")


@app.command()
def add(
    user: Annotated[str, typer.Option(help="Whose data they may write.")],
    network: Annotated[str, typer.Option(help="Where from: 192.168.1.0/24, or one address.")],
    device: Annotated[str | None, typer.Option(help="The one device; any without it.")] = None,
    key: Annotated[str | None, typer.Option(help="A key that they must send; kept hashed.")] = None,
) -> None:
    """Make a rule. Whoever is in that network can then write as that user: use it at home."""
    with telling(), psycopg.connect(Settings().connections().database_url) as connection:
        try:
            where = read_network(network)
            trust_id = add_rule(connection, user_id=user, network=where, device_id=device, key=key)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
    typer.echo(trust_id)
    if where.is_global:
        typer.echo(f"{where} is a part of the internet: a token is safer there", err=True)


@app.command("list")
def list_() -> None:
    """Show all rules and when each was used last."""
    with telling(), psycopg.connect(Settings().connections().database_url) as connection:
        rules = list_rules(connection)
    for rule in rules:
        typer.echo(_line(rule))
    if not rules:
        typer.echo("nobody is let in without a token", err=True)


@app.command()
def remove(trust_id: UUID) -> None:
    """Let nobody in by a rule any more, within seconds."""
    with telling(), psycopg.connect(Settings().connections().database_url) as connection:
        if not remove_rule(connection, trust_id):
            raise typer.BadParameter(f"there is no rule {trust_id}: see `am trust list`")


def trusted(database_url: str) -> list[str]:
    """All rules as phrases, for `am status`; none = nobody is let in without a token.

    Raises: psycopg.Error.
    """
    with psycopg.connect(database_url, connect_timeout=3) as connection:
        return [str(rule) for rule in list_rules(connection)]


def _line(rule: TrustRule) -> str:
    used = f"{rule.last_used_at:%F %T}" if rule.last_used_at else "never"
    return f"{rule.trust_id}  {rule}  last used {used}"
