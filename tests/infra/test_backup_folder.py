"""The folders of backups and of exports after a death at the worst moment; no server is needed."""

import json
from pathlib import Path

from infra.backup_folder import JOURNAL, BackupFolder, StoredObject, facts_of, write_objects
from infra.export_folder import PROGRESS, Entry, ExportFolder


def folder_of(root: Path) -> BackupFolder:
    folder = BackupFolder(root)
    folder.prepare()
    return folder


def add(folder: BackupFolder, name: str, content: str) -> None:
    """A generation that has one object."""
    folder.unfinished.mkdir(exist_ok=True)
    sha256 = content * 64
    place = folder.content(sha256)
    place.parent.mkdir(exist_ok=True)
    place.write_text("what was sent")
    write_objects(
        folder.unfinished / "objects.parquet", [StoredObject(content, sha256, 13, "", "", "{}")]
    )
    facts = {"objects.parquet": facts_of(folder.unfinished / "objects.parquet")}
    folder.finish(name, json.dumps({"format": 1, "files": facts}).encode(), "signed")


def names(folder: BackupFolder) -> list[str]:
    return [generation.name for generation in folder.generations()]


def test_a_removal_that_was_cut_short_keeps_no_later_backup_from_being_taken(
    tmp_path: Path,
) -> None:
    folder = folder_of(tmp_path / "backups")
    for number, content in enumerate("abc", start=1):
        add(folder, f"2026-05-0{number}T030000Z", content)
    # As if it had died between two files of the oldest one.
    going = folder.root / "2026-05-01T030000Z"
    going.rename(folder.root / "removed-2026-05-01T030000Z")
    (folder.root / "removed-2026-05-01T030000Z" / "manifest.json").unlink()
    folder.prepare()
    assert names(folder) == ["2026-05-02T030000Z", "2026-05-03T030000Z"]
    assert folder.prune(2) == 0
    assert not list(folder.root.glob("removed-*"))
    assert [path.name[0] for path in sorted(folder.root.glob("contents/??/*"))] == ["b", "c"]
    assert folder.prune(1) == 1
    assert [path.name[0] for path in sorted(folder.root.glob("contents/??/*"))] == ["c"]


def test_a_line_that_a_full_disk_has_torn_costs_no_other_line_of_a_journal(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "backups")
    known = StoredObject("blobs/x", "a" * 64, 13, "", "", "{}")
    place = folder.content(known.sha256)
    place.parent.mkdir()
    place.write_text("what was sent")
    line = json.dumps(vars(known))
    (folder.unfinished / JOURNAL).write_text(f"{line}\n{line[:30]}{line}\n{line[:9]}")
    assert folder.known_objects() == {"blobs/x": known}

    exported = ExportFolder(tmp_path / "export")
    exported.prepare()
    exported.note(Entry("owner", "ada", {}))
    with (exported.root / PROGRESS).open("a") as progress:
        progress.write('{"kind": "ro')
    exported.note(Entry("schema", "torn away", {}))
    exported.note(Entry("schema", "digital.notes.raw", {}))
    assert set(exported.finished()) == {("owner", "ada"), ("schema", "digital.notes.raw")}
