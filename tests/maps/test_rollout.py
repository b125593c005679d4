"""Captured attention -> token shares: the maths, against full float64 products and known mistakes."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.maps.attention import CapturedAttention, discard_weakest, fuse_heads
from pipeline.maps.methods import METHODS
from pipeline.maps.rollout import article_rollout, attention_rollout
from tests.helpers import reference

METHOD_NAMES = ("rollout", "article")


def peaked_attention(*, layers=3, batch=4, heads=2, tokens=11, seed=0):
    """L tensors (B, heads, N, N) whose rows sum to 1 and are far from uniform."""
    generator = torch.Generator().manual_seed(seed)
    scores = 3 * torch.randn(layers, batch, heads, tokens, tokens, generator=generator)
    return list(scores.softmax(dim=-1))


def compute_map(method, layers, **settings):
    return METHODS[method].load()(CapturedAttention(layers, **settings))


def fused_layers(attention, head_fusion="mean"):
    return [fuse_heads(layer, head_fusion) for layer in attention]


@pytest.mark.parametrize("discard_ratio", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("head_fusion", ["mean", "max", "min"])
@pytest.mark.parametrize("readout_tokens", [0, 1, 2])
@pytest.mark.parametrize("method", METHOD_NAMES)
def test_equals_the_full_products_in_float64_image_by_image(method, readout_tokens, head_fusion, discard_ratio):
    attention = peaked_attention()
    shares = compute_map(
        method, fused_layers(attention, head_fusion), readout_tokens=readout_tokens, discard_ratio=discard_ratio
    )
    assert shares.shape == (4, 11)
    for image in range(4):
        expected = reference.rollout_tokens(
            [layer[image].double().numpy() for layer in attention],
            method=method,
            head_fusion=head_fusion,
            discard_ratio=discard_ratio,
            readout=tuple(range(readout_tokens)),
        )
        np.testing.assert_allclose(shares[image].numpy(), expected, atol=1e-6, rtol=0)


def test_rollout_by_hand_on_two_layers_of_two_tokens():
    first = torch.tensor([[[1.0, 0.0], [0.5, 0.5]]])  # Â_1 = [[1, 0], [1/4, 3/4]]
    second = torch.tensor([[[0.0, 1.0], [0.0, 1.0]]])  # Â_2 = [[1/2, 1/2], [0, 1]]
    # Â_2 Â_1 = [[5/8, 3/8], [1/4, 3/4]] and Â_1 Â_2 = [[1/2, 1/2], [1/8, 7/8]]
    for readout_tokens, expected in ((1, [5 / 8, 3 / 8]), (2, [7 / 16, 9 / 16]), (0, [7 / 16, 9 / 16])):
        shares = attention_rollout(CapturedAttention([first, second], readout_tokens))
        torch.testing.assert_close(shares, torch.tensor([expected]))


def test_article_by_hand_on_two_layers_of_three_tokens():
    identity = torch.eye(3)[None]
    all_to_last = torch.tensor([[[0.0, 0.0, 1.0]] * 3])  # Â = [[1/2, 0, 1/2], [0, 1/2, 1/2], [0, 0, 1]]
    # Â_1 Â_2 with Â_1 = I: the first two columns' mean is (1/4, 1/4, 0)
    shares = article_rollout(CapturedAttention([identity, all_to_last], readout_tokens=1))
    torch.testing.assert_close(shares, torch.tensor([[0.75, 0.75, 1.0]]))


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_the_order_of_the_layers_matters(method):
    layers = fused_layers(peaked_attention())
    forwards = compute_map(method, layers, readout_tokens=1)
    backwards = compute_map(method, layers[::-1], readout_tokens=1)
    assert (forwards - backwards).abs().max() > 0.01


@pytest.mark.parametrize("readout_tokens", [0, 1, 2])
@pytest.mark.parametrize("discard_ratio", [0.0, 0.3, 0.9])
def test_shares_of_a_rollout_sum_to_one(discard_ratio, readout_tokens):
    layers = fused_layers(peaked_attention(layers=12, tokens=30))
    shares = attention_rollout(CapturedAttention(layers, readout_tokens=readout_tokens, discard_ratio=discard_ratio))
    torch.testing.assert_close(shares.sum(dim=-1), torch.ones(4))
    assert (shares >= 0).all()


def test_rows_are_normalised_not_columns():
    # with as many images as tokens `a / a.sum(-1)` would broadcast without an error
    fused = fused_layers(peaked_attention(batch=5, tokens=5))[0]
    rows, columns = (
        attention_rollout(CapturedAttention([fused], readout_tokens=1)),
        article_rollout(CapturedAttention([fused], readout_tokens=1)),
    )
    for image in range(5):
        normalised = reference.row_normalised(fused[image].double().numpy())
        np.testing.assert_allclose(rows[image], normalised[0], atol=1e-6)
        np.testing.assert_allclose(columns[image], 1 - normalised[:, :2].mean(axis=1), atol=1e-6)


def test_rows_that_do_not_sum_to_one_are_normalised_too():
    fused = torch.full((1, 3, 3), 0.2)  # heads fused by `min` lose mass
    shares = attention_rollout(CapturedAttention([fused], readout_tokens=1))
    torch.testing.assert_close(shares[0], torch.tensor([1.2, 0.2, 0.2]) / 1.6)


@pytest.mark.parametrize("discard_ratio", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("method", METHOD_NAMES)
def test_a_batch_equals_its_images_one_by_one(method, discard_ratio):
    layers = fused_layers(peaked_attention())
    together = compute_map(method, layers, readout_tokens=1, discard_ratio=discard_ratio)
    for image in range(4):
        alone = compute_map(
            method, [layer[image : image + 1] for layer in layers], readout_tokens=1, discard_ratio=discard_ratio
        )
        torch.testing.assert_close(together[image : image + 1], alone, atol=1e-7, rtol=0)


def test_each_image_has_its_own_discard_threshold():
    strong = peaked_attention(batch=1, layers=1)[0][:, 0]  # (1, N, N)
    faint = strong / 1000  # all of it lies below all thresholds of the other image
    kept = discard_weakest(torch.cat([strong, faint]), 0.5, readout_tokens=1)
    torch.testing.assert_close(kept[1], kept[0] / 1000)
    assert 0.4 < (kept[1] == 0).float().mean() <= 0.5


@pytest.mark.parametrize("discard_ratio", [0.1, 0.3, 0.5, 0.9, 0.99])
def test_discard_zeroes_exactly_the_lowest_share(discard_ratio):
    fused = fused_layers(peaked_attention(tokens=20))[0]
    kept = discard_weakest(fused, discard_ratio, readout_tokens=0)
    assert [(image == 0).sum().item() for image in kept] == [int(discard_ratio * 400)] * 4
    for before, after in zip(fused, kept, strict=True):
        assert before[after == 0].max() < after[after > 0].min()


@pytest.mark.parametrize("readout_tokens", [1, 2])
@pytest.mark.parametrize("discard_ratio", [0.3, 0.9, 0.999])
def test_discard_never_touches_the_readout_columns(discard_ratio, readout_tokens):
    fused = fused_layers(peaked_attention())[0]
    fused[:, :, :2] /= 1e6  # by value they would be the first to go
    kept = discard_weakest(fused, discard_ratio, readout_tokens)
    assert torch.equal(kept[:, :, :readout_tokens], fused[:, :, :readout_tokens])
    assert (kept[:, :, readout_tokens:] == 0).any()


def test_discard_leaves_its_input_as_it_was():
    fused = fused_layers(peaked_attention())[0]
    before = fused.clone()
    discard_weakest(fused, 0.5, 1)
    attention_rollout(CapturedAttention([fused], readout_tokens=1, discard_ratio=0.5))
    assert torch.equal(fused, before)


@pytest.mark.parametrize("discard_ratio", [0.0, 0.001])
def test_nothing_is_discarded_where_the_share_is_less_than_one_entry(discard_ratio):
    fused = fused_layers(peaked_attention())[0]  # 121 entries
    assert torch.equal(discard_weakest(fused, discard_ratio, 1), fused)


def test_discard_of_more_values_than_a_quantile_takes():
    tokens = 4100  # 16.8 million entries; torch.quantile refuses more than 2^24
    assert tokens**2 > 2**24
    generator = torch.Generator().manual_seed(0)
    fused = torch.rand(1, tokens, tokens, generator=generator)
    kept = discard_weakest(fused, 0.3, readout_tokens=1)
    assert (kept == 0).float().mean().item() == pytest.approx(0.3 * (tokens - 1) / tokens, abs=1e-3)
    assert kept[:, :, 1:][kept[:, :, 1:] > 0].min().item() == pytest.approx(0.3, abs=1e-3)


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_the_layers_order_of_tokens_is_kept(method):
    # renaming the patches renames the map, and nothing else
    layers = fused_layers(peaked_attention(tokens=9))
    order = torch.tensor([0, 1, 5, 3, 8, 2, 7, 4, 6])
    renamed = [layer[:, order][:, :, order] for layer in layers]
    expected = compute_map(method, layers, readout_tokens=1)[:, order]
    torch.testing.assert_close(compute_map(method, renamed, readout_tokens=1), expected)


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_double_precision_stays_double(method):
    layers = [layer.double() for layer in fused_layers(peaked_attention())]
    assert compute_map(method, layers, readout_tokens=1).dtype == torch.float64


class LargestProduct(TorchDispatchMode):
    """Notes the largest matrix that any matrix product yields, batch left out."""

    def __init__(self):
        super().__init__()
        self.entries = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if any(name in func.__name__ for name in ("mm", "matmul", "einsum", "dot", "mv", "linear")):
            self.entries = max(self.entries, result.shape[-2:].numel())
        return result


@pytest.mark.parametrize("readout_tokens", [0, 1, 2])
@pytest.mark.parametrize("discard_ratio", [0.0, 0.3])
@pytest.mark.parametrize("method", METHOD_NAMES)
def test_no_token_by_token_product_is_ever_built(method, discard_ratio, readout_tokens):
    layers = fused_layers(peaked_attention())
    with LargestProduct() as watch:
        compute_map(method, layers, readout_tokens=readout_tokens, discard_ratio=discard_ratio)
    assert watch.entries == 11  # a vector an image; R itself would have 121


def test_the_watch_sees_a_token_by_token_product():
    left, right = fused_layers(peaked_attention(layers=2))
    with LargestProduct() as watch:
        left @ right
    assert watch.entries == 121


def test_heads_are_fused_by_what_was_asked_for():
    attention = torch.tensor([[[[0.25, 0.75]] * 2, [[1.0, 0.0]] * 2]])  # (1, 2 heads, 2, 2)
    for head_fusion, expected in (("mean", [0.625, 0.375]), ("max", [1.0, 0.75]), ("min", [0.25, 0.0])):
        assert fuse_heads(attention, head_fusion).tolist() == [[expected, expected]]
