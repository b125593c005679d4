"""`--group similar`: families by the features of the starting model, kept for a resumed training."""

import json
import shutil

import pandas as pd
import pytest

from pipeline.errors import StoppedError
from pipeline.labelled.splits import LabelledPhoto
from pipeline.training.finetune import finetune
from pipeline.training.folders import TrainingFolders
from pipeline.training.likeness_groups import group_by_likeness
from pipeline.training.recipe import plain_recipe
from tests.training.marked_photos import CLASSES


@pytest.fixture
def copied(photos, tmp_path):
    """The photos, and a copy of each under another name; one of them unreadable."""
    folder = tmp_path / "copied"
    shutil.copytree(photos, folder)
    for file in sorted(photos.glob("*/*.png")):
        shutil.copy(file, folder / file.parent.name / f"copy-{file.name}")
    (folder / "ok" / "copy-09.png").write_bytes(b"broken")
    return folder


def list_photos(folder):
    files = sorted(folder.glob("*/*.png"))
    return [LabelledPhoto(str(file.relative_to(folder)), file, file.parent.name) for file in files]


def test_copies_are_one_family_and_an_unreadable_photo_is_alone(settings, copied, tiny_checkpoint, tmp_path):
    photos, recipe = list_photos(copied), plain_recipe(settings())
    work = tmp_path / "work"
    work.mkdir()
    folders = TrainingFolders(tiny_checkpoint("vit"), work, lambda: False)
    grouped = {photo.name: photo.group for photo in group_by_likeness(photos, CLASSES, recipe, folders)}
    assert list(grouped) == [photo.name for photo in photos]
    for name, group in grouped.items():
        if name not in ("ok/09.png", "ok/copy-09.png"):
            assert grouped[name.replace("copy-", "")] == group
    assert list(grouped.values()).count("ok/copy-09.png") == 1
    assert len(set(grouped.values())) > 15

    file = work / "likeness.groups.json"  # a resumed training reads it, and embeds nothing
    file.write_text(json.dumps(dict.fromkeys(grouped, "one")))
    stopped = TrainingFolders(tmp_path / "no-model", work, lambda: True)
    assert {photo.group for photo in group_by_likeness(photos, CLASSES, recipe, stopped)} == {"one"}


def test_stopped_before_the_groups_are_known(settings, copied, tiny_checkpoint, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    folders = TrainingFolders(tiny_checkpoint("vit"), work, lambda: True)
    with pytest.raises(StoppedError, match="run the same command again to go on"):
        group_by_likeness(list_photos(copied), CLASSES, plain_recipe(settings()), folders)
    assert not (work / "likeness.groups.json").exists()


def test_families_lie_on_one_side(settings, copied, tmp_path):
    finetune(settings(data=copied, group="similar"))
    table = pd.read_csv(tmp_path / "out" / "split.csv", dtype=str)
    assert (table.groupby("group")["split"].nunique() == 1).all()
    sides = table.set_index("path")["split"]
    assert len(sides) == 59
    for name in sides.index[sides.index.str.contains("copy-")]:
        assert sides[name] == sides[name.replace("copy-", "")]
