"""A folder a class, read by Hugging Face, by torchvision's rules, and by our own commands."""

from collections import Counter
from importlib import import_module

import pytest

from pipeline.errors import DataError
from pipeline.evaluation.config import EvaluateConfig
from pipeline.evaluation.evaluate import evaluate
from pipeline.export.config import ExportConfig
from pipeline.export.export import export
from pipeline.labelled.read import read_labelled_photos
from tests.export.archive import GROUPS, review_photos


def count_folders(root):
    """Photos by split and class, found as torchvision.datasets.ImageFolder does: sorted folders, every file in them."""
    return {
        split.name: {
            folder.name: sum(file.is_file() for file in folder.rglob("*"))
            for folder in sorted(entry for entry in split.iterdir() if entry.is_dir())
        }
        for split in sorted(entry for entry in root.iterdir() if entry.is_dir())
    }


def test_walk_of_folders_and_our_own_reader_count_the_same(exported):
    archive, out = exported
    photos = read_labelled_photos(out / "imagefolder")
    ours: dict[str, Counter] = {"train": Counter(), "val": Counter(), "test": Counter()}
    for photo in photos:
        ours[{"validation": "val"}.get(photo.split, photo.split)][photo.label] += 1
    assert count_folders(out / "imagefolder") == {split: dict(counts) for split, counts in ours.items()}
    assert Counter(photo.label for photo in photos) == Counter(archive.labels.values())


def test_evaluate_counts_the_same_photos(archive, tmp_path, tiny_vit):
    names = tmp_path / "names.csv"  # those of the model
    names.write_text("label,name\nok,class-0\nopen,class-1\nshort,class-2\n")
    out = tmp_path / "data"
    export(
        ExportConfig(
            results=archive.results, out=out, format="imagefolder", group=GROUPS, rename=names, positive="open"
        )
    )
    evaluation = evaluate(
        EvaluateConfig(data=out, out=tmp_path / "evaluation", model=str(tiny_vit), split="all", resamples=0, workers=1)
    )
    folders = count_folders(out).values()
    counts = [sum(split.get(label, 0) for split in folders) for label in evaluation.labels]
    assert evaluation.confusion.sum(axis=1).tolist() == counts == [12, 13, 12]


def test_hugging_face_reads_labels_and_boxes(exported, tmp_path):
    datasets = import_module("datasets")
    archive, out = exported
    data = datasets.load_dataset("imagefolder", data_dir=str(out / "imagefolder"), cache_dir=str(tmp_path))
    assert {split: len(rows) for split, rows in data.items()} == {"train": 25, "validation": 6, "test": 6}
    assert data["train"].features["label"].names == ["ok", "open", "short"]
    for row in (row for rows in data.values() for row in rows):
        assert data["train"].features["label"].int2str(row["label"]) == archive.labels[row["path"]] == row["label_name"]
        defect = archive.defects.get(row["path"])
        assert row["objects"]["category"] == ([defect.label] if defect else [])
        if defect:
            x, y, width, height = row["objects"]["bbox"][0]
            assert (x, y, x + width, y + height) == defect.box
        assert row["image"].size == (64, 48)


def test_hugging_face_reads_a_split_without_any_box(archive, tmp_path):
    datasets = import_module("datasets")
    out = tmp_path / "data"
    export(ExportConfig(results=archive.results, out=out, format="imagefolder", group=GROUPS, classes="ok"))
    data = datasets.load_dataset("imagefolder", data_dir=str(out), cache_dir=str(tmp_path / "cache"))
    assert {row["label_name"] for rows in data.values() for row in rows} == {"ok"}


@pytest.mark.parametrize(
    ("label", "slug"),
    [("a/b", "a-b"), (".hidden", "hidden"), ("end.", "end"), ("con", "class-con"), ("COM1.x", "com1-x"),
     ("OK", "ok-2"), ("..", "class"), ("what?", "what"), ("@eaDir", "eadir")],
)  # fmt: skip
def test_class_names_impossible_as_folders(archive, tmp_path, label, slug):
    path = next(iter(archive.defects))
    review_photos(archive, {path: {"label": label}})
    config = ExportConfig(results=archive.results, out=tmp_path / "data", format="imagefolder", group=GROUPS)
    with pytest.raises(DataError) as caught:
        export(config)
    assert f"{label!r} as {slug!r}" in str(caught.value)
    assert "--rename" in str(caught.value)
    assert not (tmp_path / "data").exists()
    names = tmp_path / "names.csv"
    names.write_text(f'label,name\n"{label}",{slug}\n')
    export(config.model_copy(update={"rename": names}))
    assert len(list(tmp_path.glob(f"data/*/{slug}/*"))) == 1
