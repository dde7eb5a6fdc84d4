"""A model gives the same answers in this process and on a Ray cluster."""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from models.activity import window_features
from models.catalog import Task
from models.errors import (
    ModelUnavailableError,
    ModelUnreachableError,
    UnknownModelError,
    UnreadableInputError,
)
from models.text_reading import UNKNOWN_FORMAT
from resources.compute import (
    Compute,
    LocalCompute,
    ModelChoice,
    RayCompute,
    actor_options,
    connect_compute,
)
from tests.models.media import page, silence, sound, tiny_weights

ON_RAY = pytest.mark.slow  # the cluster takes half a minute to start
TEXTS = ["the train leaves at eight", "la gare est fermée", ""]
FEATURES = np.array(
    [
        window_features(np.random.default_rng(seed).normal(0, strength, (50, 3)), 10.0)
        for seed, strength in enumerate((0.05, 3.0, 12.0))
    ]
)


@pytest.fixture(scope="module")
def choice() -> ModelChoice:
    return ModelChoice("tiny", tiny_weights())


@pytest.fixture(scope="module")
def local(choice: ModelChoice) -> LocalCompute:
    return LocalCompute(choice)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """A Ray head of its own on loopback, two cores; ended by its process ids."""
    import ray

    with pytest.MonkeyPatch.context() as environment, tempfile.TemporaryDirectory("r") as folder:
        environment.setenv("RAY_AUTH_MODE", "disabled")
        environment.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
        port = free_port()
        started, printed = start_head(port, folder)
        if not is_running(printed):  # Ray gives up after 30 s, which a busy machine may need
            end(started)
            port = free_port()
            started, printed = start_head(port, folder)
        try:
            assert is_running(printed), "".join(printed)
            yield f"127.0.0.1:{port}"
        finally:
            ray.shutdown()
            end(started)


def start_head(port: int, folder: str) -> tuple[subprocess.Popen[str], list[str]]:
    """The process and what it printed until it ran or gave up."""
    started = subprocess.Popen(
        [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
            *("--node-ip-address=127.0.0.1", f"--port={port}", f"--temp-dir={folder}"),
            *("--num-cpus=2", "--object-store-memory=200000000"),
            *("--include-dashboard=false", "--disable-usage-stats"),
            *("--ray-client-server-port", str(free_port())),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    printed: list[str] = []
    assert started.stdout is not None
    for line in started.stdout:
        printed.append(line)
        if is_running(printed):
            break
    return started, printed


def is_running(printed: list[str]) -> bool:
    """Whether the last line says so."""
    return bool(printed) and "Ray runtime started" in printed[-1]


def end(started: subprocess.Popen[str]) -> None:
    """End it and all that it started, by their ids: asked nicely it drains for half a minute."""
    family = []
    if started.poll() is None:
        family = psutil.Process(started.pid).children(recursive=True)
    started.kill()
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    started.communicate()


@pytest.fixture(scope="module")
def remote(cluster: str, choice: ModelChoice) -> RayCompute:
    return RayCompute(choice, address=cluster)


def test_a_model_is_loaded_once_however_many_threads_ask_first(choice: ModelChoice) -> None:
    compute = LocalCompute(choice)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: compute.text_embedding(), range(16)))
    assert len({id(model) for model in found}) == 1


def test_missing_weights_block_only_their_tasks_until_they_are_there(tmp_path: Path) -> None:
    compute = LocalCompute(ModelChoice("tiny", tmp_path))
    with pytest.raises(ModelUnavailableError, match="am models pull --profile tiny"):
        compute.text_embedding()
    states = {state.task: state for state in compute.models_state()}
    assert not states[Task.TEXT_EMBEDDING].is_available
    assert "model.onnx" in str(states[Task.TEXT_EMBEDDING].reason)
    assert states[Task.VOICE_ACTIVITY].is_available
    (tmp_path / "all-minilm-l6-v2-int8").symlink_to(tiny_weights() / "all-minilm-l6-v2-int8")
    assert compute.text_embedding().embed(TEXTS).shape == (3, 384)


def test_with_its_weights_every_task_is_available(local: LocalCompute) -> None:
    assert [state.task for state in local.models_state()] == list(Task)
    assert all(state.is_available for state in local.models_state())


def test_an_override_chooses_the_model_of_one_task(choice: ModelChoice) -> None:
    overrides = {Task.TEXT_READING: "pp-ocrv6-small"}
    compute = connect_compute("local", ModelChoice("tiny", choice.models_dir, overrides))
    assert compute.text_reading().model_id == "pp-ocrv6-small"
    assert compute.voice_activity().model_id == "silero-vad-v6"
    with pytest.raises(UnknownModelError):
        LocalCompute(ModelChoice("tiny", choice.models_dir, {Task.ACTIVITY: "none"})).activity()


def test_a_gpu_is_asked_for_only_where_there_is_one(choice: ModelChoice) -> None:
    without = actor_options(choice, Task.SPEECH_RECOGNITION, has_gpu=False)
    with_gpu = actor_options(choice, Task.SPEECH_RECOGNITION, has_gpu=True)
    assert (without["num_gpus"], with_gpu["num_gpus"]) == (0, 0.1)
    assert actor_options(choice, Task.TEXT_READING, has_gpu=True)["num_gpus"] == 0


def test_another_choice_is_another_actor(choice: ModelChoice) -> None:
    full = ModelChoice("full", choice.models_dir)
    names = {
        actor_options(which, Task.TEXT_EMBEDDING, has_gpu=False)["name"] for which in (choice, full)
    }
    assert len(names) == 2


def answers(compute: Compute) -> dict[str, object]:
    """What every model says to the same questions, with its identity."""
    images = [page(["Platform 3 is closed"]), b"no image"]
    sounds = [sound("austen-0880"), silence(0)]
    models = (compute.voice_activity(), compute.speech_recognition(), compute.text_reading())
    embedder, classifier = compute.text_embedding(), compute.activity()
    reading, unreadable = models[2].read(images)
    return {
        "speech": models[0].detect(sounds),
        "words": models[1].transcribe(sounds),
        "reading": reading,
        "unreadable": (type(unreadable), str(unreadable)),
        "vectors": embedder.embed(TEXTS).tolist(),
        "dimension": embedder.dimension,
        "activities": classifier.classify(FEATURES),
        "identity": [
            (model.model_id, model.model_version) for model in (*models, embedder, classifier)
        ],
        "state": compute.models_state(),
    }


@ON_RAY
def test_ray_gives_the_answers_of_this_process(local: LocalCompute, remote: RayCompute) -> None:
    here, there = answers(local), answers(remote)
    for question, answer in here.items():
        assert there[question] == answer, question
    assert there["unreadable"] == (UnreadableInputError, UNKNOWN_FORMAT)


@ON_RAY
def test_errors_come_back_from_ray_as_themselves(
    cluster: str, remote: RayCompute, tmp_path: Path
) -> None:
    empty = RayCompute(ModelChoice("tiny", tmp_path), address=cluster)
    with pytest.raises(ModelUnavailableError) as raised:
        empty.text_embedding().embed(TEXTS)
    assert type(raised.value) is ModelUnavailableError
    assert raised.value.folder == str(tmp_path / "all-minilm-l6-v2-int8")
    reasons = {state.task: state.reason for state in empty.models_state()}
    assert "am models pull" in str(reasons[Task.TEXT_EMBEDDING])
    with pytest.raises(ValueError, match="shape") as refused:
        remote.activity().classify(FEATURES[:, :3])
    assert type(refused.value) is ValueError


@ON_RAY
def test_all_drivers_share_one_detached_actor_a_task(
    cluster: str, choice: ModelChoice, remote: RayCompute
) -> None:
    from ray.util import list_named_actors

    RayCompute(choice, address=cluster).activity().classify(FEATURES)
    remote.activity().classify(FEATURES)
    named = [actor["name"] for actor in list_named_actors(all_namespaces=True)]
    wanted = actor_options(choice, Task.ACTIVITY, has_gpu=False)["name"]
    assert named.count(wanted) == 1


@ON_RAY
def test_after_its_actor_was_ended_a_task_is_served_by_a_fresh_one(remote: RayCompute) -> None:
    classifier = remote.activity()
    before = classifier.classify(FEATURES)
    remote.stop(Task.ACTIVITY)
    with pytest.raises(ModelUnreachableError):
        classifier.classify(FEATURES)
    assert classifier.classify(FEATURES) == before


def test_a_cluster_that_is_not_there_is_an_unreachable_model(choice: ModelChoice) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from models.errors import ModelUnreachableError\n"
        "from resources.compute import ModelChoice, connect_compute\n"
        "try:\n"
        "    connect_compute('ray', ModelChoice('tiny', Path('w')), ray_address=sys.argv[1])\n"
        "except ModelUnreachableError as error:\n"
        "    print('unreachable', error)\n"
    )
    # A process of its own: this one may be connected to the cluster of the other tests.
    done = subprocess.run(
        [sys.executable, "-c", code, f"127.0.0.1:{free_port()}"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "RAY_AUTH_MODE": "disabled"},
        timeout=60,
    )
    assert done.stdout.startswith("unreachable"), done.stderr
