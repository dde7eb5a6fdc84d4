"""Questions of many users, answered by processes of their own.

A question that needs more memory or time than it may have ends its process at worst, never the one
that takes the users' data. A process is started when it is first needed, keeps a few users' engines
warm, answers one question at a time, and ends with its parent.
"""

import os
import pickle  # between a process and the child it started # nosec B403
import queue
import resource
import select
import struct
import subprocess
import sys
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from resources import duck as ducks
from resources.connections import Connections
from resources.duck import (
    Duck,
    DuckError,
    DuckOptions,
    Limits,
    OutOfMemoryError,
    TimedOutError,
)
from resources.lake_files import LakeFiles

LENGTH = struct.Struct(">Q")
MIB = 2**20
WARM_ENGINES = 4
START_S = 120.0  # for a process to load what it needs: not of the question's own time
GRACE_S = 5.0  # beyond a question's own time, for a process that no longer listens
WAIT_S = 2.0  # for a process that is free
THREADS_MB = 1024  # stacks and allocators' arenas: reserved, hardly ever used
STATUS = Path("/proc/self/status")


class BusyDuckError(DuckError):
    """All processes are answering; asking again later is safe."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a process is started with. `memory_mb`: of its questions, beyond the process itself."""

    connections: Connections
    options: DuckOptions
    memory_mb: int = 1024


@dataclass(frozen=True, kw_only=True)
class Question:
    """What one user asks. `parameters` fill its `?`s."""

    user_id: str
    text: str
    parameters: tuple[Any, ...] = ()
    limits: Limits = field(default_factory=Limits)


class DuckWorkers:
    """The processes; thread-safe."""

    def __init__(self, setup: Setup, *, count: int = 2) -> None:
        """Starts nothing yet."""
        self._setup = setup
        self._free: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        for _ in range(count):
            self._free.put(None)
        self._working: set[_Worker] = set()

    def ask(self, question: Question) -> bytes:
        """The answer as an Arrow IPC stream.

        Raises: BusyDuckError, and what `duck.query` does.
        """
        try:
            worker = self._free.get(timeout=WAIT_S)
        except queue.Empty:
            raise BusyDuckError("others are asking at the moment: try again") from None
        try:
            if worker is None or not worker.is_alive:
                worker = self._started()
            return worker.ask(question)
        finally:
            self._give_back(worker)

    def close(self) -> None:
        """End the processes, also those that are still answering."""
        for worker in list(self._working):
            worker.end()

    def _started(self) -> "_Worker":
        worker = _Worker(self._setup)
        self._working.add(worker)
        return worker

    def _give_back(self, worker: "_Worker | None") -> None:
        if worker is not None and not worker.is_alive:
            self._working.discard(worker)
            worker = None
        self._free.put(worker)


class _Worker:
    def __init__(self, setup: Setup) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "resources.duck_workers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[1],
            env=_environment(),
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin, self._process.stdout
        # It answers strangers' questions: it holds nothing that could open a blob.
        without = replace(setup.connections, master_key=None)
        _send(self._to, replace(setup, connections=without))
        self._is_ready = False

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, question: Question) -> bytes:
        try:
            self._is_ready = self._is_ready or self._answer(START_S)
            _send(self._to, question)
            answer = self._answer(question.limits.timeout_s + GRACE_S)
        except (BrokenPipeError, EOFError) as error:
            self.end()
            raise OutOfMemoryError(
                "the question ended its process: it needs more memory than it may have"
            ) from error
        if isinstance(answer, OutOfMemoryError):
            self.end()  # its allocator keeps what it had; the next question may need it
        if isinstance(answer, DuckError):
            raise answer
        assert isinstance(answer, bytes)
        return answer

    def _answer(self, timeout_s: float) -> Any:
        ready, _, _ = select.select([self._from], [], [], timeout_s)
        if not ready:
            self.end()
            raise TimedOutError(f"stopped after {timeout_s:g} s")
        return _receive(self._from)

    def end(self) -> None:
        self._process.kill()
        with suppress(BrokenPipeError):  # what it did not take is lost with it
            self._to.close()
        self._from.close()
        self._process.wait()


def _environment() -> dict[str, str]:
    """Of a process: no settings, and an allocator that does not reserve for every thread."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AM_")}
    return kept | {"MALLOC_ARENA_MAX": "2"}


def serve(receiving: IO[bytes], sending: IO[bytes]) -> None:
    """What a process does until nobody asks any more."""
    setup: Setup = _receive(receiving)
    engines = Engines(setup)
    engines.load()
    _limit_memory(setup.memory_mb)
    _send(sending, True)
    while True:
        try:
            question: Question = _receive(receiving)
        except EOFError:
            return
        _send(sending, _answered(engines, question))


class Engines:
    """The engines of the users who asked last."""

    def __init__(self, setup: Setup) -> None:
        """Opens none yet."""
        self._setup = setup
        self._files = LakeFiles(setup.connections, copies=setup.options.copies)
        self._warm: OrderedDict[str, Duck] = OrderedDict()

    def load(self) -> None:
        """What every question needs: the registry, the engine and its extensions."""
        from am_assets.streams.registry import REGISTRY  # noqa: PLC0415 (by the child alone)

        options = replace(self._setup.options, attach=None)
        ducks.connect(self._setup.connections, REGISTRY, has_hot=False, options=options).close()

    def answer(self, question: Question) -> pa.Table:
        """Raises: what `duck.query` does."""
        duck = self._warm.pop(question.user_id, None) or self._connect(question.user_id)
        try:
            found = ducks.query(
                duck, question.text, parameters=question.parameters, limits=question.limits
            )
        except BaseException:  # its connection to the database may be the reason
            duck.close()
            raise
        self._keep(question.user_id, duck)
        return found

    def _connect(self, user_id: str) -> Duck:
        from am_assets.streams.registry import REGISTRY  # noqa: PLC0415 (by the child alone)

        setup = self._setup
        return ducks.connect(
            setup.connections, REGISTRY, user_id=user_id, options=setup.options, files=self._files
        )

    def _keep(self, user_id: str, duck: Duck) -> None:
        if duck.attached:  # those files are as they were: look again the next time
            duck.close()
            return
        self._warm[user_id] = duck
        if len(self._warm) > WARM_ENGINES:
            self._warm.popitem(last=False)[1].close()


def _answered(engines: Engines, question: Question) -> bytes | DuckError:
    try:
        answer = engines.answer(question)
    except DuckError as error:
        return type(error)(str(error))
    except MemoryError:
        return OutOfMemoryError("it needs more memory than it may have")
    written = pa.BufferOutputStream()
    with pa.ipc.new_stream(written, answer.schema) as stream:
        stream.write_table(answer)
    return bytes(written.getvalue())


def _limit_memory(megabytes: int) -> None:
    """So much beyond what the process has now, and what its threads will need."""
    (has_kib,) = (line.split()[1] for line in STATUS.read_text().splitlines() if "VmData" in line)
    limit = int(has_kib) * 1024 + (megabytes + THREADS_MB) * MIB
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _send(pipe: IO[bytes], thing: object) -> None:
    body = pickle.dumps(thing)
    pipe.write(LENGTH.pack(len(body)) + body)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> Any:
    """Raises: EOFError."""
    head = pipe.read(LENGTH.size)
    if len(head) < LENGTH.size:
        raise EOFError
    (length,) = LENGTH.unpack(head)
    body = pipe.read(length)
    if len(body) < length:
        raise EOFError
    return pickle.loads(body)  # noqa: S301 - between a process and the child it started # nosec B301


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints must not print into an answer
    serve(sys.stdin.buffer, answers)
