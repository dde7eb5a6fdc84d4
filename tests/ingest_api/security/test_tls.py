"""TLS: as the settings say, seen by the readiness probe, kept from one start to the next."""

import json
import os
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import ValidationError
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from infra.api import Api, environment, get_json
from infra.errors import NotReadyError
from infra.home import Home
from infra.ports import choose_free
from infra.stack import SERVER_PARTS, Stack
from ingest_api.settings import STACK_FILE, Settings
from tests.ingest_api.security.conftest import Serve

Files = tuple[Path, Path]


def make(folder: Path, name: str) -> Files:
    """A certificate of the machine's own, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert, own = folder / f"{name}.pem", folder / f"{name}.key"
    cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    own.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return cert, own


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return make(tmp_path, "localhost")


def test_the_api_speaks_tls_alone_and_tells_browsers_to_stay(serve: Serve, files: Files) -> None:
    trust = ssl.create_default_context(cafile=str(files[0]))
    with serve(tls_cert=files[0], tls_key=files[1]) as url:
        named = url.replace("127.0.0.1", "localhost")
        answer = httpx.get(f"{named}/healthz", verify=trust)
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{url.replace('https', 'http')}/healthz")
        with pytest.raises(InvalidStatus, match="401"):
            connect(f"{named.replace('https', 'wss')}/audio/stream/p", ssl=trust)
    assert answer.status_code == 200
    assert answer.headers["strict-transport-security"].startswith("max-age=")


def test_the_readiness_probe_asks_for_the_very_certificate(
    serve: Serve, files: Files, tmp_path: Path
) -> None:
    other = make(tmp_path, "elsewhere")
    with serve(tls_cert=files[0], tls_key=files[1]) as url:
        port = int(url.rpartition(":")[2])
        get_json("127.0.0.1", port, "/readyz", certificate=files[0])
        with pytest.raises(NotReadyError, match="CERTIFICATE_VERIFY_FAILED"):
            get_json("127.0.0.1", port, "/readyz", certificate=other[0])
        with pytest.raises(NotReadyError):
            get_json("127.0.0.1", port, "/readyz")
    with pytest.raises(NotReadyError, match=r"nosuch\.pem"):
        get_json("127.0.0.1", 1, "/readyz", certificate=tmp_path / "nosuch.pem")


def test_the_part_is_told_its_files_and_asked_by_https(files: Files, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, tls_cert=files[0], tls_key=files[1])
    home = Home.at(tmp_path)
    api = Api(home, settings, environment(home, settings, {}))
    assert api.url.startswith("https://")
    env = api.part().env
    assert (env["AM_TLS_CERT"], env["AM_TLS_KEY"]) == (str(files[0]), str(files[1]))


def test_tls_stays_on_at_later_starts_until_it_is_switched_off(
    files: Files, tmp_path: Path
) -> None:
    given = Settings(home=tmp_path, tls_cert=files[0], tls_key=files[1])
    saved = Api(Home.at(tmp_path), given, {}).tls
    (tmp_path / STACK_FILE).write_text(json.dumps(saved))
    later = Settings(home=tmp_path)
    assert later.tls_files() == files
    assert Api(Home.at(tmp_path), later, {}).url.startswith("https://")
    assert Settings(home=tmp_path, is_tls=False).tls_files() is None


def refused(home: Path, *words: str) -> str:
    """What `am up` says where it does not even begin."""
    environment = {**os.environ, "AM_HOME": str(home)}
    command = [sys.executable, "-m", "infra.cli", "up", *words]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (told.returncode, home.exists()) == (2, False), told.stdout
    return told.stderr


def test_a_certificate_without_its_key_is_refused(files: Files, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="belong together"):
        Settings(tls_cert=files[0])
    assert "belong" in refused(tmp_path / "none", "--tls-cert", str(files[0]))


def test_a_file_that_is_not_there_is_named_before_anything_starts(
    files: Files, tmp_path: Path
) -> None:
    given = ["--tls-cert", str(files[0]), "--tls-key", str(tmp_path / "nosuch")]
    told = refused(tmp_path / "none", *given).split()  # in a box, its lines broken anywhere
    assert {"'--tls-key':", "exist."} <= set(told)


@pytest.mark.slow
def test_a_stack_with_tls_is_ready_and_known_as_such_without_its_flags(
    files: Files, tmp_path: Path
) -> None:
    port = choose_free(["api"])["api"]
    home = tmp_path / "home"
    plain = {"home": home, "s3_bucket": "am-test", "api_port": port}
    given = Settings.model_validate({**plain, "tls_cert": files[0], "tls_key": files[1]})
    parts = [*SERVER_PARTS, "api"]
    stack = Stack(home, parts=parts, settings=given)
    try:
        stack.start()
        later = Stack(home, parts=parts, settings=Settings.model_validate(plain))
        assert [part.problem for part in later.status()] == [None] * 3
        trust = ssl.create_default_context(cafile=str(files[0]))
        assert httpx.get(f"https://localhost:{port}/healthz", verify=trust).status_code == 200
    finally:
        stack.stop()


def test_a_users_secret_reaches_the_api_whole(tmp_path: Path) -> None:
    secrets = {"ada": "not asterisks"}
    settings = Settings.model_validate({"home": tmp_path, "owntracks_secrets": secrets})
    env = environment(Home.at(tmp_path), settings, {})
    assert env["AM_OWNTRACKS_SECRETS"] == '{"ada": "not asterisks"}'
