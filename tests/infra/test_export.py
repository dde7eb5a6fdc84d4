"""One user's export, read by others than AM, resumed, and taken into another stack."""

import csv
import errno
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from pyarrow import parquet

from am_assets.out.day_digest import KEPT, TABLE
from am_assets.streams.audio import AUDIO
from am_assets.streams.digital import NOTE
from am_assets.streams.position import GPS_FIX
from am_assets.streams.registry import REGISTRY
from am_assets.streams.text import TRANSCRIPT
from infra.errors import ExportError
from infra.export import Export
from infra.export_folder import MANIFEST, ExportFolder, Manifest
from infra.export_tables import LEFT_OUT, SECRET, left_out, user_tables
from infra.importing import IMPORTED, LEDGER, NOT_IMPORTED, Import
from resources.blobs import BlobStore
from resources.connections import Connections
from resources.hot import Span
from resources.lake import Lake
from resources.ledger import read_ledger
from resources.retention import Retention
from resources.vectors import VectorStore
from resources.whole import WholeStore
from tests.infra.homes import PROJECT, elsewhere
from tests.planting import Garden, rows_of
from tests.resources.moments_data import DIMENSION, moment, table
from tests.resources.rows import insert, lineage
from tests.variables import variables_of

pytestmark = pytest.mark.slow

NOW = datetime(2026, 6, 1, tzinfo=UTC)
FIRST = date(2021, 3, 1)
LEFT = FIRST - timedelta(days=1)
WAV = b"RIFF" + bytes(range(256)) * 40
USERS = ("ada", "adaa")  # one character apart


def at(day: date, hour: int) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


def plant(connections: Connections, user: str) -> None:
    """Something of everything: hot days, a day that has left, a blob, a dead letter, a moment."""
    garden = Garden(connections, user_id=user)
    fix = {"latitude": 53.5, "longitude": 1 / 3, "accuracy_m": None}
    for day in (FIRST, FIRST + timedelta(days=1)):
        garden.plant(GPS_FIX, [(at(day, hour), fix) for hour in (8, 9)])
    for text in ("", 'He said "go", then\nleft', "Käse, 日本"):
        note = {"content": text or " ", "note_type": "text", "extra": {"of": user, "n": 1.5}}
        garden.plant(NOTE, [(at(FIRST, 10), note)])
    (sound,) = garden.plant_blobs(
        AUDIO,
        [
            (
                at(FIRST, 11),
                WAV + user.encode(),
                {"sample_rate_hz": 1, "channels": 1, "duration_ms": 9},
            )
        ],
    )
    garden.plant(NOTE, [(at(LEFT, 7), {"content": f"old, of {user}", "note_type": "text"})])
    spoken = {"text": "hello", "words": [], "language": "en"}
    wanted = {c: v for c, v in spoken.items() if c in TRANSCRIPT.columns}
    made = {"user_id": user, "ts": at(FIRST, 11), **lineage(AUDIO, sound), **wanted}
    insert(connections.database_url, TRANSCRIPT, [made])
    with psycopg.connect(connections.database_url) as connection:
        note_other_things(connection, user)
    moments = table([moment("hello", user_id=user, source_event_id=str(sound))])
    store = VectorStore(connections, model_id="letters", dimension=DIMENSION)
    store.replace(
        [str(sound)], moments, user_id=user, source_stream=moments["source_stream"][0].as_py()
    )


def note_other_things(connection: psycopg.Connection, user: str) -> None:
    """Lines of AM's own tables."""
    connection.execute(
        "INSERT INTO am.blob (user_id, sha256, blob_key, byte_count, media_type) "
        "SELECT user_id, blob_sha256, blob_key, blob_bytes, 'audio/wav' "
        "FROM am.device_audio_raw WHERE user_id = %s",
        (user,),
    )
    connection.execute(
        "INSERT INTO am.device (user_id, device_id, metadata, tags) VALUES "
        "(%(u)s, 'phone', '{\"a\": 1}', '{x,y}'), (%(u)s, 'old-phone', NULL, NULL)",
        {"u": user},
    )
    connection.execute(
        "INSERT INTO am.device_alias (user_id, alias_id, canonical_id) "
        "VALUES (%s, 'old-phone', 'phone')",
        (user,),
    )
    connection.execute(
        "INSERT INTO am.dead_letter (dead_letter_id, user_id, device_id, stream, day, door, code, "
        "reason, payload) VALUES (%s, %s, 'phone', 'device.sensor.gps.raw', %s, 'test', "
        "'bad_value', 'latitude', %s)",
        (uuid4(), user, FIRST, b'\x00{"latitude": 99}'),
    )
    connection.execute(
        "INSERT INTO am.landing (batch_id, user_id, device_id, stream, day, door, received, "
        "stored, duplicate, rejected) VALUES "
        "(%s, %s, 'phone', 'device.sensor.gps.raw', '2021-03-09', 'test', 1, 0, 0, 1)",
        (uuid4(), user),
    )
    connection.execute(
        "INSERT INTO am.api_token (token_sha256, user_id, scopes) VALUES (%s, %s, '{write}')",
        (hashlib.sha256(f"token of {user}".encode()).digest(), user),
    )
    connection.execute(
        "INSERT INTO am.work_item (enrichment, version, user_id, item_id, source_stream, "
        "device_id, day, ts, state) VALUES ('moments', 1, %s, %s, 'digital.notes.raw', 'phone', "
        "%s, %s, 'done')",
        (user, uuid4(), FIRST, at(FIRST, 10)),
    )


@pytest.fixture(scope="module")
def planted(connections: Connections) -> Connections:
    """Two users' data; a day of both has left the hot store."""
    for user in USERS:
        plant(connections, user)
    Lake(connections).publish(NOTE, LEFT)
    Retention(connections, REGISTRY).leave(NOTE, LEFT)
    keep_digest(connections)
    return connections


def keep_digest(connections: Connections) -> None:
    rows = [
        {"user_id": user, "day": FIRST, "begin": NOW, "end": NOW, "row_count": 3, "digest": "{}"}
        for user in USERS
    ]
    write_deltalake(
        f"{connections.lake_uri}/{TABLE}",
        pa.Table.from_pylist(rows, schema=KEPT),
        partition_by=["day"],
        storage_options=connections.delta_options(),
    )


@pytest.fixture(scope="module")
def exported(planted: Connections, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("export")
    export(planted, root)
    return root


@pytest.fixture
def empty(planted: Connections, admin_url: str) -> Iterator[Connections]:
    with elsewhere(planted, admin_url) as place:
        yield place


def export(connections: Connections, root: Path, user: str = "ada") -> Manifest:
    return Export(connections, REGISTRY, user, ExportFolder(root)).run(now=NOW)


def manifest_of(root: Path) -> Manifest:
    found = ExportFolder(root).manifest()
    assert found is not None
    return found


def files_of(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def sums(manifest: Manifest) -> dict[str, Any]:
    """Counts and checksums but of what each stack numbers itself."""
    own = {LEDGER, "audit", *NOT_IMPORTED, "blob", "dead_letter"}
    return {
        f"{e.kind}/{e.name}": (e.row_count, e.checksum, e.byte_count)
        for e in manifest.entries
        if e.kind != "schema" and e.name not in own
    }


def is_adding_up(connections: Connections) -> bool:
    with WholeStore(connections).snapshot() as snapshot:
        return read_ledger(snapshot, REGISTRY, day=None).is_adding_up


def test_every_file_is_in_the_manifest_with_its_hash(exported: Path) -> None:
    manifest = manifest_of(exported)
    named = {name: sha for entry in manifest.entries for name, sha in entry.files.items()}
    there = files_of(exported)
    others = {MANIFEST, "index.html", "README.txt"}
    assert set(there) == set(named) | others
    assert {n: hashlib.sha256(there[n]).hexdigest() for n in named} == named


def test_rows_of_hot_days_and_of_days_that_have_left_are_there_in_both_formats(
    exported: Path, planted: Connections
) -> None:
    wanted = {(GPS_FIX.name, FIRST): 2, (NOTE.name, FIRST): 3, (NOTE.name, LEFT): 1}
    for (stream, day), count in wanted.items():
        stem = exported / "rows" / stream / day.isoformat()
        rows = parquet.read_table(f"{stem}.parquet")
        with Path(f"{stem}.csv").open(newline="") as file:
            assert len(list(csv.DictReader(file))) == rows.num_rows == count
        span = Span.of_day(day)
        there = WholeStore(planted).read(REGISTRY[stream], Span(span.begin, span.end, "ada"))
        assert rows.to_pylist() == there.to_pylist()


def test_blobs_are_as_they_were_sent_and_dead_letters_have_their_payloads(exported: Path) -> None:
    sha256 = hashlib.sha256(WAV + b"ada").hexdigest()
    (blob,) = manifest_of(exported).of("blob")
    assert (exported / blob.path).read_bytes() == WAV + b"ada"
    assert sha256 in blob.path
    (letter,) = parquet.read_table(exported / "tables" / "dead_letter.parquet").to_pylist()
    assert letter["payload"] == b'\x00{"latitude": 99}'


def test_nothing_of_another_user_and_no_secret_is_in_any_file(exported: Path) -> None:
    secret = hashlib.sha256(b"token of ada").digest()
    for name, content in files_of(exported).items():
        assert b"adaa" not in content, name
        assert secret not in content, name
        assert secret.hex().encode() not in content, name
    for path in exported.rglob("*.parquet"):
        rows = parquet.read_table(path)
        assert set(rows["user_id"].to_pylist()) <= {"ada"}, path
        assert not SECRET.get(path.stem, frozenset()) & set(rows.column_names)


def test_every_table_of_the_database_with_a_users_rows_is_exported_or_left_out_for_a_reason(
    exported: Path, planted: Connections
) -> None:
    manifest = manifest_of(exported)
    with psycopg.connect(planted.database_url) as connection:
        tables = user_tables(connection)
    told = {entry.name for entry in manifest.of("table")} | manifest.left_out.keys()
    streams = {stream.table for stream in REGISTRY.values()}
    assert set(tables) - streams == told
    assert LEFT_OUT.keys() <= set(tables)
    comes_in = {*IMPORTED, LEDGER}
    unsaid = {entry.name for entry in manifest.of("table")} - comes_in - NOT_IMPORTED.keys()
    assert unsaid == set(), "say in infra/importing.py whether it comes in"
    assert all(left_out(name, REGISTRY) is None for name in comes_in)


def test_the_index_names_every_stream_and_refers_to_no_other_place(exported: Path) -> None:
    page = (exported / "index.html").read_text()
    for stream in (GPS_FIX, NOTE, AUDIO, TRANSCRIPT):
        assert stream.name in page
        schema = json.loads((exported / "schema" / f"{stream.name}.json").read_text())
        assert [c["name"] for c in schema["x-columns"]][:2] == ["user_id", "device_id"]
    assert "://" not in page
    assert "src=" not in page


def test_a_second_run_writes_nothing_but_what_was_lost_or_changed(
    planted: Connections, exported: Path
) -> None:
    before = {p: p.stat().st_mtime_ns for p in exported.rglob("*.parquet")}
    damaged = exported / "rows" / GPS_FIX.name / f"{FIRST}.csv"
    lost = exported / "rows" / NOTE.name / f"{LEFT}.parquet"
    content = {path: path.read_bytes() for path in (damaged, lost)}
    damaged.write_text("nonsense")
    lost.unlink()
    first = manifest_of(exported)
    again = export(planted, exported)
    assert sums(again) == sums(first)
    assert {path: path.read_bytes() for path in content} == content
    changed = {p for p, mtime in before.items() if p.stat().st_mtime_ns != mtime}
    assert changed == {damaged.with_suffix(".parquet"), lost}


def test_an_export_that_was_cut_short_goes_on_and_ends_the_same(
    planted: Connections, tmp_path: Path, exported: Path
) -> None:
    class CutShortError(Exception):
        pass

    def cut(what: str, done: int, _total: int) -> None:
        if (what, done) == ("tables", 3):
            raise CutShortError

    with pytest.raises(CutShortError):
        Export(planted, REGISTRY, "ada", ExportFolder(tmp_path), cut).run(now=NOW)
    assert ExportFolder(tmp_path).manifest() is None
    written = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("rows/*/*")}
    assert written
    assert sums(export(planted, tmp_path)) == sums(manifest_of(exported))
    assert {p: p.stat().st_mtime_ns for p in written} == written


def test_what_came_after_the_first_run_is_in_the_second(
    planted: Connections, tmp_path: Path
) -> None:
    user = "grace"
    garden = Garden(planted, user_id=user)
    garden.plant(NOTE, [(at(FIRST, 8), {"content": "one", "note_type": "text"})])
    export(planted, tmp_path, user)
    garden.plant(NOTE, [(at(FIRST, 9), {"content": "two", "note_type": "text"})])
    (entry,) = export(planted, tmp_path, user).of("rows")
    assert entry.row_count == 2
    rows = parquet.read_table(tmp_path / entry.path)
    assert rows["content"].to_pylist() == ["one", "two"]


def test_an_export_of_another_user_or_another_folders_things_is_refused(
    planted: Connections, exported: Path, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match="export of ada"):
        export(planted, exported, "adaa")
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(ExportError, match="other things"):
        export(planted, tmp_path)


def test_an_import_into_an_empty_stack_gives_the_same_counts_and_checksums(
    exported: Path, empty: Connections, tmp_path: Path
) -> None:
    wanted = manifest_of(exported)
    done = Import(empty, REGISTRY, ExportFolder(exported)).run()
    assert (done.day_count, done.blob_count) == (len(wanted.of("rows")), 1)
    assert sums(export(empty, tmp_path)) == sums(wanted)
    ledger = "SELECT stream, day, sum(received), sum(rejected) FROM am.landing GROUP BY 1, 2"
    assert ("device.sensor.gps.raw", date(2021, 3, 9), 1, 1) in rows_of(empty, ledger)
    assert is_adding_up(empty)
    (blob,) = wanted.of("blob")
    assert BlobStore(empty).get(blob.name) == WAV + b"ada"
    assert Lake(empty).count_day(NOTE, LEFT) == 1
    assert VectorStore(empty, model_id="letters").count("ada") == 1


def test_a_second_import_changes_nothing(exported: Path, empty: Connections) -> None:
    job = Import(empty, REGISTRY, ExportFolder(exported))
    job.run()
    counted = "SELECT (SELECT count(*) FROM am.audit), count(*), max(seq) FROM am.landing"
    before = rows_of(empty, counted)
    version = Lake(empty).version(NOTE)
    again = job.run()
    assert (again.day_count, again.row_count, again.blob_count) == (0, 0, 0)
    assert (rows_of(empty, counted), Lake(empty).version(NOTE)) == (before, version)


def test_an_import_that_was_cut_short_goes_on(exported: Path, empty: Connections) -> None:
    class CutShortError(Exception):
        pass

    def cut(what: str, done: int, _total: int) -> None:
        if (what, done) == ("days", 2):
            raise CutShortError

    with pytest.raises(CutShortError):
        Import(empty, REGISTRY, ExportFolder(exported), cut).run()
    done = Import(empty, REGISTRY, ExportFolder(exported)).run()
    assert done.day_count == len(manifest_of(exported).of("rows")) - 2
    assert is_adding_up(empty)


def test_a_damaged_day_is_named_and_nothing_of_the_export_comes_in(
    planted: Connections, empty: Connections, tmp_path: Path
) -> None:
    export(planted, tmp_path)
    path = tmp_path / "rows" / NOTE.name / f"{FIRST}.parquet"
    parquet.write_table(parquet.read_table(path).slice(1), path)
    with pytest.raises(ExportError, match=rf"{NOTE.name} of {FIRST}"):
        Import(empty, REGISTRY, ExportFolder(tmp_path)).run()
    text = (tmp_path / MANIFEST).read_text()
    old = next(
        e
        for e in manifest_of(tmp_path).of("rows")
        if e.path.endswith(f"{NOTE.name}/{FIRST}.parquet")
    )
    fresh = hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / MANIFEST).write_text(text.replace(old.files[old.path], fresh))
    with pytest.raises(ExportError, match=rf"{NOTE.name} of {FIRST}: 2 rows, not 3"):
        Import(empty, REGISTRY, ExportFolder(tmp_path)).run()
    assert rows_of(empty, "SELECT 1 FROM am.device UNION ALL SELECT 1 FROM am.landing") == []


def test_a_day_on_which_the_stack_has_other_rows_is_refused_and_left_alone(
    exported: Path, empty: Connections
) -> None:
    Garden(empty).plant(NOTE, [(at(FIRST, 9), {"content": "mine", "note_type": "text"})])
    with pytest.raises(ExportError, match=rf"{NOTE.name} of {FIRST}.*other rows of ada"):
        Import(empty, REGISTRY, ExportFolder(exported)).run()
    assert rows_of(empty, "SELECT content FROM am.digital_notes_raw") == [("mine",)]


def test_another_users_day_that_has_left_is_joined_by_the_import(
    exported: Path, empty: Connections
) -> None:
    Garden(empty, user_id="bob").plant(NOTE, [(at(LEFT, 9), {"content": "b", "note_type": "text"})])
    Lake(empty).publish(NOTE, LEFT)
    Retention(empty, REGISTRY).leave(NOTE, LEFT)
    Import(empty, REGISTRY, ExportFolder(exported)).run()
    there = WholeStore(empty).read_day(NOTE, LEFT)
    assert sorted(map(str, there["user_id"].to_pylist())) == ["ada", "bob"]


def test_a_full_disk_is_told_with_what_to_do_and_leaves_no_half_file(tmp_path: Path) -> None:
    def fill(path: Path) -> None:
        path.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = ExportFolder(tmp_path)
    with pytest.raises(ExportError, match="run the same command again"):
        folder.write("rows/some.csv", fill)
    assert files_of(tmp_path) == {}


def test_a_manifest_that_leads_out_of_the_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="strange file"):
        ExportFolder(tmp_path).path("../other.parquet")


def test_the_command_exports_and_without_the_master_key_says_what_is_missing(
    planted: Connections, tmp_path: Path
) -> None:
    env = {**os.environ, **variables_of(planted), "AM_HOME": str(tmp_path / "nowhere")}
    key_file = env.pop("AM_MASTER_KEY_FILE")
    folder = ExportFolder(tmp_path / "out")
    words = ("export", "--user", "ada", "--to", str(folder.root))
    command = [sys.executable, "-m", "infra.cli", *words]

    def told(**master: str) -> tuple[int, str]:
        done = subprocess.run(
            command, cwd=PROJECT, env=env | master, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    code, said = told()
    assert code == 1
    assert "master key" in said
    assert folder.manifest() is None
    code, said = told(AM_MASTER_KEY_FILE=key_file)
    assert code == 0, said
    assert "1 blobs of ada" in said
    assert folder.manifest() is not None


def test_an_export_of_somebody_of_whom_there_is_nothing_is_no_success(
    planted: Connections, tmp_path: Path
) -> None:
    env = os.environ | variables_of(planted) | {"AM_HOME": str(tmp_path / "nowhere")}
    words = ("export", "--user", "adda", "--to", str(tmp_path / "out"))
    command = [sys.executable, "-m", "infra.cli", *words]
    done = subprocess.run(
        command, cwd=PROJECT, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "nothing of adda" in done.stderr


def test_what_is_no_export_or_not_the_named_users_is_told_plainly(
    exported: Path, empty: Connections, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match="not of bob"):
        Import(empty, REGISTRY, ExportFolder(exported)).run(user_id="bob")
    with pytest.raises(ExportError, match="no whole export"):
        Import(empty, REGISTRY, ExportFolder(tmp_path)).run()
    track = tmp_path / "walk.gpx"
    track.write_text("<gpx/>")
    command = [sys.executable, "-m", "infra.cli", "import", str(track)]
    told = subprocess.run(
        command,
        cwd=PROJECT,
        env=os.environ | {"AM_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 1
    assert "walk.gpx is a file" in told.stderr
