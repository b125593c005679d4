"""Families stay on one side in a fine-tuning, for all kinds of data and rules."""

import shutil

import pandas as pd
import pytest

from pipeline.training.finetune import finetune


def sides_of(model):
    """Return the number of sides of each group, and the splits in use."""
    table = pd.read_csv(model / "split.csv", dtype=str)
    return table.groupby("group")["split"].nunique(), set(table["split"])


@pytest.fixture
def families(photos, tmp_path):
    """Twelve parts of two photos each class, as a folder and as a CSV with the column part."""
    folder = tmp_path / "families"
    rows = []
    for number, file in enumerate(sorted(photos.glob("*/*.png"))):
        name = f"{file.parent.name}/part-{int(file.stem) // 2}_{number}.png"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder / name)
        rows.append((name, file.parent.name, f"{file.parent.name}-{int(file.stem) // 2}"))
    return folder, pd.DataFrame(rows, columns=["path", "label", "part"])


@pytest.mark.parametrize("rule", [r"(\w+/part-\d+)_", "column:part", "photo"])
@pytest.mark.parametrize("layout", ["folder", "csv", "csv with splits"])
def test_no_group_is_on_two_sides(settings, families, tmp_path, rule, layout):
    folder, table = families
    if layout == "csv with splits":  # no validation: it is dealt from train, by whole groups
        table["split"] = ["test" if part.endswith("4") else "train" for part in table["part"]]
    table.to_csv(folder / "labels.csv", index=False)
    more = {"labels": folder / "labels.csv"} if layout == "folder" and rule == "column:part" else {}
    finetune(settings(data=folder if layout == "folder" else folder / "labels.csv", group=rule, **more))
    sides, splits = sides_of(tmp_path / "out")
    assert (sides == 1).all()
    assert len(sides) == (30 if rule == "photo" else 15)
    assert splits == {"train", "validation", "test"}
