"""Names of exported pictures."""

from pipeline.export.picture_names import name_pictures

HASHES = ["0123456789abcdef" * 2, "01234567ffffffff" * 2, "ee" * 16]


def test_a_name_is_the_stem_and_the_start_of_the_hash():
    assert name_pictures([("board/a photo (1).JPG", HASHES[0], ".jpg")]) == ["a_photo_1-01234567.jpg"]


def test_names_without_a_plain_character():
    assert name_pictures([("ü.png", HASHES[0], ".png")]) == ["photo-01234567.png"]
    assert name_pictures([("x/.hidden.png", HASHES[0], ".png")]) == ["hidden-01234567.png"]
    assert name_pictures([("x/..png", HASHES[0], ".png")]) == ["photo-01234567.png"]


def test_long_names_are_cut():
    (name,) = name_pictures([("x" * 250 + ".png", HASHES[0], ".png")])
    assert len(name) == 80 + 9 + 4


def test_the_same_name_in_two_folders():
    names = name_pictures([("a/x.png", HASHES[0], ".png"), ("b/x.png", HASHES[2], ".png")])
    assert names == ["x-01234567.png", "x-eeeeeeee.png"]


def test_names_equal_but_for_the_rest_of_the_hash_or_the_case_get_it_whole():
    for other in ("b/x.png", "b/X.png", "b/x.jpg"):
        names = name_pictures([("a/x.png", HASHES[0], ".png"), (other, HASHES[1], other[-4:])])
        assert names == [f"x-{HASHES[0]}.png", f"{other[2:3]}-{HASHES[1]}{other[-4:]}"]
