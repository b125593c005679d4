"""Photos of the model's training, found by its split.csv."""

import pytest

from pipeline.model.checkpoint import BUNDLED
from pipeline.report.training_photos import find_training_photos
from pipeline.results.folder import ResultsFolder
from tests.helpers.tables import make_record


@pytest.fixture
def find(tmp_path):
    """A function from the model of the newest run to its training photos."""
    (tmp_path / "photos").mkdir()

    def find_for(model, source=tmp_path / "photos"):
        with ResultsFolder(tmp_path / "out", source, rebind=True) as results:
            record = make_record(source, run_id=results.run_id, settings={"model": str(model)})
            results.write_record(record)
        return find_training_photos(tmp_path / "out")

    return find_for


def save_splits(folder, text, root=""):
    folder.mkdir(exist_ok=True)
    rows = [f"{line},{root}" for line in text.split()]
    (folder / "split.csv").write_text("\n".join(["path,label,split,root", *rows]) + "\n")
    return folder


def test_train_and_validation_but_not_test(find, tmp_path):
    model = save_splits(tmp_path / "model", "a.png,ok,train b/c.png,ok,validation d.png,ok,test", "../photos")
    assert find(model) == {"a.png", "b/c.png"}


def test_paths_from_another_folder(find, tmp_path):
    model = save_splits(tmp_path / "model", "photos/a.png,ok,train photos/b/c.png,ok,val", "..")
    assert {"a.png", "b/c.png"} <= find(model)
    absolute = save_splits(tmp_path / "other", f"{tmp_path}/photos/a.png,ok,train")
    assert "a.png" in find(absolute)


def test_models_without_a_known_training(find, tmp_path, caplog):
    assert find_training_photos(tmp_path / "out") == frozenset()
    assert find("google/vit-base-patch16-224") == frozenset()
    assert find("x" * 5000) == frozenset()
    assert find(tmp_path) == frozenset()
    assert find("bundled") == frozenset() or (BUNDLED / "split.csv").exists()
    assert caplog.text == ""


def test_a_damaged_file_is_named(find, tmp_path, caplog):
    assert find(save_splits(tmp_path / "model", "a.png,ok,nowhere")) == frozenset()
    assert "the audit may count photos of the model's training" in caplog.text
    assert "split.csv: split is none of" in caplog.text
