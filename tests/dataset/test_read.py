"""All four layouts with groups and sticky splits."""

import pytest

from pipeline.dataset.read import SplitRequest, find_photo_folder, read_dataset
from pipeline.errors import ConfigError
from pipeline.labelled.sticky_splits import read_sticky_splits
from pipeline.settings import GroupedDataSettings
from tests.helpers.photos import save_photos
from tests.helpers.reviewed_folders import review_photos, save_results_folder

NAMES = [f"board-{board:02d}_{view}.png" for board in range(40) for view in range(2)]
LABELS = {name: ("ok", "open")[index % 3 == 0] for index, name in enumerate(NAMES)}
REQUEST = SplitRequest(None, 0)


@pytest.fixture
def out(tmp_path):
    return save_results_folder(tmp_path, NAMES)


def read(data, request=REQUEST, **settings):
    return read_dataset(GroupedDataSettings(data=data, out=data.parent / "out", **settings), request)


def sides_of(photos):
    """Return the splits of each group."""
    sides = {}
    for photo in photos:
        sides.setdefault(photo.group, set()).add(photo.split)
    return sides


def first_of(count):
    return {name: LABELS[name] for name in NAMES[:count]}


def test_reviewed_photos_get_sticky_splits_by_group(out):
    review_photos(out, first_of(40))
    first = read(out, group="(.+)_")
    assert all(len(splits) == 1 for splits in sides_of(first.photos).values())
    assert {photo.split for photo in first.photos} == {"train", "validation", "test"}
    assert first.split_source == "reviews/splits.csv"
    review_photos(out, LABELS)
    second = read(out)  # the rule is that of the file
    assert len(second.photos) == 80
    before = {photo.name: photo.split for photo in first.photos}
    assert {photo.name: photo.split for photo in second.photos}.items() > before.items()
    assert find_photo_folder(out) == second.root


def test_a_results_folder_asks_for_groups_once(out):
    review_photos(out, LABELS)
    with pytest.raises(ConfigError, match=r"--group 'REGEX' .* the paths suggest --group '\(\.\+\)\[-_ \]"):
        read(out)
    assert not (out / "reviews" / "splits.csv").exists()
    unsplit = read(out, SplitRequest(None, 0, needed=False))
    assert {(photo.split, photo.group) for photo in unsplit.photos} == {(None, None)}
    read(out, group="(.+)_")
    with pytest.raises(ConfigError, match=r"group = photo: .*splits\.csv was dealt with group = \(\.\+\)_"):
        read(out, group="photo")
    with pytest.raises(ConfigError, match=r"shares = 0\.8,0\.1,0\.1"):
        read(out, SplitRequest((0.8, 0.1, 0.1), 0))


def test_a_photo_by_itself_is_told_by_its_content(out):
    review_photos(out, LABELS)
    photos = read(out, group="photo").photos
    assert all(len(photo.group) == 32 for photo in photos)


def test_groups_of_a_csv(out, tmp_path):
    review_photos(out, first_of(8))
    (tmp_path / "boards.csv").write_text(
        "path,lot\n" + "".join(f"{name},{index // 4}\n" for index, name in enumerate(NAMES))
    )
    photos = read(out, group="column:lot", labels=tmp_path / "boards.csv").photos
    assert [photo.group for photo in photos] == ["0"] * 4 + ["1"] * 4
    with pytest.raises(ConfigError, match="needs a CSV with the columns path and lot; name it: --labels"):
        read(out)


def test_sure_photos_join_train_alone_and_leave_the_others_where_they_are(out):
    review_photos(out, first_of(40))
    reviewed = {photo.name: photo.split for photo in read(out, group="(.+)_").photos}
    photos = read(out, SplitRequest(None, 0, least_score=0.5)).photos
    assert {photo.name: photo.split for photo in photos if photo.weight == 1} == reviewed
    sure = [photo for photo in photos if photo.weight < 1]
    assert {photo.split for photo in sure} == {"train"}
    assert 0 < len(sure) < 40
    splits = read_sticky_splits(out / "reviews" / "splits.csv").splits
    assert {splits[photo.group] for photo in sure} == {"train"}
    assert set(splits.values()) == {"train", "validation", "test"}
    assert len(splits) == 40  # groups of validation and test are kept for their reviews


def save_classes(folder):
    for label in ("ok", "dot"):
        for board, name in enumerate(save_photos(folder / label, 20, seed=len(label))):
            (folder / label / name).rename(folder / label / f"{board // 2}-{name}")
    return folder


def test_folders_of_classes_have_groups_and_keep_splits(tmp_path):
    data, file = save_classes(tmp_path / "data"), tmp_path / "kept" / "splits.csv"
    grouped = read(data, group="/([0-9]+)-")
    assert {photo.group for photo in grouped.photos} == {str(board) for board in range(10)}
    assert {photo.split for photo in grouped.photos} == {None}
    kept = read(data, group="/([0-9]+)-", splits=file)
    assert all(len(splits) == 1 for splits in sides_of(kept.photos).values())
    assert read(data, splits=file) == kept
    assert {photo.group for photo in read(data).photos} == {None}


def test_a_csv_has_its_own_columns(tmp_path):
    names = save_photos(tmp_path, 4)
    file = tmp_path / "labels.csv"
    rows = [f"{name},{'ab'[index % 2]},{index // 2},train" for index, name in enumerate(names)]
    file.write_text("path,label,lot,split\n" + "\n".join(rows) + "\n")
    assert [photo.group for photo in read(file, group="column:lot").photos] == ["0", "0", "1", "1"]
    with pytest.raises(ConfigError, match=r"labels\.csv has splits of its own; leave --splits out"):
        read(file, group="column:lot", splits=tmp_path / "splits.csv")
    with pytest.raises(ConfigError, match=r"also: .*labels\.csv is not a results folder"):
        read(file, SplitRequest(None, 0, least_score=0.9))


def test_likeness_leaves_the_groups_to_the_model(tmp_path, out):
    """Groups that hold for good can't come from likeness; other data gets them once a model has seen the photos."""
    save_photos(tmp_path / "classes" / "ok", 4)
    photos = read(tmp_path / "classes", group="similar").photos
    assert {photo.group for photo in photos} == {None}
    with pytest.raises(ConfigError, match=r"group = similar: not possible for splits = .*splits\.csv"):
        read(tmp_path / "classes", group="similar", splits=tmp_path / "splits.csv")
    review_photos(out, first_of(40))
    with pytest.raises(ConfigError, match=r"group = similar: not possible for .*reviews/splits\.csv"):
        read(out, group="similar")


def test_copies_of_a_photo_are_one_group(tmp_path):
    folder = tmp_path / "classes" / "ok"
    first, second, *_ = save_photos(folder, 3)
    (folder / "z-copy.png").write_bytes((folder / second).read_bytes())
    groups = {photo.name: photo.group for photo in read(tmp_path / "classes", group="photo").photos}
    assert groups["ok/z-copy.png"] == groups[f"ok/{second}"] == f"ok/{second}"
    assert groups[f"ok/{first}"] == f"ok/{first}"
    assert len(set(groups.values())) == 3
