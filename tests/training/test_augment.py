"""Each augmentation alone: its range when on, no change when off."""

import pytest
import torch

from pipeline.training.augment import Augmentation, augment

SIZE = 16


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def photo(size=SIZE):
    """A photo of distinct pixels, to make every move of them show."""
    return torch.randperm(3 * size * size, generator=generator(9)).remainder(241).to(torch.uint8).view(3, size, size)


def draws(changes, count=60):
    pixels = photo(changes.cache_size(SIZE))
    return [augment(pixels, changes, SIZE, generator(seed)) for seed in range(count)]


def count_of(images, expected):
    return sum(torch.equal(image, expected) for image in images)


def test_nothing_is_changed_by_default():
    assert count_of(draws(Augmentation()), photo()) == 60


def test_flips_give_four_images():
    images = draws(Augmentation(flips=True))
    counts = [count_of(images, photo().flip(sides)) for sides in ([], [1], [2], [1, 2])]
    assert sum(counts) == 60
    assert min(counts) > 5


def test_quarter_turns_give_four_images():
    images = draws(Augmentation(quarter_turns=True))
    counts = [count_of(images, photo().rot90(turns, (1, 2))) for turns in range(4)]
    assert sum(counts) == 60
    assert min(counts) > 5


def test_brightness_multiplies_within_its_range():
    gains = [image.float().mean() / photo().float().mean() for image in draws(Augmentation(brightness=0.1))]
    assert 0.89 < min(gains) < 0.95
    assert 1.05 < max(gains) < 1.11


def test_contrast_keeps_the_mean_and_scales_the_spread():
    grey = photo() // 4 + 96  # far enough from 0 and 255 to avoid clipping
    images = [augment(grey, Augmentation(contrast=0.2), SIZE, generator(seed)).float() for seed in range(60)]
    spreads = [image.std() / grey.float().std() for image in images]
    assert all(abs(image.mean() - grey.float().mean()) < 0.5 for image in images)
    assert 0.79 < min(spreads) < 0.9
    assert 1.1 < max(spreads) < 1.21


def test_values_are_clipped_not_wrapped():
    white = torch.full((3, SIZE, SIZE), 250, dtype=torch.uint8)
    images = [augment(white, Augmentation(brightness=0.5), SIZE, generator(seed)) for seed in range(20)]
    assert max(int(image.max()) for image in images) == 255
    assert all(image.unique().numel() == 1 for image in images)


@pytest.mark.parametrize("crop", [0.1, 0.25])
def test_crops_are_parts_of_the_photo_at_its_own_place(crop):
    changes = Augmentation(crop=crop)
    size = changes.cache_size(SIZE)
    assert size * (1 - crop) == pytest.approx(SIZE, abs=1)
    ramp = torch.arange(size, dtype=torch.uint8).mul(4).expand(3, size, size)  # columns rise
    widths = set()
    for seed in range(60):
        part = augment(ramp, changes, SIZE, generator(seed))
        assert part.shape == (3, SIZE, SIZE)
        columns = part[0, 0].float()
        assert (columns.diff() > 0).all()
        widths.add(round(float(columns[-1] - columns[0])))
    assert len(widths) > 1  # crops differ in size
    assert min(widths) >= 4 * (SIZE - 2)


def test_no_crop_needs_no_margin():
    assert Augmentation().cache_size(224) == 224
    assert Augmentation(crop=0.125).cache_size(224) == 256


def test_equal_seeds_draw_alike():
    changes = Augmentation(True, True, 0.2, 0.2, 0.2)
    pixels = photo(changes.cache_size(SIZE))
    first, again, other = (augment(pixels, changes, SIZE, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
