"""Photos of test groups stay out of the orders by doubt."""

import json

import pytest

from pipeline.errors import ConfigError, DataError
from tests.helpers.queues import hash_of, make_photo, paths_of, queue_of

PATHS = ("b1-1.png", "b2-1.png", "b2-2.png", "other.png")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "results"


def photos(paths=PATHS):
    return [make_photo(path, {"open": 0.6, "spur": 0.4}) for path in paths]


def write_splits(out, rule, *lines):
    (out / "reviews").mkdir(parents=True, exist_ok=True)
    settings = json.dumps({"group": rule, "shares": [0.7, 0.15, 0.15], "seed": 0})
    text = "".join(f"{line}\n" for line in (f"# {settings}", "group,split,since", *lines))
    (out / "reviews" / "splits.csv").write_text(text)


def test_the_group_is_the_first_capture_of_the_path(out):
    write_splits(out, r"^(b\d)-", "b1,train,2026", "b2,test,2026")
    queue = queue_of(out, photos(), order="margin")
    assert set(paths_of(queue, out)) == {"b1-1.png", "other.png"}
    assert queue.warnings == ("2 photos are left out: in test groups",)


def test_or_the_whole_match(out):
    write_splits(out, r"^b\d", "b2,test,2026")
    assert set(paths_of(queue_of(out, photos(), order="score"), out)) == {"b1-1.png", "other.png"}


def test_each_photo_may_be_a_group(out):
    write_splits(out, "photo", f"{hash_of('b1-1.png')},test,2026")
    assert "b1-1.png" not in paths_of(queue_of(out, photos(), order="margin"), out)


def test_groups_may_be_in_a_csv(out, tmp_path):
    write_splits(out, "column:board", "7,test,2026")
    csv = tmp_path / "boards.csv"
    csv.write_text("path,board\nb1-1.png,7\nb2-1.png,8\n")
    assert set(paths_of(queue_of(out, photos(), order="margin", labels=csv), out)) == set(PATHS) - {"b1-1.png"}
    with pytest.raises(ConfigError, match="column 'board' of a CSV; name it: --labels"):
        queue_of(out, order="margin")


@pytest.mark.parametrize("order", ["random", "audit"])
def test_fair_samples_keep_test_groups(out, order):
    write_splits(out, r"^(b\d)-", "b2,test,2026")
    assert len(queue_of(out, photos(), order=order, audit=1).rows) == 4


@pytest.mark.parametrize("text", ["group,split,since\n", '# {"group": "("}\ngroup,split,since\n', "# {}\n", "#"])
def test_damaged_splits_are_refused(out, text):
    (out / "reviews").mkdir(parents=True)
    (out / "reviews" / "splits.csv").write_text(text)
    with pytest.raises(DataError, match=r"splits\.csv: can't be read"):
        queue_of(out, photos(), order="margin")
