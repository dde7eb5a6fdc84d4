"""`am pair`: an invitation for one device, as a code and as a QR code that a phone opens."""

from typing import Annotated

import psycopg
import typer

from infra.commands.connect import LOOPBACK, qr_code
from ingest_api.pairing import VALID_FOR, create_invite
from ingest_api.settings import Settings

app = typer.Typer(help="Make a code by which one device gets its token.")
NOT_REACHED = "This address is of this machine alone: pass --url with one the device reaches."
NOT_SAFE = (
    "Browsers let a page collect over HTTPS only (but on this machine itself): start AM with "
    "`am up --tls-cert … --tls-key …`, and pass --url https://…"
)


@app.callback(invoke_without_command=True)
def pair(
    user: Annotated[str, typer.Option(help="Whose data the device will write.")],
    url: Annotated[str | None, typer.Option(help="Where the device reaches AM.")] = None,
) -> None:
    """Print a code that works once, within 7 days; it is kept as a hash and can't be shown again.

    A phone opens the QR code, which leads to the collector's page. Any other device sends the code:
    POST /v1/pair {"code": …, "device_id": …, "name": …}.
    """
    settings = Settings()
    base = (url or settings.api_url).rstrip("/")
    with psycopg.connect(settings.connections().database_url) as connection:
        try:
            code = create_invite(connection, user_id=user)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
    typer.echo(code)
    typer.echo(described(base, code=code, user=user), err=True)


def collector_link(base: str, *, code: str) -> str:
    """The collector's page with the code. A fragment is never sent, so that no log holds it."""
    return f"{base}/collect/#pair={code}"


def described(base: str, *, code: str, user: str) -> str:
    """All but the code itself: whom it is for, the link and its QR code, what stands in the way."""
    link = collector_link(base, code=code)
    lines = [
        f"for one device of {user}, within {VALID_FOR.days} days",
        "",
        f"To collect with a phone's browser, open there: {link}",
        "",
        qr_code(link),
    ]
    return "\n".join(lines + [f"\n{problem}" for problem in problems(base)])


def problems(base: str) -> list[str]:
    """Why a phone's browser would not collect from this address."""
    found = [NOT_REACHED] if any(f"//{host}" in base for host in LOOPBACK) else []
    return found if base.startswith("https://") else [*found, NOT_SAFE]
