"""Every task has a model in every profile, and what is missing says what to do."""

import pickle
from pathlib import Path
from typing import get_args

import pytest

from models.catalog import MODELS, ModelSpec, Profile, Task, find_model, load_model
from models.errors import (
    ModelError,
    ModelUnavailableError,
    ModelUnreachableError,
    UnknownModelError,
    UnreadableInputError,
)
from tests.models.media import tiny_weights


@pytest.mark.parametrize("task", Task)
@pytest.mark.parametrize("profile", get_args(Profile))
def test_every_profile_has_one_model_for_every_task(task: Task, profile: Profile) -> None:
    fitting = [spec for spec in MODELS if spec.task is task and profile in spec.profiles]
    assert fitting == [find_model(task, profile=profile)]


@pytest.mark.parametrize("task", Task)
def test_a_tiny_model_loads_under_the_name_of_its_line(task: Task) -> None:
    model = load_model(task, profile="tiny", models_dir=tiny_weights())
    assert model.model_id == find_model(task, profile="tiny").model_id
    assert model.model_version


@pytest.mark.parametrize("spec", [spec for spec in MODELS if spec.folder], ids=lambda s: s.model_id)
def test_missing_weights_name_the_task_the_folder_and_the_remedy(
    spec: ModelSpec, tmp_path: Path
) -> None:
    with pytest.raises(ModelUnavailableError) as raised:
        load_model(
            spec.task, profile="tiny", models_dir=tmp_path, overrides={spec.task: spec.model_id}
        )
    assert (raised.value.task, raised.value.folder) == (spec.task, str(spec.place(tmp_path)))
    assert "am models pull" in raised.value.remedy or "pip install" in raised.value.remedy


@pytest.mark.parametrize(
    "task", [Task.SPEECH_RECOGNITION, Task.TEXT_EMBEDDING], ids=lambda task: task.value
)
def test_broken_weights_are_an_unavailable_model(task: Task, tmp_path: Path) -> None:
    spec = find_model(task, profile="tiny")
    spec.place(tmp_path).mkdir()
    for name in spec.files:
        (spec.place(tmp_path) / name).write_bytes(b"broken")
    with pytest.raises(ModelUnavailableError, match="--verify"):
        load_model(task, profile="tiny", models_dir=tmp_path)


def test_an_override_names_any_whisper_folder(tmp_path: Path) -> None:
    (tmp_path / "mine").symlink_to(tiny_weights() / "whisper-base")
    overrides = {Task.SPEECH_RECOGNITION: "faster-whisper:mine"}
    model = load_model(
        Task.SPEECH_RECOGNITION, profile="full", models_dir=tmp_path, overrides=overrides
    )
    assert model.model_id == "mine"


@pytest.mark.parametrize("name", ["whisper-huge", "sentence-transformers:mine", ":"])
def test_an_override_that_names_no_model_of_the_task_is_refused(name: str) -> None:
    overrides = {Task.SPEECH_RECOGNITION: name}
    with pytest.raises(UnknownModelError, match="known are"):
        find_model(Task.SPEECH_RECOGNITION, profile="tiny", overrides=overrides)


@pytest.mark.parametrize(
    "error",
    [
        UnknownModelError("task", "name", ["a", "b"]),
        ModelUnavailableError("task", "/folder", "do this"),
        ModelUnreachableError("task", "host:1", "gone"),
        UnreadableInputError("truncated"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_cross_a_process_border_unchanged(error: ModelError) -> None:
    # Our own objects, pickled a line above.
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
