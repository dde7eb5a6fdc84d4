"""`am backfill`: compute a range of days again, through the running Dagster."""

import json
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Annotated, Any

import httpx
import typer

DAY = ["%Y-%m-%d"]
TIMEOUT_S = 60.0
LOCATION, REPOSITORY = "am", "__repository__"
LAUNCH = """
mutation Launch($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
    ... on UnauthorizedError { message }
    ... on PartitionKeysNotFoundError { message }
    ... on InvalidSubsetError { message }
    ... on RunConflict { message }
  }
}
"""
FIND = "query { assetNodes { assetKey { path } } }"

app = typer.Typer(help="Compute a range of days again, through Dagster.")


class DagsterRefusedError(Exception):
    """The web server does not answer, or says why it will not."""


@dataclass(frozen=True)
class Dagster:
    """The GraphQL of a running web server, such as `http://127.0.0.1:3000`."""

    url: str

    def asset_paths(self) -> list[list[str]]:
        """All assets. Raises: DagsterRefusedError."""
        return [node["assetKey"]["path"] for node in self._ask(FIND, {})["assetNodes"]]

    def backfill(self, path: list[str], days: list[date]) -> str:
        """Start a backfill of one asset. Returns its id. Raises: DagsterRefusedError."""
        params = {
            "assetSelection": [{"path": path}],
            "partitionNames": [day.isoformat() for day in days],
            "tags": [{"key": "am/requested_by", "value": "backfill"}],
        }
        answer = self._ask(LAUNCH, {"params": params})["launchPartitionBackfill"]
        if "backfillId" not in answer:
            raise DagsterRefusedError(answer.get("message", answer["__typename"]))
        return str(answer["backfillId"])

    def _ask(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        body = {"query": query, "variables": variables}
        try:
            answer = httpx.post(f"{self.url}/graphql", json=body, timeout=TIMEOUT_S).json()
        except (httpx.HTTPError, ValueError) as error:
            raise DagsterRefusedError(
                f"{self.url} does not answer ({error}): run `am up` first."
            ) from error
        if answer.get("errors"):
            raise DagsterRefusedError(json.dumps(answer["errors"]))
        found: dict[str, Any] = answer["data"]
        return found


def find_asset(name: str, paths: list[list[str]]) -> list[str] | None:
    """The asset that a table or stream name means; None where there is none."""
    wanted = name.replace(".", "_")
    return next((path for path in paths if path[-1] == wanted), None)


def days_between(first: date, last: date) -> list[date]:
    """All days from the first to the last, both included; none where the last is earlier."""
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


@app.command()
def backfill(
    name: Annotated[str, typer.Argument(help="A stream or table, such as device.audio.raw.")],
    first: Annotated[datetime, typer.Option("--from", formats=DAY, help="UTC day, included.")],
    last: Annotated[datetime, typer.Option("--to", formats=DAY, help="UTC day, included.")],
) -> None:
    """Prints the backfill's id and where to watch it."""
    from ingest_api.settings import Settings  # noqa: PLC0415 (heavy)

    dagster = Dagster(f"http://127.0.0.1:{Settings().dagster_port}")
    days = days_between(first.date(), last.date())
    if not days:
        raise typer.BadParameter("--to is before --from")
    try:
        path = find_asset(name, dagster.asset_paths())
        if path is None:
            raise typer.BadParameter(f"no stream or table is called {name!r}")
        backfill_id = dagster.backfill(path, days)
    except DagsterRefusedError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    typer.echo(f"{backfill_id}  {'/'.join(path)}, {len(days)} days")
    typer.echo(f"watch it at {dagster.url}/runs/b/{backfill_id}")
