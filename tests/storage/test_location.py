import pickle
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.storage.location import ObjectUrl, display_text, parse_location


def test_paths_stay_paths():
    assert parse_location("photos/2026") == Path("photos/2026")
    assert parse_location("/a:b//c") == Path("/a:b/c")


@pytest.mark.parametrize("text", ["s3://bucket/a/b.parquet", "gs://bucket/a/b.parquet", "az://bucket/a/b.parquet"])
def test_urls_behave_like_paths(text):
    url = parse_location(text)
    assert str(url) == text
    assert (url.name, url.stem, str(url.parent)) == ("b.parquet", "b", text.removesuffix("/b.parquet"))
    assert url.parent / "b.parquet" == url
    assert pickle.loads(pickle.dumps(url)) == url
    assert {url: 1}[parse_location(text)] == 1


def test_whole_bucket_and_slash_at_the_end():
    assert parse_location("s3://bucket") == parse_location("S3://bucket/") == ObjectUrl("s3", "bucket")
    assert str(parse_location("s3://bucket/results/")) == "s3://bucket/results"
    assert parse_location("s3://bucket") / "table" / "x.parquet" == parse_location("s3://bucket/table/x.parquet")


def test_names_like_those_of_paths():
    for name in ("part.plan.parquet", ".open", "none", "ends."):
        assert ObjectUrl("s3", "bucket", f"runs/{name}").stem == Path(name).stem or name == "ends."


def test_urls_are_ordered_like_their_keys():
    urls = [parse_location(f"s3://bucket/{key}") for key in ("b", "a/c", "a")]
    assert [url.key for url in sorted(urls)] == ["a", "a/c", "b"]


def test_below():
    out = parse_location("s3://bucket/photos/results")
    assert out.is_relative_to(parse_location("s3://bucket/photos"))
    assert out.is_relative_to(parse_location("s3://bucket"))
    assert out.is_relative_to(out)
    assert not out.is_relative_to(parse_location("s3://bucket/photos/res"))
    assert not out.is_relative_to(parse_location("s3://other/photos"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("https://bucket/a", "https:// is not supported; name a path, or a URL with s3, gs, az"),
        ("s3://", "s3://: not the name of a bucket; write s3://BUCKET/FOLDER"),
        ("s3://key:secret@bucket/a", "s3://: credentials don't belong in a URL; set them in the environment"),
        ("s3://bucket/a//b", "s3://bucket/a//b: has an empty part, . or .. between slashes; leave it out"),
        ("s3://bucket/../b", "s3://bucket/../b: has an empty part, . or .. between slashes; leave it out"),
    ],
)
def test_refused(text, reason):
    with pytest.raises(ConfigError) as caught:
        parse_location(text)
    assert str(caught.value) == reason


def test_credentials_are_not_displayed():
    assert display_text("out = s3://key:secret@bucket/a: no") == "out = s3://bucket/a: no"
