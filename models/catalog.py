"""Which models there are, for which task and profile, and how each is loaded.

To add a model: one class in its task's module, one line here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, overload

from models.activity import ActivityClassifier, LogisticClassifier
from models.errors import ModelUnavailableError, UnknownModelError
from models.model import Model
from models.speech_recognition import SpeechRecognizer, WhisperRecognizer
from models.text_embedding import MiniLmEmbedder, SentenceTransformersEmbedder, TextEmbedder
from models.text_reading import PaddleReader, SuryaReader, TextReader
from models.voice_activity import SileroDetector, VoiceActivityDetector

Profile = Literal["tiny", "full"]

WHISPER_FILES = ("model.bin", "config.json", "tokenizer.json", "vocabulary.json")
TRANSFORMER_FILES = ("model.safetensors", "config.json", "modules.json")
SURYA_FILES = ("text_detection/model.safetensors", "text_recognition/model.safetensors")


class Task(StrEnum):
    """What a model is for; one Protocol each."""

    VOICE_ACTIVITY = "voice_activity"
    SPEECH_RECOGNITION = "speech_recognition"
    TEXT_READING = "text_reading"
    TEXT_EMBEDDING = "text_embedding"
    ACTIVITY = "activity"


@dataclass(frozen=True)
class ModelSpec:
    """One model of the catalog.

    `folder` is below the models directory, null where the weights are inside a package;
    `gpu_share` is the part of a GPU it takes on a cluster that has one.
    """

    task: Task
    model_id: str
    profiles: tuple[Profile, ...]
    load: Callable[[Path], Model]
    folder: str | None = None
    files: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    extra: str | None = None
    gpu_share: float = 0.0

    def place(self, models_dir: Path) -> Path:
        """The folder the weights are read from."""
        return models_dir / (self.folder or "")

    def lack(self, models_dir: Path) -> str | None:
        """What has to be done before this model can be loaded; null when nothing."""
        absent = [name for name in self.packages if find_spec(name) is None]
        if absent:
            extra = f"pip install 'am[{self.extra}]'" if self.extra else "make setup"
            return f"package {absent[0]} is not installed: {extra}"
        folder = self.place(models_dir)
        missing = [name for name in self.files if not (folder / name).is_file()]
        if not missing:
            return None
        profile = self.profiles[0] if self.profiles else "full"
        return f"{', '.join(missing)} missing: run `am models pull --profile {profile}`"


def _silero(_folder: Path) -> Model:
    return SileroDetector.load()


def _whisper_base(folder: Path) -> Model:
    return WhisperRecognizer.load(folder, model_id="whisper-base")


def _whisper_large(folder: Path) -> Model:
    return WhisperRecognizer.load(folder, model_id="faster-whisper-large-v3")


def _paddle_tiny(_folder: Path) -> Model:
    return PaddleReader.load("tiny")


def _paddle_small(_folder: Path) -> Model:
    return PaddleReader.load("small")


def _mpnet(folder: Path) -> Model:
    return SentenceTransformersEmbedder.load(folder, model_id="all-mpnet-base-v2")


def _basic_motions(_folder: Path) -> Model:
    return LogisticClassifier.load()


MODELS: tuple[ModelSpec, ...] = (
    ModelSpec(
        Task.VOICE_ACTIVITY,
        "silero-vad-v6",
        ("tiny", "full"),
        _silero,
        packages=("faster_whisper", "onnxruntime"),
    ),
    ModelSpec(
        Task.SPEECH_RECOGNITION,
        "whisper-base",
        ("tiny",),
        _whisper_base,
        folder="whisper-base",
        files=WHISPER_FILES,
        packages=("faster_whisper",),
        gpu_share=0.1,
    ),
    ModelSpec(
        Task.SPEECH_RECOGNITION,
        "faster-whisper-large-v3",
        ("full",),
        _whisper_large,
        folder="faster-whisper-large-v3",
        files=(*WHISPER_FILES, "preprocessor_config.json"),
        packages=("faster_whisper",),
        gpu_share=0.3,
    ),
    ModelSpec(
        Task.TEXT_READING, "pp-ocrv6-tiny", ("tiny",), _paddle_tiny, packages=("faster_paddle",)
    ),
    ModelSpec(Task.TEXT_READING, "pp-ocrv6-small", (), _paddle_small, packages=("faster_paddle",)),
    ModelSpec(
        Task.TEXT_READING,
        "surya-ocr",
        ("full",),
        SuryaReader.load,
        folder="surya-ocr",
        files=SURYA_FILES,
        packages=("surya",),
        extra="ocr",
        gpu_share=0.3,
    ),
    ModelSpec(
        Task.TEXT_EMBEDDING,
        "all-minilm-l6-v2-int8",
        ("tiny",),
        MiniLmEmbedder.load,
        folder="all-minilm-l6-v2-int8",
        files=("model.onnx", "tokenizer.json"),
        packages=("onnxruntime", "tokenizers"),
    ),
    ModelSpec(
        Task.TEXT_EMBEDDING,
        "all-mpnet-base-v2",
        ("full",),
        _mpnet,
        folder="all-mpnet-base-v2",
        files=TRANSFORMER_FILES,
        packages=("sentence_transformers",),
        extra="ml",
        gpu_share=0.1,
    ),
    ModelSpec(Task.ACTIVITY, "basicmotions-logistic", ("tiny", "full"), _basic_motions),
)


def find_model(
    task: Task, *, profile: Profile, overrides: Mapping[Task, str] | None = None
) -> ModelSpec:
    """The model of a task: the one its override names, else the profile's.

    An override is a `model_id` of the catalog, or `faster-whisper:FOLDER` or
    `sentence-transformers:FOLDER` for any such model in a folder of the models directory.

    Raises: UnknownModelError.
    """
    name = (overrides or {}).get(task)
    of_task = [spec for spec in MODELS if spec.task is task]
    if name is None:
        return next(spec for spec in of_task if profile in spec.profiles)
    if ":" in name:
        return _from_folder(task, name)
    for spec in of_task:
        if spec.model_id == name:
            return spec
    raise UnknownModelError(task, name, [spec.model_id for spec in of_task])


def _from_folder(task: Task, name: str) -> ModelSpec:
    kind, _, folder = name.partition(":")
    if task is Task.SPEECH_RECOGNITION and kind == "faster-whisper":
        return ModelSpec(
            task,
            name,
            (),
            lambda place: WhisperRecognizer.load(place, model_id=folder),
            folder=folder,
            files=WHISPER_FILES[:1],
            packages=("faster_whisper",),
            gpu_share=0.3,
        )
    if task is Task.TEXT_EMBEDDING and kind == "sentence-transformers":
        return ModelSpec(
            task,
            name,
            (),
            lambda place: SentenceTransformersEmbedder.load(place, model_id=folder),
            folder=folder,
            files=TRANSFORMER_FILES[:1],
            packages=("sentence_transformers",),
            extra="ml",
            gpu_share=0.1,
        )
    kinds = ("faster-whisper:FOLDER", "sentence-transformers:FOLDER")
    raise UnknownModelError(task, name, kinds)


@overload
def load_model(
    task: Literal[Task.VOICE_ACTIVITY],
    *,
    profile: Profile,
    models_dir: Path,
    overrides: Mapping[Task, str] | None = None,
) -> VoiceActivityDetector: ...
@overload
def load_model(
    task: Literal[Task.SPEECH_RECOGNITION],
    *,
    profile: Profile,
    models_dir: Path,
    overrides: Mapping[Task, str] | None = None,
) -> SpeechRecognizer: ...
@overload
def load_model(
    task: Literal[Task.TEXT_READING],
    *,
    profile: Profile,
    models_dir: Path,
    overrides: Mapping[Task, str] | None = None,
) -> TextReader: ...
@overload
def load_model(
    task: Literal[Task.TEXT_EMBEDDING],
    *,
    profile: Profile,
    models_dir: Path,
    overrides: Mapping[Task, str] | None = None,
) -> TextEmbedder: ...
@overload
def load_model(
    task: Literal[Task.ACTIVITY],
    *,
    profile: Profile,
    models_dir: Path,
    overrides: Mapping[Task, str] | None = None,
) -> ActivityClassifier: ...
@overload
def load_model(
    task: Task,
    *,
    profile: Profile,
    models_dir: Path,
    overrides: Mapping[Task, str] | None = None,
) -> Model: ...
def load_model(
    task: Task,
    *,
    profile: Profile,
    models_dir: Path,
    overrides: Mapping[Task, str] | None = None,
) -> Model:
    """Load the model of a task into this process; seconds for the large ones.

    Raises: ModelUnavailableError when weights or packages are missing or broken,
    UnknownModelError for an override that names none.
    """
    return load_spec(find_model(task, profile=profile, overrides=overrides), models_dir)


def load_spec(spec: ModelSpec, models_dir: Path) -> Model:
    """Load one model of the catalog.

    Raises: ModelUnavailableError.
    """
    folder = spec.place(models_dir)
    remedy = spec.lack(models_dir)
    if remedy is not None:
        raise ModelUnavailableError(spec.task, str(folder), remedy)
    try:
        return spec.load(folder)
    except Exception as error:  # onnxruntime and tokenizers raise nothing narrower
        remedy = f"{error}; run `am models pull --verify`"
        raise ModelUnavailableError(spec.task, str(folder), remedy) from error
