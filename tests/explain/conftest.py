"""A photo and its explanation, shared by the tests of explanations."""

import pytest

from pipeline.explain.config import ExplainConfig
from pipeline.explain.explain import explain
from tests.helpers.image_files import smooth_photo, with_orientation


@pytest.fixture(scope="package")
def photo(tmp_path_factory):
    """A landscape JPEG, large enough to be decoded at a reduced scale."""
    file = tmp_path_factory.mktemp("photos") / "photo.jpg"
    file.write_bytes(with_orientation(smooth_photo(3000, 2000), "JPEG", 6))
    return file


@pytest.fixture(scope="package")
def explained(photo, tiny_checkpoint):
    """One explanation for all tests that only read it: 3 layers of 4 heads, a 6x6 grid, 7 labels."""
    return explain(ExplainConfig(image=photo, model=str(tiny_checkpoint("vit")), precision="fp32"))
