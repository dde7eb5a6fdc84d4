"""Where models run: in the calling process, or as warm actors on a Ray cluster.

Callers get the Protocols of `models/` either way, and errors of the same classes.
"""

import hashlib
import logging
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol, cast

from models.activity import Activity, ActivityClassifier, Features
from models.catalog import ModelSpec, Profile, Task, find_model, load_spec
from models.errors import ModelUnreachableError, UnreadableInputError
from models.model import Model
from models.speech_recognition import SpeechRecognizer, Transcript
from models.text_embedding import TextEmbedder, Vectors
from models.text_reading import Reading, TextReader
from models.voice_activity import SpeechSpan, VoiceActivityDetector, Waveform

NAMESPACE = "am"
KNOCK_TIMEOUT_S = 5.0
CALL_TIMEOUT_S = 600.0  # a long recording on two cores; longer means that nobody is at work


@dataclass(frozen=True)
class ModelChoice:
    """Which model does which task, and where the weights are.

    `overrides` names another model for single tasks, as `models.catalog.find_model` reads them.
    """

    profile: Profile
    models_dir: Path
    overrides: Mapping[Task, str] = field(default_factory=dict)

    def spec(self, task: Task) -> ModelSpec:
        """The catalog's line for a task.

        Raises: UnknownModelError.
        """
        return find_model(task, profile=self.profile, overrides=self.overrides)


@dataclass(frozen=True)
class ModelState:
    """Whether a task can be done now; `reason` says what is in the way, null when nothing."""

    task: Task
    model_id: str
    reason: str | None

    @property
    def is_available(self) -> bool:
        """Whether nothing is in the way."""
        return self.reason is None


class Compute(Protocol):
    """Gives the warm model of each task.

    Every getter raises ModelUnavailableError (work items are `blocked`, not `failed`) or
    UnknownModelError. On Ray the former may come from the model's methods instead.
    """

    def voice_activity(self) -> VoiceActivityDetector:
        """Finds speech."""
        ...

    def speech_recognition(self) -> SpeechRecognizer:
        """Writes speech down."""
        ...

    def text_reading(self) -> TextReader:
        """Reads images."""
        ...

    def text_embedding(self) -> TextEmbedder:
        """Gives texts vectors."""
        ...

    def activity(self) -> ActivityClassifier:
        """Names activities."""
        ...

    def models_state(self) -> tuple[ModelState, ...]:
        """One line a task, without loading anything."""
        ...


def connect_compute(
    kind: Literal["local", "ray"], choice: ModelChoice, *, ray_address: str | None = None
) -> Compute:
    """The compute that the settings ask for.

    Raises: ModelUnreachableError when the Ray cluster does not answer.
    """
    if kind == "local":
        return LocalCompute(choice)
    return RayCompute(choice, address=ray_address or "auto")


class LocalCompute:
    """Loads each model once into this process, at its first use; safe among threads."""

    def __init__(self, choice: ModelChoice) -> None:
        self._choice = choice
        self._loaded: dict[Task, Model] = {}
        # A lock a task: loading Whisper must not keep the voice detector waiting.
        self._locks = {task: threading.Lock() for task in Task}

    def voice_activity(self) -> VoiceActivityDetector:
        """Finds speech."""
        return cast("VoiceActivityDetector", self.model(Task.VOICE_ACTIVITY))

    def speech_recognition(self) -> SpeechRecognizer:
        """Writes speech down."""
        return cast("SpeechRecognizer", self.model(Task.SPEECH_RECOGNITION))

    def text_reading(self) -> TextReader:
        """Reads images."""
        return cast("TextReader", self.model(Task.TEXT_READING))

    def text_embedding(self) -> TextEmbedder:
        """Gives texts vectors."""
        return cast("TextEmbedder", self.model(Task.TEXT_EMBEDDING))

    def activity(self) -> ActivityClassifier:
        """Names activities."""
        return cast("ActivityClassifier", self.model(Task.ACTIVITY))

    def models_state(self) -> tuple[ModelState, ...]:
        """One line a task, without loading anything."""
        return tuple(state_of(task, self._choice) for task in Task)

    def model(self, task: Task) -> Model:
        """The model of a task, loaded at the first call; a failed load is tried again.

        Raises: ModelUnavailableError, UnknownModelError.
        """
        with self._locks[task]:
            if task not in self._loaded:
                self._loaded[task] = load_spec(self._choice.spec(task), self._choice.models_dir)
            return self._loaded[task]


def state_of(task: Task, choice: ModelChoice) -> ModelState:
    """Whether this process could load the model of a task.

    Raises: UnknownModelError.
    """
    spec = choice.spec(task)
    return ModelState(task, spec.model_id, spec.lack(choice.models_dir))


class RayCompute:
    """One named, detached, warm actor a task in the namespace `am` of a Ray cluster.

    All drivers of a cluster share the actors: the name holds the task and a digest of the choice,
    so that another profile is another actor. Weights are read from `models_dir` on the node that
    runs the actor. An actor asks for its model's share of a GPU where the cluster has one.
    """

    def __init__(
        self,
        choice: ModelChoice,
        *,
        address: str = "auto",
        runtime_envs: Mapping[Task, Mapping[str, Any]] | None = None,
        call_timeout_s: float = CALL_TIMEOUT_S,
    ) -> None:
        """Connect this process to the cluster, unless it is connected already.

        `runtime_envs` gives single tasks an environment of their own, as Ray describes them (Surya
        needs one: its pins break others').

        Raises: ModelUnreachableError.
        """
        self._choice = replace(choice, models_dir=choice.models_dir.absolute())
        self._address = address
        self._runtime_envs = dict(runtime_envs or {})
        self._call_timeout_s = call_timeout_s
        _connect(address)

    def voice_activity(self) -> "RemoteVoiceActivity":
        """Finds speech."""
        return RemoteVoiceActivity(self._remote(Task.VOICE_ACTIVITY))

    def speech_recognition(self) -> "RemoteSpeechRecognizer":
        """Writes speech down."""
        return RemoteSpeechRecognizer(self._remote(Task.SPEECH_RECOGNITION))

    def text_reading(self) -> "RemoteTextReader":
        """Reads images."""
        return RemoteTextReader(self._remote(Task.TEXT_READING))

    def text_embedding(self) -> "RemoteTextEmbedder":
        """Gives texts vectors."""
        return RemoteTextEmbedder(self._remote(Task.TEXT_EMBEDDING))

    def activity(self) -> "RemoteActivity":
        """Names activities."""
        return RemoteActivity(self._remote(Task.ACTIVITY))

    def models_state(self) -> tuple[ModelState, ...]:
        """One line a task, as the nodes that run the actors see it."""
        return tuple(self._state(task) for task in Task)

    def stop(self, task: Task) -> None:
        """End the actor of a task; the next call starts a fresh one."""
        self._remote(task).end()

    def _state(self, task: Task) -> ModelState:
        model_id = self._choice.spec(task).model_id
        try:
            return self._remote(task).state()
        except ModelUnreachableError as error:
            return ModelState(task, model_id, str(error))

    def _remote(self, task: Task) -> "_Remote":
        options = actor_options(self._choice, task, has_gpu=_has_gpu())
        if task in self._runtime_envs:
            options["runtime_env"] = dict(self._runtime_envs[task])
        return _Remote(
            self._address, task, self._choice, options=options, timeout_s=self._call_timeout_s
        )


def actor_options(choice: ModelChoice, task: Task, *, has_gpu: bool) -> dict[str, Any]:
    """What Ray is asked for when the actor of a task is made.

    Raises: UnknownModelError.
    """
    spec = choice.spec(task)
    identity = f"{spec.model_id}\0{choice.models_dir}\0{has_gpu}"
    digest = hashlib.sha256(identity.encode()).hexdigest()[:8]
    return {
        "name": f"am-model-{task}-{digest}",
        "namespace": NAMESPACE,
        "lifetime": "detached",
        "get_if_exists": True,
        "max_restarts": -1,
        "num_cpus": 0,  # warm actors rest most of the time and must all find room on a small node
        # More than the cluster has would stay pending for ever.
        "num_gpus": spec.gpu_share if has_gpu else 0,
    }


class ModelActor:
    """What runs on the cluster: one model, loaded at its first use.

    The load is in the calls, not in the constructor, so that missing weights are that error and
    not a dead actor, and weights that arrive later are found.
    """

    def __init__(self, task: Task, choice: ModelChoice) -> None:
        self._task = task
        self._choice = choice
        self._compute = LocalCompute(choice)

    def ask(self, method: str, *given: object) -> object:
        """Call one of the model's methods.

        Raises: whatever it raises.
        """
        asked: Callable[..., object] = getattr(self._compute.model(self._task), method)
        return asked(*given)

    def tell(self, attribute: str) -> object:
        """One of the model's attributes."""
        told: object = getattr(self._compute.model(self._task), attribute)
        return told

    def state(self) -> ModelState:
        """Whether the model can be loaded on this node."""
        return state_of(self._task, self._choice)


class _Remote:
    """The caller's side of one actor: finds or makes it, calls it, translates its errors."""

    def __init__(
        self,
        address: str,
        task: Task,
        choice: ModelChoice,
        *,
        options: Mapping[str, Any],
        timeout_s: float,
    ) -> None:
        self._address = address
        self._task = task
        self._choice = choice
        self._options = dict(options)
        self._timeout_s = timeout_s
        self._actor: Any = None  # Ray's handles have no static type

    def ask(self, method: str, *given: object) -> Any:
        """Call a method of the model."""
        return self._get(lambda actor: actor.ask.remote(method, *given))

    def tell(self, attribute: str) -> Any:
        """One of the model's attributes."""
        return self._get(lambda actor: actor.tell.remote(attribute))

    def state(self) -> ModelState:
        """Whether the model can be loaded there."""
        return cast("ModelState", self._get(lambda actor: actor.state.remote()))

    def end(self) -> None:
        """Kill the actor."""
        import ray

        ray.kill(self._found(), no_restart=True)
        self._actor = None

    def _get(self, started: Callable[[Any], Any]) -> Any:
        import ray
        from ray.exceptions import RayError, RayTaskError

        try:
            return ray.get(started(self._found()), timeout=self._timeout_s)
        except RayTaskError as error:
            raise (error.cause or error) from error
        except (RayError, ConnectionError) as error:
            self._actor = None  # the next call looks for a new one
            raise ModelUnreachableError(self._task, self._address, str(error)) from error

    def _found(self) -> Any:
        import ray

        if self._actor is None:
            made = ray.remote(ModelActor).options(**self._options)
            self._actor = made.remote(self._task, self._choice)
        return self._actor


class RemoteModel:
    """Identity of a model that runs elsewhere."""

    def __init__(self, remote: _Remote) -> None:
        self._remote = remote

    @property
    def model_id(self) -> str:
        """Name in the catalog."""
        return cast("str", self._remote.tell("model_id"))

    @property
    def model_version(self) -> str:
        """Version of the weights on the node that holds them."""
        return cast("str", self._remote.tell("model_version"))


class RemoteVoiceActivity(RemoteModel):
    """A VoiceActivityDetector."""

    def detect(self, waveforms: Sequence[Waveform]) -> list[list[SpeechSpan]]:
        """Spans of each waveform."""
        return cast("list[list[SpeechSpan]]", self._remote.ask("detect", waveforms))


class RemoteSpeechRecognizer(RemoteModel):
    """A SpeechRecognizer."""

    def transcribe(self, waveforms: Sequence[Waveform]) -> list[Transcript]:
        """One transcript a waveform."""
        return cast("list[Transcript]", self._remote.ask("transcribe", waveforms))


class RemoteTextReader(RemoteModel):
    """A TextReader."""

    def read(self, images: Sequence[bytes]) -> list[Reading | UnreadableInputError]:
        """One answer an image."""
        return cast("list[Reading | UnreadableInputError]", self._remote.ask("read", images))


class RemoteTextEmbedder(RemoteModel):
    """A TextEmbedder."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return cast("int", self._remote.tell("dimension"))

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One vector a text."""
        # A copy: what Ray gives is read-only and keeps its object store full.
        return cast("Vectors", self._remote.ask("embed", texts).copy())


class RemoteActivity(RemoteModel):
    """An ActivityClassifier."""

    def classify(self, features: Features) -> list[Activity]:
        """One activity a row."""
        return cast("list[Activity]", self._remote.ask("classify", features))


def _connect(address: str) -> None:
    try:
        import ray
    except ImportError as error:
        raise ModelUnreachableError("ray", address, "pip install 'am[ray]'") from error
    try:
        _knock(address)
        ray.init(
            address=address,
            namespace=NAMESPACE,
            ignore_reinit_error=True,
            log_to_driver=False,
            logging_level=logging.WARNING,
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelUnreachableError("ray", address, str(error)) from error


def _knock(address: str) -> None:
    """Ray itself tries a closed port for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        with socket.create_connection((host, int(port)), timeout=KNOCK_TIMEOUT_S):
            pass


def _has_gpu() -> bool:
    import ray

    resources: Callable[[], dict[str, float]] = ray.cluster_resources
    return bool(resources().get("GPU"))
