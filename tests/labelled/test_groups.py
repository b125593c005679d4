"""Groups of photos: the three rules, their errors, and the proposal."""

import pytest

from pipeline.errors import ConfigError, DataError
from pipeline.labelled.groups import (
    explain_group_rules,
    find_groups,
    parse_group_rule,
    propose_group_rule,
    read_group_column,
    refuse_similar,
)

BOARDS = [f"lot-1/board-{board}_{view}.png" for board in range(20) for view in range(4)]


def test_an_expression_gives_its_first_capture_or_the_whole_match():
    names = ["a/board-12_1.png", "b/board-7_2.png"]
    assert find_groups(parse_group_rule(r"board-(\d+)"), names) == {names[0]: "12", names[1]: "7"}
    assert find_groups(parse_group_rule(r"board-\d+"), names) == {names[0]: "board-12", names[1]: "board-7"}


def test_paths_without_a_match_are_counted_and_named():
    with pytest.raises(ConfigError, match=r"does not match 2 of 3 photos \(b\.png, c\.png\); write an expression"):
        find_groups(parse_group_rule("board-(.)"), ["board-1.png", "b.png", "c.png"])
    with pytest.raises(ConfigError, match="does not match 1 of 1"):  # the capture is empty
        find_groups(parse_group_rule("b(x?)"), ["b.png"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(", "is not a regular expression"),
        ("column:", "names no column"),
        ("", "an empty path"),
        (".*", "an empty path"),
    ],
)
def test_wrong_rules_say_what_to_write(text, message):
    with pytest.raises(ValueError, match=message):
        parse_group_rule(text)


def test_a_photo_by_itself_keeps_its_copies():
    rule = parse_group_rule("photo")
    assert find_groups(rule, ["a", "b"]) == {"a": "a", "b": "b"}
    assert find_groups(rule, ["a", "b", "c"], contents={"a": "11", "b": "11"}) == {"a": "11", "b": "11", "c": "c"}


def test_a_column_of_a_csv(tmp_path):
    file = tmp_path / "labels.csv"
    file.write_text("path,board\na.png, B1\nsub/../b.png,B2\nc.png,\n")
    rule = parse_group_rule("column:board")
    columns = read_group_column(rule, file)
    assert find_groups(rule, ["a.png", "b.png"], columns=columns) == {"a.png": "B1", "b.png": "B2"}
    with pytest.raises(ConfigError, match=r"no value in the column 'board' for 2 of 3 photos \(c\.png, d\.png\)"):
        find_groups(rule, ["a.png", "c.png", "d.png"], columns=columns)
    with pytest.raises(DataError, match="has no column 'lot'"):
        read_group_column(parse_group_rule("column:lot"), file)
    with pytest.raises(ConfigError, match="needs a CSV with the columns path and board; name it: --labels"):
        read_group_column(rule, None)
    assert read_group_column(parse_group_rule("photo"), None) is None


def test_families_in_the_paths_are_proposed():
    rule = propose_group_rule(BOARDS)
    assert len(set(find_groups(rule, BOARDS).values())) == 20
    assert f"--group '{rule.text}': 20 groups ('lot-1/board-0'" in explain_group_rules(BOARDS)
    folders = [f"board{board}/{view}.png" for board in range(20) for view in range(4)]
    assert len(set(find_groups(propose_group_rule(folders), folders).values())) == 20


@pytest.mark.parametrize(
    "names",
    [
        [f"{label}/photo-{number}.png" for label in "abc" for number in range(100)],  # classes
        [f"{number}.png" for number in range(50)],
        [],
    ],
)
def test_other_paths_get_no_proposal(names):
    assert propose_group_rule(names) is None
    assert "the paths suggest" not in explain_group_rules(names)


def test_likeness_needs_photos_seen_by_a_model():
    rule = parse_group_rule("similar")
    assert (rule.is_similar, rule.is_photo, rule.column) == (True, False, None)
    with pytest.raises(ConfigError, match=r"group = similar: not possible for this command.* finetune and evaluate"):
        find_groups(rule, ["a.png"])
    with pytest.raises(ConfigError, match=r"not possible for splits\.csv"):
        refuse_similar(rule, "splits.csv")
    refuse_similar(None, "splits.csv")
    refuse_similar(parse_group_rule("photo"), "splits.csv")
