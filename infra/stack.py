"""The embedded stack as a whole: started in order, each part awaited, stopped in reverse.

`Stack(home)` is what the `am` command and the tests use. Whatever a setting names a database or
store for is not started.
"""

import fcntl
import logging
import signal
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.api import Api, environment
from infra.errors import NotReadyError, PartFailedError, PortTakenError
from infra.home import Home, StackState, choose_state, load_state, save_state
from infra.hot import NAME as HOT
from infra.hot import Hot
from infra.logs import tail
from infra.master_key import ensure_master_key
from infra.mqtt import NAME as MQTT
from infra.mqtt import Mqtt
from infra.objects import Objects
from infra.orchestration import DEFINITIONS, Orchestration
from infra.parts import APPS, DATABASE, STORE, Part, save_parts
from infra.ports import holder_of, is_free
from infra.postgres import DAGSTER, OWNER, Postgres
from infra.processes import end, memory_of, processes_of
from infra.supervisor import DOWN, ProcessState, Supervisor
from infra.supervisor import NAME as SUPERVISOR
from ingest_api.settings import Settings

SERVER_PARTS = ("postgres", "objects")
APP_PARTS = ("dagster-code", "dagster-daemon", "dagster-web", "api", HOT, MQTT)
ALL_PARTS = SERVER_PARTS + APP_PARTS
POLL_S = 0.1
MAX_LIVES = 3  # a part that ends so often while it is awaited will not come up
# How the parts are ended that run without a supervisor, in this order.
APPS_LEFT = [(name, signal.SIGTERM) for name in reversed(APP_PARTS)]
ALL_LEFT = [
    (SUPERVISOR, signal.SIGKILL),
    *APPS_LEFT,
    ("objects", signal.SIGTERM),
    ("postgres", signal.SIGINT),
]

log = logging.getLogger(__name__)
Report = Callable[[str, str], None]


def log_report(part: str, state: str) -> None:
    """The default way to tell of progress."""
    log.info("%s %s", part, state)


@dataclass(frozen=True)
class PartStatus:
    """One part as seen now. `pid`, `uptime_s`, `memory_mb`: None while it is down.

    `problem`: None if ready. `memory_mb` is what its process holds, without children.
    """

    name: str
    state: str
    pid: int | None
    uptime_s: float | None
    memory_mb: int | None
    port: int | None
    is_ready: bool
    problem: str | None


@dataclass(frozen=True)
class Plan:
    """What one start runs: the parts in order, and the addresses that clients read."""

    state: StackState
    parts: Sequence[Part]
    addresses: dict[str, Any]


class Stack:
    """The embedded servers of one home."""

    def __init__(
        self,
        home: Path,
        *,
        parts: Collection[str] = ALL_PARTS,
        settings: Settings | None = None,
        definitions: str = DEFINITIONS,
    ) -> None:
        """`settings` default to the `AM_…` variables; its own `home` is not looked at.

        `definitions`: the module that Dagster's code location serves.
        """
        unknown = set(parts) - set(ALL_PARTS)
        if unknown:
            raise ValueError(f"no such part: {sorted(unknown)}; there are {list(ALL_PARTS)}")
        self.home = Home.at(home)
        self.settings = settings or Settings()
        self.definitions = definitions
        self.supervisor = Supervisor(self.home)
        external = {
            "postgres": self.settings.database_url,
            "objects": self.settings.s3_endpoint,
        }
        is_on = {HOT: self.settings.hot_worker, MQTT: self.settings.mqtt_url is not None}
        chosen = [name for name in parts if is_on.get(name, True)]
        self.part_names = [n for n in ALL_PARTS if n in chosen and not external.get(n)]

    def start(self, report: Report = log_report) -> None:
        """Start what is not running, wait until all parts answer. May be called again.

        Raises: StackError; nothing is left running then that was not running before.
        """
        self.home.create()
        with self._locked():
            was_alive = self.supervisor.is_alive
            if not was_alive:
                self._end_left_over()
                self._check_public_ports()
            plan = self._plan(was_alive=was_alive)
            try:
                self._start(plan, was_alive=was_alive, report=report)
            except BaseException:
                if not was_alive:
                    self._stop(report)
                raise

    def stop(self, report: Report = log_report) -> None:
        """Stop the parts in reverse order, then their supervisor. Nothing survives it."""
        if not self.home.root.exists():
            return
        self.home.create()
        with self._locked():
            self._stop(report)

    def status(self) -> list[PartStatus]:
        """Each part as it is now; every live part is asked."""
        state = load_state(self.home)
        if state is None:
            return [
                PartStatus(n, "STOPPED", None, None, None, None, False, "never started")
                for n in self.part_names
            ]
        found = self.supervisor.states()
        parts = self._make_plan(state).parts
        with ThreadPoolExecutor(len(parts) or 1) as pool:
            return list(pool.map(lambda part: _look_at(part, found.get(part.name)), parts))

    def _plan(self, *, was_alive: bool) -> Plan:
        earlier = load_state(self.home) if was_alive else None
        return self._make_plan(earlier or choose_state(self.home))

    def _make_plan(self, state: StackState) -> Plan:
        postgres = Postgres(self.home, state)
        has_database = "postgres" in self.part_names
        objects = Objects(self.home, state, self.settings.s3_bucket, has_database)
        addresses = self._addresses(postgres, objects)
        env = environment(self.home, self.settings, addresses)
        api = Api(self.home, self.settings, env)
        dagster = Orchestration(
            home=self.home,
            env=env,
            database_url=addresses["dagster_database_url"],
            code_port=state.ports["dagster_code"],
            web_port=self.settings.dagster_port,
            definitions=self.definitions,
        )
        addresses |= {"api_url": api.url, "dagster_url": dagster.url, **api.tls}
        hot = Hot(self.home, env, dagster.prepare)
        ours = [api.part(), hot.part(), Mqtt(self.home, env).part()]
        known = [postgres.part(), objects.part(), *dagster.parts(), *ours]
        by_name = {part.name: part for part in known}
        return Plan(state, [by_name[name] for name in self.part_names], addresses)

    def _addresses(self, postgres: Postgres, objects: Objects) -> dict[str, Any]:
        given = self.settings
        keys = postgres.state.secrets
        return {
            "database_url": given.database_url or postgres.url(OWNER, "am"),
            "dagster_database_url": _dagster_url(given) or postgres.url(DAGSTER, "dagster"),
            "s3_endpoint": given.s3_endpoint or objects.endpoint,
            "s3_access_key": given.s3_access_key or keys["s3_access_key"],
            "s3_secret_key": given.s3_secret_key or keys["s3_secret_key"],
        }

    def _start(self, plan: Plan, *, was_alive: bool, report: Report) -> None:
        save_state(self.home, plan.state, addresses=plan.addresses)
        has_changed = save_parts(self.home, plan.parts)
        if was_alive and has_changed:
            report("stack", "restarting, because its settings have changed")
            self._stop(report)
        if not self.supervisor.is_alive:
            for part in plan.parts:
                part.prepare()
            self.supervisor.launch(plan.parts)
        self._start_stage([p for p in plan.parts if p.stage == DATABASE], report)
        self._start_stage([p for p in plan.parts if p.stage == STORE], report)
        self._migrate(plan)
        self._start_stage([p for p in plan.parts if p.stage == APPS], report)

    def _start_stage(self, parts: Sequence[Part], report: Report) -> None:
        for part in parts:
            self.supervisor.start(part.name)
            report(part.name, "starting")
        with ThreadPoolExecutor(len(parts) or 1) as pool:
            for done in [pool.submit(self._await_ready, part, report) for part in parts]:
                done.result()

    def _await_ready(self, part: Part, report: Report) -> None:
        deadline = time.monotonic() + part.ready_within_s
        lives: set[int] = set()
        while problem := self._complete(part, lives):
            if time.monotonic() > deadline or len(lives) > MAX_LIVES:
                log_tail = tail(self.home.log_of(part.name), lines=20)
                raise PartFailedError(part.name, problem, log_tail=log_tail)
            time.sleep(POLL_S)
        report(part.name, "ready")

    def _complete(self, part: Part, lives: set[int]) -> str | None:
        """Complete a part if it is ready, else say why not; add the pid it has to `lives`."""
        seen = _look_at(part, self.supervisor.states().get(part.name))
        lives |= {seen.pid} if seen.pid else set()
        if seen.problem:
            return seen.problem
        try:
            part.complete()
        except NotReadyError as reason:
            return str(reason)
        return None

    def _migrate(self, plan: Plan) -> None:
        if not {"postgres", *APP_PARTS} & set(self.part_names):
            return
        from infra.migrate import upgrade  # noqa: PLC0415 - alembic and the registry, only here

        upgrade(plan.addresses["database_url"])
        ensure_master_key(self.settings.model_copy(update={"home": self.home.root}))

    def _stop(self, report: Report) -> None:
        self._stop_stage(APP_PARTS, report)
        # What the apps have started may still write to the servers, so it ends before them.
        self._end_left_over(APPS_LEFT)
        for name in reversed(SERVER_PARTS):
            self._stop_stage([name], report)
        self.supervisor.shutdown()
        self._end_left_over()
        self.home.forget_sockets()

    def _stop_stage(self, names: Sequence[str], report: Report) -> None:
        waiting = {n for n, s in self.supervisor.states().items() if n in names and s.is_up}
        for name in waiting:
            self.supervisor.stop(name)
        while waiting:
            found = self.supervisor.states()
            ended = {n for n in waiting if n not in found or found[n].state in DOWN}
            for name in ended:
                report(name, "stopped")
            waiting -= ended
            if waiting:
                time.sleep(POLL_S)

    def _end_left_over(self, order: Sequence[tuple[str, signal.Signals]] = ALL_LEFT) -> None:
        """End what runs without a supervisor: remains of that itself first, servers last."""
        for name, ask in order:
            found = processes_of(self.home, name)
            if found:
                log.warning("ending %d left-over processes of %s", len(found), name)
                end(found, ask=ask, patience_s=15)

    def _check_public_ports(self) -> None:
        wanted = {
            "api": (self.settings.api_host, self.settings.api_port, "AM_API_PORT"),
            "dagster-web": ("127.0.0.1", self.settings.dagster_port, "AM_DAGSTER_PORT"),
        }
        for name, (host, port, variable) in wanted.items():
            if name in self.part_names and not is_free(port, host=host):
                holder = holder_of(port) or "another program"
                raise PortTakenError(
                    f"Port {port}, which {name} needs, is held by {holder}: end it, or set "
                    f"{variable} to a free port."
                )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One start or stop of this home at a time; the next one waits."""
        with (self.home.run / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _look_at(part: Part, found: ProcessState | None) -> PartStatus:
    if found is None or not found.is_up:
        state = found.state if found else "STOPPED"
        problem = f"{state.lower()} {found.reason if found else ''}".strip()
        return PartStatus(part.name, state, None, None, None, part.port, False, problem)
    reason = _ask(part, found.started)
    uptime_s = round(time.time() - found.started, 1)
    memory_mb = memory_of(found.pid)
    return PartStatus(
        part.name, found.state, found.pid, uptime_s, memory_mb, part.port, reason is None, reason
    )


def _ask(part: Part, started: float) -> str | None:
    try:
        part.check(started)
    except NotReadyError as reason:
        return str(reason)
    return None


def _dagster_url(settings: Settings) -> str | None:
    if settings.database_url is None:
        return None
    joint = "&" if "?" in settings.database_url else "?"
    return f"{settings.database_url}{joint}options=-csearch_path%3Ddagster"
