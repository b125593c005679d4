"""Pictures put in place: copied, linked, or copied where links are impossible."""

import logging
import os

from pipeline.export.picture_store import PictureStore
from tests.export.test_select_photos import make_photo
from tests.helpers.disks import small_disks


def make_store(folder, *, link):
    (folder / "encoded").mkdir()
    return PictureStore(folder / "encoded", link=link)


def save_photo(folder, **changes):
    (folder / "photo.png").write_bytes(b"pixels")
    return make_photo(1, file=str(folder / "photo.png"), **changes)


def test_a_copy_is_a_file_of_its_own(tmp_path):
    make_store(tmp_path, link=False).place(save_photo(tmp_path), str(tmp_path / "new.png"))
    assert (tmp_path / "new.png").read_bytes() == b"pixels"
    assert not os.path.samefile(tmp_path / "new.png", tmp_path / "photo.png")


def test_a_link_is_the_same_file(tmp_path):
    make_store(tmp_path, link=True).place(save_photo(tmp_path), str(tmp_path / "new.png"))
    assert os.path.samefile(tmp_path / "new.png", tmp_path / "photo.png")


def test_a_linked_photo_never_becomes_a_symlink(tmp_path):
    save_photo(tmp_path)
    (tmp_path / "link.png").symlink_to("photo.png")
    make_store(tmp_path, link=True).place(make_photo(1, file=str(tmp_path / "link.png")), str(tmp_path / "new.png"))
    assert not (tmp_path / "new.png").is_symlink()
    assert os.path.samefile(tmp_path / "new.png", tmp_path / "photo.png")


def test_encoded_pictures_come_from_their_folder(tmp_path):
    store = make_store(tmp_path, link=False)
    (tmp_path / "encoded/1.png").write_bytes(b"upright")
    store.place(save_photo(tmp_path, is_plain=False), str(tmp_path / "new.png"))
    assert (tmp_path / "new.png").read_bytes() == b"upright"


def test_across_disks_photos_are_copied_with_one_line(tmp_path, caplog):
    with small_disks() as mount_disk, caplog.at_level(logging.WARNING):
        mount_disk(tmp_path / "disk", "1m")
        store = make_store(tmp_path / "disk", link=True)
        for name in ("a.png", "b.png"):
            store.place(save_photo(tmp_path), str(tmp_path / "disk" / name))
        assert (tmp_path / "disk/b.png").read_bytes() == b"pixels"
        assert [record.message.partition(":")[0] for record in caplog.records] == ["photos are copied"]
