"""splits.csv: groups are only ever added, and another rule is refused."""

import json
import threading

import pytest

from pipeline.errors import ConfigError, DataError
from pipeline.labelled.groups import GroupRule
from pipeline.labelled.splits import LabelledPhoto
from pipeline.labelled.sticky_splits import (
    SplitPlan,
    assign_sticky_splits,
    choose_split_plan,
    extend_sticky_splits,
    read_sticky_splits,
)

PLAN = SplitPlan(GroupRule(r"board-(\d+)"), (0.6, 0.2, 0.2), 3)


def boards(first, last):
    return {f'board, "{number}"': {"ok": 2, "short": 1} for number in range(first, last)}


def test_a_second_round_only_appends(tmp_path):
    file = tmp_path / "reviews" / "splits.csv"
    first = extend_sticky_splits(file, PLAN, boards(0, 50))
    before = file.read_text()
    assert json.loads(before.splitlines()[0].removeprefix("# ")) == {
        "group": r"board-(\d+)", "shares": [0.6, 0.2, 0.2], "seed": 3,
    }  # fmt: skip
    both = extend_sticky_splits(file, PLAN, boards(25, 100))
    assert file.read_text().startswith(before)
    assert both.items() > first.items()
    assert len(both) == 100
    assert read_sticky_splits(file).splits == both
    assert extend_sticky_splits(file, PLAN, boards(0, 100)) == both


def test_photos_get_the_split_of_their_group(tmp_path):
    photos = [LabelledPhoto(f"{number}.png", None, "ok", group=str(number // 4)) for number in range(80)]
    placed = assign_sticky_splits(photos, tmp_path / "splits.csv", PLAN)
    assert [photo.name for photo in placed] == [photo.name for photo in photos]
    assert len({(photo.group, photo.split) for photo in placed}) == 20
    grown = [LabelledPhoto(f"{number}.png", None, "short", group=str(number // 4)) for number in range(60, 100)]
    again = {photo.group: photo.split for photo in assign_sticky_splits(grown, tmp_path / "splits.csv", PLAN)}
    assert all(again.get(photo.group, photo.split) == photo.split for photo in placed)


def test_another_rule_or_other_shares_are_refused_with_both_named(tmp_path):
    file = tmp_path / "splits.csv"
    extend_sticky_splits(file, PLAN, boards(0, 5))
    with pytest.raises(ConfigError, match=r"group = photo: .*splits\.csv was dealt with group = board-.*start over"):
        choose_split_plan(file, GroupRule("photo"), None, 0, ())
    with pytest.raises(ConfigError, match=r"shares = 0\.7,0\.15,0\.15: .* shares = 0\.6,0\.2,0\.2"):
        choose_split_plan(file, None, (0.7, 0.15, 0.15), 0, ())
    assert choose_split_plan(file, None, None, 9, ()) == PLAN
    with pytest.raises(ConfigError, match="group = photo"):
        extend_sticky_splits(file, SplitPlan(GroupRule("photo"), PLAN.shares), boards(5, 6))


def test_without_a_rule_the_answers_are_explained(tmp_path):
    names = [f"b{number // 4}_{number % 4}.png" for number in range(80)]
    with pytest.raises(
        ConfigError, match=r"--group 'REGEX' .* --group column:NAME .* --group photo .* suggest --group"
    ):
        choose_split_plan(tmp_path / "splits.csv", None, None, 0, names)
    rule = GroupRule("photo")
    assert choose_split_plan(None, rule, None, 5, names) == SplitPlan(rule, (0.7, 0.15, 0.15), 5)


@pytest.mark.parametrize(
    "text",
    ["group,split,since\n", '# {"group": "photo"}\ngroup,split,since\n', "", "\xff",
     '# {"group": "photo", "shares": [0.7, 0.15, 0.15], "seed": 0}\ngroup,split,since\na,holdout,x\n',
     '# {"group": "photo", "shares": [0.7, 0.15, 0.15], "seed": 0}\ngroup,split,since\na,test,x\na,test,x\n',
     '# {"group": "photo", "shares": [0.7, 0.15, 0.15], "seed": 0}\ngroup,split\na,test\n'],
)  # fmt: skip
def test_a_damaged_file_is_named(tmp_path, text):
    file = tmp_path / "splits.csv"
    file.write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match=r"splits\.csv: can't be read"):
        read_sticky_splits(file)


def test_writers_at_the_same_time_lose_nothing(tmp_path):
    file = tmp_path / "splits.csv"
    threads = [
        threading.Thread(target=extend_sticky_splits, args=(file, PLAN, boards(start, start + 30)))
        for start in range(0, 100, 10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_sticky_splits(file).splits) == 120
