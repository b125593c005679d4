import pytest

from pipeline.results.conditions import parse_where
from pipeline.results.schema import to_table
from tests.helpers.tables import FAILED, make_row

ROWS = [
    make_row("a.png", label="spur", score=0.8),
    make_row("b.png", label="spur", score=0.3),
    make_row("c.png", label="ok and open", score=0.3),
    make_row("d.png", **FAILED),
]


def paths(text):
    return to_table(ROWS).filter(parse_where(text))["path"].to_pylist()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("score<0.8", ["b.png", "c.png"]),
        ("score <= 0.8", ["a.png", "b.png", "c.png"]),
        ("score==0.8", ["a.png"]),  # a float32 in the table
        ("label==spur and score<0.8", ["b.png"]),
        ("label = spur AND score > .5", ["a.png"]),
        ("label == 'ok and open'", ["c.png"]),
        ('label=="spur" and path!="a.png"', ["b.png"]),
        ("status==failed", ["d.png"]),
        ("width>=30", ["a.png", "b.png", "c.png", "d.png"]),
        ("processed_at<2001-09-09", []),
        ("mtime>2023-11-14T22:13", ["a.png", "b.png", "c.png", "d.png"]),
    ],
)
def test_comparisons(text, found):
    assert paths(text) == found


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("scor<0.8", "no such column: scor; did you mean score?"),
        ("nonsense<1", "no such column: nonsense; there are path, "),
        ("attention==1", "no such column: attention"),  # a list can't be compared
        ("label", "'label' is not a comparison; write it as"),
        ("", "'' is not a comparison"),
        ("score<high", "score needs a number, not 'high'"),
        ("score<0.8<0.9", "'0.8<0.9' is not a value"),
        ("mtime>yesterday", "mtime needs a time such as 2026-01-31T12:00"),
        ("score<0.8 and", "score needs a number, not '0.8 and'"),
    ],
)
def test_mistakes(text, reason):
    with pytest.raises(ValueError, match=r".") as raised:
        parse_where(text)
    assert reason in str(raised.value)
