"""Runs over photos in a bucket, and over lists of them."""

import os
import socket

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import pipeline
from pipeline.errors import ConfigError, StoreError
from pipeline.storage.files import list_files
from pipeline.storage.object_store import ObjectStorage
from tests.helpers.models import save_tiny_vit
from tests.helpers.object_server import upload_folder
from tests.helpers.photos import save_photos

PER_RUN = ["run_id", "processed_at", "mtime"]


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """Photos, a model, and the table of a run over the folder."""
    folder = tmp_path_factory.mktemp("material")
    save_photos(folder / "photos" / "ä", 6)
    (folder / "photos" / "broken #1.png").write_bytes(b"no image")
    save_tiny_vit(folder / "model")
    pipeline.run(settings_of(folder, folder / "photos", folder / "plain"))
    return folder


def settings_of(material, source, out, **more):
    settings = {"model": str(material / "model"), "precision": "fp32", "batch_size": 2, "part_rows": 4, "workers": 2}
    return pipeline.RunConfig(**{"input": source, "out": out, "report": False} | settings | more)


@pytest.fixture
def photos(material, bucket):
    upload_folder(material / "photos", bucket / "photos")
    return bucket / "photos"


def test_same_rows_and_overlays_as_of_the_folder(material, photos, tmp_path):
    out = tmp_path / "out"
    summary = pipeline.run(settings_of(material, str(photos), out))
    assert (summary.input, summary.found, summary.ok, summary.failed) == (str(photos), 7, 6, 1)
    frame, plain = pipeline.read_results(out), pipeline.read_results(material / "plain")
    pd.testing.assert_frame_equal(frame.drop(columns=PER_RUN), plain.drop(columns=PER_RUN))
    for overlay in plain["overlay"].dropna():
        with Image.open(out / overlay) as ours, Image.open(material / "plain" / overlay) as theirs:
            assert np.array_equal(ours, theirs)
    assert pipeline.run(settings_of(material, str(photos), out)).processed == 0


def test_from_bucket_to_bucket(material, photos):
    out = photos.parent / "results"
    pipeline.run(settings_of(material, photos, out))
    frame, plain = pipeline.read_results(out), pipeline.read_results(material / "plain")
    pd.testing.assert_frame_equal(frame.drop(columns=PER_RUN), plain.drop(columns=PER_RUN))


def test_new_changed_touched_and_deleted_objects(material, photos, tmp_path):
    config = settings_of(material, photos, tmp_path / "out")
    pipeline.run(config)
    storage = ObjectStorage(photos)
    storage.put("ä/photo-0000.png", (material / "photos" / "ä" / "photo-0001.png").read_bytes() + b"longer")
    storage.put("new.png", (material / "photos" / "ä" / "photo-0002.png").read_bytes())
    storage.delete(["ä/photo-0005.png"])
    summary = pipeline.run(config)
    assert (summary.new, summary.changed, summary.gone, summary.processed) == (1, 1, 1, 2)


def test_object_written_again_with_the_same_content(material, photos, tmp_path):
    out = tmp_path / "out"
    pipeline.run(settings_of(material, photos, out))
    frame = pipeline.read_results(out, ["path", "mtime"]).set_index("path")["mtime"]
    first = min(entry.mtime_ns for entry in list_files(photos / "ä"))
    while min(entry.mtime_ns for entry in list_files(photos / "ä")) == first:  # stores count in seconds
        upload_folder(material / "photos", photos)
    summary = pipeline.run(settings_of(material, photos, out))
    assert (summary.processed, summary.changed, summary.done_before) == (0, 0, 7)
    again = pipeline.read_results(out, ["path", "mtime"]).set_index("path")["mtime"]
    assert (again > frame).any()


def run_and_interfere(config, interfere):
    """Run, and call a function once, when the first photos are read and the last ones aren't yet."""
    calls = []

    def stop():
        if not calls:
            calls.append(interfere())
        return False

    return pipeline.run(config, stop=stop)


def test_objects_changed_or_deleted_during_a_run(material, photos, tmp_path):
    def change_last_photos():
        ObjectStorage(photos).put("ä/photo-0004.png", b"other content")
        ObjectStorage(photos).delete(["ä/photo-0005.png"])

    config = settings_of(material, photos, tmp_path / "out", batch_size=1, workers=1)
    assert run_and_interfere(config, change_last_photos).failed == 3
    frame = pipeline.read_results(tmp_path / "out").set_index("path")
    changed, deleted = frame.loc["ä/photo-0004.png"], frame.loc["ä/photo-0005.png"]
    assert changed["error"] == "it changed while it was read; the next run takes it up again"
    assert deleted["error"] == "can't be read: no such object; it vanished during the run"
    assert changed[["content_hash"]].isna().all()
    again = pipeline.run(config)
    assert (again.processed, again.gone) == (1, 1)


def test_store_lost_during_a_run_ends_it(material, photos, tmp_path, monkeypatch, object_server):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        lost = f"http://127.0.0.1:{closed.getsockname()[1]}"
        config = settings_of(material, photos, tmp_path / "out", batch_size=1, workers=1, part_rows=1)
        with pytest.raises(StoreError, match="doesn't answer; check the network and AWS_ENDPOINT_URL, then run again"):
            run_and_interfere(config, lambda: monkeypatch.setenv("AWS_ENDPOINT_URL", lost))
    kept = len(pipeline.read_results(tmp_path / "out"))
    assert kept
    monkeypatch.setenv("AWS_ENDPOINT_URL", object_server.endpoint)
    assert pipeline.run(config).processed == 7 - kept


def test_list_of_paths_and_urls(material, photos, tmp_path):
    near = tmp_path / "near.png"
    near.write_bytes((material / "photos" / "ä" / "photo-0003.png").read_bytes())
    lines = ["near.png", f"{photos}/ä/photo-0000.png", f"{photos}/broken #1.png", f"{photos}/none.png", "none.png"]
    (tmp_path / "photos.txt").write_text("\n".join(lines))
    config = settings_of(material, tmp_path / "photos.txt", tmp_path / "out")
    summary = pipeline.run(config)
    assert (summary.found, summary.ok, summary.failed) == (5, 2, 3)
    frame = pipeline.read_results(tmp_path / "out").set_index("path")
    plain = pipeline.read_results(material / "plain").set_index("path")
    bucket = str(photos)
    for ours, theirs in (("near.png", "ä/photo-0003.png"), (f"{bucket}/ä/photo-0000.png", "ä/photo-0000.png")):
        assert np.allclose(frame.loc[ours, "logits"], plain.loc[theirs, "logits"], atol=1e-4)
    assert frame.loc[f"{bucket}/none.png", "error"] == "can't be opened: no such object"
    assert os.path.exists(tmp_path / "out" / frame.loc[f"{bucket}/ä/photo-0000.png", "overlay"])
    assert pipeline.run(config).processed == 0


def test_labels_of_objects(material, photos, tmp_path):
    (tmp_path / "labels.csv").write_text("path,expected\nä/photo-0000.png,class-0\nä/photo-0001.png,class-1\n")
    config = settings_of(
        material, photos, tmp_path / "out", method=("legrad",), target="expected",
        labels=tmp_path / "labels.csv",
    )  # fmt: skip
    assert pipeline.run(config).ok == 2


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("s3://no-such-bucket/photos", "there is no such bucket"),
        ("{bucket}/nothing", "no photos in {bucket}/nothing"),
        ("{bucket}/nothing.txt", "the list can't be read"),
        ("ftp://host/photos", "ftp:// is not supported"),
    ],
)
def test_faults_are_found_before_any_work(material, bucket, tmp_path, source, reason):
    with pytest.raises(ConfigError, match=reason.format(bucket=bucket)):
        pipeline.run(settings_of(material, source.format(bucket=bucket), tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_results_within_the_photos_are_refused(material, bucket):
    with pytest.raises(ConfigError, match="lies inside the input folder"):
        settings_of(material, bucket / "photos", bucket / "photos" / "out")
    settings_of(material, bucket / "photos", bucket / "photos-out")
