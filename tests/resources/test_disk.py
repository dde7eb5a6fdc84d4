from pathlib import Path

from resources.disk import free_on_disk


def test_a_folder_that_is_not_made_yet_has_the_room_of_the_disk_it_will_be_on(
    tmp_path: Path,
) -> None:
    assert free_on_disk(tmp_path / "not" / "yet") > 0
