"""What is wrong with this installation, and what to do about it.

A check looks at one thing and gives its findings; none of them changes anything.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, Literal

import psutil
import psycopg
from packaging.requirements import Requirement

from am_assets.streams.registry import REGISTRY
from infra.drift import find_drift
from infra.errors import AddressError, HomeError, NotReadyError
from infra.home import load_state, require_whole
from infra.migrate import current_revision, has_timescale, newest_revision
from infra.mqtt import Mqtt
from infra.ports import LOOPBACK, holder_of, is_free
from infra.postgres import as_server_user
from infra.processes import processes_of
from infra.stack import Stack
from infra.weights import Presence, WeightState, list_weights
from ingest_api.mqtt_rules import MqttSettingsError, broker_of, rules_of
from ingest_api.settings import Settings, StackNotFoundError
from resources.disk import free_on_disk
from resources.keys import KeyRing, KeyStoreError
from resources.master_keys import FileMasterKey, MasterKeyError
from resources.resealing import Resealing, ToSeal

Level = Literal["ok", "note", "error"]
PYTHON = (3, 11)
MIN_DISK_BYTES = 2_000_000_000
MIN_MEMORY_BYTES = 1_000_000_000
MIN_BUCKET_NAME = 3
MAX_DIFFERENCES = 10  # told; after a few they are all of one cause
SKEW_NOTED_S, SKEW_WRONG_S = 2.0, 60.0


@dataclass(frozen=True)
class Finding:
    """One answer of a check: what is so, and what to do about it (empty where all is well)."""

    check: str
    level: Level
    what: str
    todo: str = ""


def examine(stack: Stack) -> list[Finding]:
    """All findings, in the order in which they are best repaired.

    Where the stack's folder itself is wrong, the stack in it is not looked at.
    """
    first = [finding for check in MACHINE_CHECKS for finding in check(stack)]
    if any(finding.check == "home" and finding.level == "error" for finding in first):
        return first
    return [*first, *(finding for check in STACK_CHECKS for finding in check(stack))]


def check_python(_: Stack) -> list[Finding]:
    """Whether this is the Python that AM is pinned to."""
    found = sys.version_info[:2]
    if found == PYTHON:
        return [Finding("python", "ok", f"Python {sys.version.split()[0]} in {sys.prefix}")]
    text = f"Python {found[0]}.{found[1]} runs AM, which is pinned to {PYTHON[0]}.{PYTHON[1]}"
    return [Finding("python", "error", text, "Install Python 3.11, remove .venv, `make setup`.")]


def check_packages(_: Stack) -> list[Finding]:
    """Whether the packages that AM asks for are there in versions it works with."""
    wanted = [Requirement(text) for text in metadata.requires("am") or []]
    needed = [r for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})]
    wrong = [text for requirement in needed if (text := _mismatch(requirement))]
    if wrong:
        return [Finding("packages", "error", "; ".join(wrong), "Run `make setup`.")]
    return [Finding("packages", "ok", f"{len(needed)} packages as pinned")]


def _mismatch(requirement: Requirement) -> str | None:
    try:
        found = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return f"{requirement.name} is missing"
    if requirement.specifier.contains(found, prereleases=True):
        return None
    return f"{requirement.name} is {found}, not {requirement.specifier}"


def check_settings(stack: Stack) -> list[Finding]:
    """Whether the settings can be used."""
    bucket = stack.settings.s3_bucket
    if len(bucket) < MIN_BUCKET_NAME:
        todo = "Set AM_S3_BUCKET to a name of at least three letters."
        return [Finding("settings", "error", f"S3 allows no bucket named {bucket!r}", todo)]
    return [Finding("settings", "ok", f"home {stack.home.root}")]


def check_home(stack: Stack) -> list[Finding]:
    """Whether the stack's folder can be used, and PostgreSQL be started from here."""
    root = stack.home.root
    try:
        require_whole(stack.home)
        load_state(stack.home)
        as_server_user()
    except HomeError as wrong:
        return [Finding("home", "error", str(wrong), "As it says.")]
    if root.exists() and root.stat().st_mode & 0o077:
        todo = f"chmod 700 {root}"
        return [Finding("home", "error", f"{root} holds secrets and others may read it", todo)]
    return [Finding("home", "ok", str(root))]


def check_disk(stack: Stack) -> list[Finding]:
    """Whether there is room for data."""
    free = free_on_disk(stack.home.root)
    text = f"{free / 1e9:.1f} GB free for {stack.home.root}"
    if free < MIN_DISK_BYTES:
        todo = "Free some space: below 2 GB AM soon answers 503."
        return [Finding("disk", "error", text, todo)]
    return [Finding("disk", "ok", text)]


def check_memory(_: Stack) -> list[Finding]:
    """Whether there is memory for the parts and a model."""
    free = psutil.virtual_memory().available
    text = f"{free / 1e9:.1f} GB of memory available"
    if free < MIN_MEMORY_BYTES:
        return [Finding("memory", "note", text, "Close something, or models may be killed.")]
    return [Finding("memory", "ok", text)]


def check_weights(stack: Stack) -> list[Finding]:
    """Whether the weights of the chosen profile are there."""
    profile, folder = stack.settings.models_profile, stack.settings.models_dir
    wanted = [found for found in list_weights(folder) if profile in found.profiles]
    lacking = [f"{found.model_id} is {found.state}" for found in wanted if not is_present(found)]
    if lacking:
        todo = f"`am models pull --profile {profile}`; until then their work items are blocked."
        return [Finding("weights", "note", f"in {folder}: {', '.join(lacking)}", todo)]
    return [Finding("weights", "ok", f"{len(wanted)} models of profile {profile}")]


def is_present(weights: WeightState) -> bool:
    """Whether a model can be loaded."""
    return weights.state is Presence.PRESENT


def check_left_overs(stack: Stack) -> list[Finding]:
    """Whether processes run that nobody supervises."""
    if stack.supervisor.is_alive:
        return []
    pids = sorted(process.pid for process in processes_of(stack.home))
    if not pids:
        return []
    text = f"processes run without their supervisor: {pids}"
    return [
        Finding("left-overs", "error", text, "`am up` ends and replaces them; so does `am down`.")
    ]


def check_ports(stack: Stack) -> list[Finding]:
    """Whether the public ports are free, while the stack is down."""
    if stack.supervisor.is_alive:
        return []
    settings = stack.settings
    wanted = {
        "AM_API_PORT": (settings.api_host, settings.api_port),
        "AM_DAGSTER_PORT": (LOOPBACK, settings.dagster_port),
    }
    return [
        found
        for variable, (host, port) in wanted.items()
        if (found := judge_port(variable, host=host, port=port))
    ]


def judge_port(variable: str, *, host: str, port: int) -> Finding | None:
    """What stands against listening here; None = nothing. `variable` is the port's setting."""
    try:
        if is_free(port, host=host):
            return None
    except AddressError as wrong:
        return Finding("ports", "error", str(wrong), "As it says.")
    what = f"port {port} is held by {holder_of(port) or 'another program'}"
    return Finding("ports", "error", what, f"End it, or set {variable} to a free port.")


def check_parts(stack: Stack) -> list[Finding]:
    """Whether every part answers."""
    if not stack.supervisor.is_alive:
        return [Finding("parts", "note", "the stack is not running", "`am up`")]
    return [
        Finding("parts", "ok", f"{part.name} answers, {part.memory_mb} MB of memory")
        if part.is_ready
        else Finding(
            "parts", "error", f"{part.name}: {part.problem}", f"`am logs {part.name}`, `am up`"
        )
        for part in stack.status()
    ]


def check_broker(stack: Stack) -> list[Finding]:
    """Whether the MQTT subscriber, where there is one, hears its broker and lands what it hears."""
    if stack.settings.mqtt_url is None:
        return []
    try:
        broker_of(stack.settings.mqtt_url.get_secret_value())
        rules_of(stack.settings.mqtt_users)
    except MqttSettingsError as wrong:
        return [Finding("mqtt", "error", str(wrong), "As it says; `am connect owntracks-mqtt`.")]
    if not stack.supervisor.is_alive:
        return []
    try:
        return [judge_broker(Mqtt(stack.home, {}).pulse())]
    except NotReadyError as wrong:
        return [Finding("mqtt", "error", str(wrong), "`am logs mqtt`")]


def judge_broker(pulse: Mapping[str, Any]) -> Finding:
    """What the subscriber's own word means."""
    if not pulse["is_connected"]:
        todo = "It tries again by itself: look at the broker, its account for AM, AM_MQTT_URL."
        return Finding("mqtt", "error", str(pulse["problem"]), todo)
    text = f"connected to {pulse['broker']}, {pulse['taken']} messages taken"
    if pulse["waiting"]:
        return Finding("mqtt", "note", f"{text}, {pulse['waiting']} wait", "`am logs mqtt`")
    return Finding("mqtt", "ok", text)


def check_database(stack: Stack) -> list[Finding]:
    """Whether the database has this version's schema and this machine's time."""
    try:
        url = stack.settings.model_copy(update={"home": stack.home.root}).connections().database_url
    except StackNotFoundError:
        return []
    try:
        with psycopg.connect(url, connect_timeout=2) as connection:
            row = connection.execute("SELECT clock_timestamp()").fetchone()
        at = datetime.now(UTC)
        have, want = current_revision(url), newest_revision()
    except psycopg.Error as wrong:
        return [Finding("database", "note", f"not reachable: {str(wrong).strip()}", "`am up`")]
    assert row is not None
    skew = judge_skew("the database", (row[0] - at).total_seconds())
    own = [*check_catalog(url), *check_erasures(url)] if have == want else []
    return [judge_schema(have, want), skew, *own]


def check_catalog(url: str) -> list[Finding]:
    """Whether the database's tables, rights and policies are those that are declared."""
    with psycopg.connect(url) as connection:
        differences = find_drift(
            connection,
            REGISTRY.values(),
            is_timescale=has_timescale(connection),
            today=datetime.now(UTC).date(),
        )
    if not differences:
        return [Finding("catalog", "ok", "tables, rights and policies as declared")]
    todo = "`am down`, `am up` applies what is declared; what is found again then was made by hand."
    return [Finding("catalog", "error", str(one), todo) for one in differences[:MAX_DIFFERENCES]]


def check_erasures(url: str) -> list[Finding]:
    """Whether all that was to be erased is: one that was cut short goes on only when asked to."""
    from resources.erasure import command_of, unfinished  # noqa: PLC0415 (the lake's libraries)

    with psycopg.connect(url) as connection:
        found = unfinished(connection)
    return [
        Finding(
            "erasures",
            "error",
            f"what was to be erased of {scope.user_id} is not gone yet",
            f"Unless it is being done right now: `{command_of(scope)}` goes on with it.",
        )
        for scope in found
    ]


def judge_schema(have: str | None, want: str) -> Finding:
    """What a database's revision means to this version of AM."""
    if have == want:
        return Finding("schema", "ok", f"at {want}")
    return Finding("schema", "error", f"at {have}, this version needs {want}", "`am up` migrates.")


def check_keys(stack: Stack) -> list[Finding]:
    """Whether the master key opens the users' data keys, and all blobs are sealed."""
    settings = stack.settings.model_copy(update={"home": stack.home.root})
    try:
        connections = settings.connections()
        KeyRing(connections).check()
        return [*_judge_key_file(settings), judge_sealing(Resealing(connections).to_do())]
    except MasterKeyError as wrong:
        return [Finding("keys", "error", str(wrong), "As it says.")]
    except (StackNotFoundError, KeyStoreError, psycopg.Error):
        return []  # the database is told of above


def _judge_key_file(settings: Settings) -> list[Finding]:
    master = settings.master()
    if not isinstance(master, FileMasterKey) or not master.path.stat().st_mode & 0o077:
        return []
    what = f"others may read the master key {master.path}"
    return [Finding("keys", "error", what, f"chmod 600 {master.path}")]


def judge_sealing(to_do: Sequence[ToSeal]) -> Finding:
    """What blobs mean that are not under their user's newest key."""
    in_the_clear = sum(one.in_the_clear for one in to_do)
    older = sum(one.under_older_keys for one in to_do)
    if not in_the_clear and not older:
        return Finding("keys", "ok", "all blobs are sealed under their users' newest keys")
    what = f"{in_the_clear} blobs are in the clear, {older} under retired keys"
    return Finding("keys", "note", what, "`am keys reseal`")


def check_file_times(stack: Stack) -> list[Finding]:
    """Whether the filesystem of the home keeps this machine's time."""
    if not stack.home.run.exists():
        return []
    probe = stack.home.run / "clock"
    probe.touch()
    skew_s = probe.stat().st_mtime - time.time()
    probe.unlink()
    return [judge_skew("the filesystem", skew_s)]


def judge_skew(whose: str, skew_s: float) -> Finding:
    """What a clock means that is `skew_s` ahead of ours (negative: behind)."""
    text = f"the clock of {whose} differs by {skew_s:+.1f} s"
    if abs(skew_s) < SKEW_NOTED_S:
        return Finding("clock", "ok", text)
    level: Level = "error" if abs(skew_s) >= SKEW_WRONG_S else "note"
    return Finding("clock", level, text, "Let NTP set both clocks (`timedatectl set-ntp true`).")


MACHINE_CHECKS: Sequence[Callable[[Stack], list[Finding]]] = (
    check_python,
    check_packages,
    check_settings,
    check_disk,
    check_memory,
    check_weights,
    check_home,
)
STACK_CHECKS: Sequence[Callable[[Stack], list[Finding]]] = (
    check_left_overs,
    check_ports,
    check_parts,
    check_broker,
    check_database,
    check_keys,
    check_file_times,
)
