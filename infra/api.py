"""The front door as a part of the stack."""

import json
import os
import ssl
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from infra.errors import NotReadyError
from infra.home import Home
from infra.parts import NEVER_WRITTEN, Part
from infra.ports import LOOPBACK
from ingest_api.settings import Settings

SERVER = "ingest_api.serve"


@dataclass(frozen=True)
class Api:
    """The API of one home."""

    home: Home
    settings: Settings
    env: Mapping[str, str]

    @property
    def url(self) -> str:
        """Where clients on this machine go."""
        scheme = "https" if self.settings.tls_files() else "http"
        return f"{scheme}://{reachable(self.settings.api_host)}:{self.settings.api_port}"

    @property
    def tls(self) -> dict[str, str | None]:
        """The files of its certificate, which the next start uses again; None without TLS."""
        files = self.settings.tls_files()
        cert, key = map(str, files) if files else (None, None)
        return {"tls_cert": cert, "tls_key": key}

    def part(self) -> Part:
        """The supervised server."""
        host, port = self.settings.api_host, self.settings.api_port
        files = self.settings.tls_files()
        certificate = files[0] if files else None
        return Part(
            name="api",
            argv=[sys.executable, "-m", SERVER],
            cwd=self.home.run,
            port=port,
            env={**self.env, **_variables(self.tls)},
            check=lambda _: get_json(reachable(host), port, "/readyz", certificate=certificate),
            stop_patience_s=20,
        )


def reachable(host: str) -> str:
    """The address that answers on this machine when a server listens on `host`."""
    return LOOPBACK if host in {"0.0.0.0", "::"} else host  # noqa: S104 - compared, not bound # nosec B104


def get_json(host: str, port: int, path: str, *, certificate: Path | None = None) -> None:
    """Raise NotReadyError unless a GET is answered 200. No proxy is asked.

    With a `certificate` it asks by TLS, and of a server that shows this very one.
    """
    try:
        connection = _connection(host, port, certificate)
    except (OSError, ssl.SSLError) as cause:
        raise NotReadyError(f"the certificate {certificate} can't be used: {cause!r}") from cause
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


def _connection(host: str, port: int, certificate: Path | None) -> HTTPConnection:
    if certificate is None:
        return HTTPConnection(host, port, timeout=5)
    trust = ssl.create_default_context(cafile=str(certificate))
    trust.check_hostname = False  # it is made out to the name that clients use, not to loopback
    trust.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return HTTPSConnection(host, port, timeout=5, context=trust)


def environment(home: Home, settings: Settings, addresses: Mapping[str, Any]) -> dict[str, str]:
    """All `AM_…` variables as resolved for the parts that are AM's own, paths absolute.

    But for a master key: what is told here lies in a file, and the variable is inherited.
    """
    named = {name: addresses.get(name) or value for name, value in settings}
    key_file = settings.master_key_file
    resolved = {
        **named,
        "home": home.root,
        "models_dir": settings.models_dir.resolve(),
        "master_key_file": key_file.resolve() if key_file else None,
    }
    ours = _variables(resolved)
    direct = {"NO_PROXY": _without_proxy("NO_PROXY"), "no_proxy": _without_proxy("no_proxy")}
    written = {name: text for name, text in ours.items() if name not in NEVER_WRITTEN}
    return {**written, **direct, "PYTHONUNBUFFERED": "1"}


def _variables(named: Mapping[str, Any]) -> dict[str, str]:
    return {f"AM_{n.upper()}": _text(v) for n, v in named.items() if v is not None}


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=_plain).strip('"')


def _plain(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def _without_proxy(name: str) -> str:
    kept = [host for host in os.environ.get(name, "").split(",") if host]
    return ",".join(dict.fromkeys([*kept, LOOPBACK, "localhost"]))
