"""The front door as a part of the stack."""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any

from infra.errors import NotReadyError
from infra.home import Home
from infra.parts import Part
from infra.ports import LOOPBACK
from ingest_api.settings import Settings

APPLICATION = "ingest_api.main:app_from_environment"


@dataclass(frozen=True)
class Api:
    """The API of one home."""

    home: Home
    settings: Settings
    env: Mapping[str, str]

    @property
    def url(self) -> str:
        """Where clients on this machine go."""
        return f"http://{reachable(self.settings.api_host)}:{self.settings.api_port}"

    def part(self) -> Part:
        """The supervised server."""
        host, port = self.settings.api_host, self.settings.api_port
        command = [sys.executable, "-m", "uvicorn", APPLICATION, "--factory"]
        return Part(
            name="api",
            argv=[*command, f"--host={host}", f"--port={port}", "--no-access-log"],
            cwd=self.home.run,
            port=port,
            env=self.env,
            check=lambda _: get_json(reachable(host), port, "/readyz"),
            stop_patience_s=20,
        )


def reachable(host: str) -> str:
    """The address that answers on this machine when a server listens on `host`."""
    return LOOPBACK if host in {"0.0.0.0", "::"} else host  # noqa: S104 - compared, not bound


def get_json(host: str, port: int, path: str) -> None:
    """Raise NotReadyError unless a GET is answered 200. No proxy is asked."""
    connection = HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read(500)
    except (OSError, HTTPException) as cause:
        raise NotReadyError(f"GET {path} on port {port}: {cause!r}") from cause
    finally:
        connection.close()
    if answer.status != 200:
        raise NotReadyError(f"GET {path} on port {port}: {answer.status} {body[:200]!r}")


def environment(home: Home, settings: Settings, addresses: Mapping[str, Any]) -> dict[str, str]:
    """All `AM_…` variables as resolved for the parts that are AM's own, paths absolute."""
    named = {name: addresses.get(name) or value for name, value in settings}
    resolved = {**named, "home": home.root, "models_dir": settings.models_dir.resolve()}
    ours = {f"AM_{n.upper()}": _text(v) for n, v in resolved.items() if v is not None}
    direct = {"NO_PROXY": _without_proxy("NO_PROXY"), "no_proxy": _without_proxy("no_proxy")}
    return {**ours, **direct, "PYTHONUNBUFFERED": "1"}


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str).strip('"')


def _without_proxy(name: str) -> str:
    kept = [host for host in os.environ.get(name, "").split(",") if host]
    return ",".join(dict.fromkeys([*kept, LOOPBACK, "localhost"]))
