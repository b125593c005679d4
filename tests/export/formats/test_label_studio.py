import json
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import pytest

from pipeline.reviews.record import ReviewBox
from tests.export.archive import review_photos
from tests.export.formats.written import write_export


def tasks_of(folder):
    return json.loads((folder / "tasks.json").read_text("utf-8"))


def results_of(task, kind):
    [answer] = task.get("annotations") or task["predictions"]
    return [result for result in answer["result"] if result["type"] == kind]


def test_boxes_are_percent_of_the_picture(archive, tmp_path):
    found = set()
    for task in tasks_of(write_export(archive, tmp_path / "data", "label-studio")):
        assert "predictions" not in task
        for result in results_of(task, "rectanglelabels"):
            width, height, value = result["original_width"], result["original_height"], result["value"]
            x0, y0 = value["x"] / 100 * width, value["y"] / 100 * height
            x1, y1 = x0 + value["width"] / 100 * width, y0 + value["height"] / 100 * height
            found.add(
                (task["data"]["photo"], value["rectanglelabels"][0], *(round(each, 6) for each in (x0, y0, x1, y1)))
            )
        [label] = results_of(task, "choices")
        assert label["value"]["choices"] == [archive.labels[task["data"]["photo"]]]
    assert found == {(path, defect.label, *defect.box) for path, defect in archive.defects.items()}


def test_urls_lead_to_the_pictures(archive, tmp_path):
    data = write_export(archive, tmp_path / "data", "label-studio")
    for task in tasks_of(data):
        url = urlsplit(task["data"]["image"])
        assert url.path == "/data/local-files/"
        assert (data / parse_qs(url.query)["d"][0]).is_file()
        assert task["data"]["path"] == parse_qs(url.query)["d"][0]


def test_photos_nobody_has_reviewed_are_predictions_in_every_split(unreviewed, tmp_path):
    reviewed = list(unreviewed.labels)[:10]
    review_photos(unreviewed, {path: {} for path in reviewed})
    data = write_export(unreviewed, tmp_path / "data", "label-studio", also="model>=0")
    tasks = {task["data"]["photo"]: task for task in tasks_of(data)}
    assert set(tasks) == set(unreviewed.labels)
    assert {path for path, task in tasks.items() if "annotations" in task} == set(reviewed)
    predicted = [task for task in tasks.values() if "predictions" in task]
    assert {task["data"]["split"] for task in predicted} == {"train", "validation", "test"}
    for task in predicted:
        [prediction] = task["predictions"]
        assert 0 < prediction["score"] <= 1
        assert len(prediction["model_version"]) >= 8


def test_the_interface_names_every_class(archive, tmp_path):
    path = next(iter(archive.defects))
    archive.review(path, label='<b> "x" & y', boxes=(ReviewBox(*archive.defects[path].box, '<b> "x" & y'),))
    interface = ElementTree.parse(write_export(archive, tmp_path / "data", "label-studio") / "interface.xml")
    boxes = [each.get("value") for each in interface.iter("Label")]
    assert '<b> "x" & y' in boxes
    assert "ok" not in boxes
    assert {"ok", *boxes} <= {each.get("value") for each in interface.iter("Choice")}


def test_panlabel_accepts_the_boxes(archive, tmp_path):
    panlabel = shutil.which("panlabel") or shutil.which("panlabel", path=str(Path(sys.executable).parent))
    if panlabel is None:
        pytest.skip("panlabel is not installed")
    tasks = tasks_of(write_export(archive, tmp_path / "data", "label-studio"))
    for task in tasks:
        # it knows boxes alone, and pictures by a URL with a file name at its end, unlike those of local files
        task["data"]["image"] = task["data"]["path"]
        task["annotations"][0]["result"] = results_of(task, "rectanglelabels")
    copy = tmp_path / "tasks.json"
    copy.write_text(json.dumps(tasks), "utf-8")
    command = [panlabel, "validate", "--strict", "--format", "label-studio", str(copy)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
