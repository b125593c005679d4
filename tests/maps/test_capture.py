"""Capture of attention: what is recorded, only where it was asked for, and without a change to the outputs."""

import gc
import threading
import weakref

import pytest
import torch
from transformers.models.vit.modeling_vit import eager_attention_forward

from pipeline.maps.capture import (
    AttentionRecorder,
    attend_and_record,
    attention_weights,
    check_captures,
    install_recording_attention,
    record_attention,
)
from tests.helpers.models import TINY_MODELS, build_network


def queries_keys_values(*, batch=2, heads=3, tokens=7, width=8, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [3 * torch.randn(batch, heads, tokens, width, generator=generator).to(dtype) for _ in range(3)]


@pytest.fixture
def layer():
    return torch.nn.Identity().eval()


@pytest.fixture(scope="module")
def network():
    """A ViT with recorded attention, and the same with eager attention."""
    case = TINY_MODELS["vit"]
    recorded, eager = (build_network(case.architecture, case.config(num_labels=5)) for _ in range(2))
    install_recording_attention(recorded)
    eager.set_attn_implementation("eager")
    return recorded, eager


def pixels(batch=2):
    return torch.randn(batch, 3, 48, 48, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("scaling", [None, 0.1, 1.0])
@pytest.mark.parametrize("masked", [False, True])
def test_output_and_record_equal_eager_attention(layer, scaling, masked):
    query, key, value = queries_keys_values()
    bias = torch.randn(1, 3, 7, 7, generator=torch.Generator().manual_seed(2)) if masked else None
    expected, attention = eager_attention_forward(layer, query, key, value, bias, scaling=scaling)
    with record_attention(AttentionRecorder(1, "mean")) as recorder:
        output, weights = attend_and_record(layer, query, key, value, bias, scaling=scaling, is_causal=False)
    assert weights is None
    assert output.is_contiguous()
    torch.testing.assert_close(output, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(recorder.layers[0], attention.mean(dim=1), atol=1e-6, rtol=0)


@pytest.mark.parametrize("head_fusion", ["mean", "max", "min"])
def test_heads_are_fused_as_they_are_recorded(layer, head_fusion):
    query, key, value = queries_keys_values()
    with record_attention(AttentionRecorder(1, head_fusion)) as recorder:
        attend_and_record(layer, query, key, value, None)
    attention = (query.double() @ key.double().transpose(-1, -2) * 8**-0.5).softmax(dim=-1)  # (B, heads, N, N)
    expected = {"mean": attention.mean(1), "max": attention.amax(1), "min": attention.amin(1)}[head_fusion]
    torch.testing.assert_close(recorder.layers[0].double(), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_attention_is_float32_in_half_precision_and_the_output_is_not(layer, dtype):
    query, key, value = queries_keys_values(tokens=400, dtype=dtype)
    bias = torch.randn(1, 3, 400, 400, generator=torch.Generator().manual_seed(2)).to(dtype)
    with record_attention(AttentionRecorder(1, "mean")) as recorder:
        output, _ = attend_and_record(layer, query, key, value, bias)
    assert output.dtype == dtype
    fused = recorder.layers[0]
    assert fused.dtype == torch.float32
    torch.testing.assert_close(fused.sum(dim=-1), torch.ones(2, 400), atol=1e-5, rtol=0)
    assert (fused != fused.to(dtype)).float().mean() > 0.9  # it has never been rounded to half


def test_scores_beyond_float16_do_not_overflow(layer):
    query, key, value = (torch.full((1, 1, 4, 64), size).half() for size in (40.0, 40.0, 1.0))  # q.k = 102,400
    with record_attention(AttentionRecorder(1, "mean")) as recorder:
        output, _ = attend_and_record(layer, query, key, value, None)
    torch.testing.assert_close(recorder.layers[0], torch.full((1, 4, 4), 0.25))
    assert output.isfinite().all()


def test_one_record_a_layer_from_the_first_to_the_last(network):
    recorded, eager = network
    with torch.no_grad(), record_attention(AttentionRecorder(1, "mean")) as recorder:
        recorded(pixel_values=pixels())
    expected = eager(pixel_values=pixels(), output_attentions=True).attentions
    assert len(recorder.layers) == len(expected) == 3
    for layer, attention in zip(recorder.layers, expected, strict=True):
        torch.testing.assert_close(layer, attention.mean(dim=1), atol=1e-5, rtol=0)


def test_the_model_gives_the_same_logits_recorded_or_not(network):
    recorded, eager = network
    with torch.no_grad():
        expected = eager(pixel_values=pixels()).logits
        plain = recorded(pixel_values=pixels()).logits
        with record_attention(AttentionRecorder(1, "max")):
            watched = recorded(pixel_values=pixels()).logits
    torch.testing.assert_close(plain, expected, atol=1e-5, rtol=0)
    assert torch.equal(plain, watched)


def test_nothing_is_recorded_outside_the_block(network):
    recorded, _ = network
    with torch.no_grad():
        recorded(pixel_values=pixels())
        with record_attention(AttentionRecorder(1, "mean")) as recorder:
            pass
        recorded(pixel_values=pixels())
    assert recorder.layers == []


def test_recording_ends_when_the_block_fails(network):
    recorded, _ = network
    with pytest.raises(ZeroDivisionError), record_attention(AttentionRecorder(1, "mean")) as recorder:
        raise ZeroDivisionError
    with torch.no_grad():
        recorded(pixel_values=pixels())
    assert recorder.layers == []


def test_a_nested_block_records_for_itself_and_the_outer_one_goes_on(network):
    recorded, _ = network
    with torch.no_grad(), record_attention(AttentionRecorder(1, "mean")) as outer:
        recorded(pixel_values=pixels(1))
        with record_attention(AttentionRecorder(1, "max")) as inner:
            recorded(pixel_values=pixels(2))
        recorded(pixel_values=pixels(1))
    assert [len(layer) for layer in outer.layers] == [1] * 6
    assert [len(layer) for layer in inner.layers] == [2] * 3


def test_other_threads_are_not_recorded(network):
    recorded, _ = network

    @torch.no_grad()
    def use_the_model_plainly():
        recorded(pixel_values=pixels(2))

    with torch.no_grad(), record_attention(AttentionRecorder(1, "mean")) as recorder:
        thread = threading.Thread(target=use_the_model_plainly)
        thread.start()
        recorded(pixel_values=pixels(1))
        thread.join()
    assert [len(layer) for layer in recorder.layers] == [1] * 3


def test_nothing_of_a_recording_outlives_it(network):
    recorded, _ = network
    with torch.no_grad(), record_attention(AttentionRecorder(1, "mean")) as recorder:
        recorded(pixel_values=pixels())
    watched = [weakref.ref(layer) for layer in recorder.layers]
    del recorder
    gc.collect()
    assert [layer() for layer in watched] == [None] * 3


def test_only_fused_maps_are_kept_while_recording(network):
    recorded, _ = network
    with torch.no_grad(), record_attention(AttentionRecorder(1, "mean")) as recorder:
        recorded(pixel_values=pixels())
    for layer in recorder.layers:
        assert layer.untyped_storage().nbytes() == 2 * 37 * 37 * 4  # not a view into (B, heads, N, N)


@pytest.mark.parametrize("wanted", [0, 1, 2])
@pytest.mark.parametrize("readout_tokens", [0, 1, 2])
def test_heads_of_one_layer_are_kept_apart(network, wanted, readout_tokens):
    recorded, eager = network
    with torch.no_grad(), record_attention(AttentionRecorder(readout_tokens, "max", heads_layer=wanted)) as recorder:
        recorded(pixel_values=pixels())
    attention = eager(pixel_values=pixels(), output_attentions=True).attentions[wanted]  # (B, heads, N, N)
    rows = attention[:, :, list(range(readout_tokens or 37))]
    torch.testing.assert_close(recorder.heads, rows.mean(dim=2), atol=1e-5, rtol=0)
    torch.testing.assert_close(recorder.heads.sum(dim=-1), torch.ones(2, 4), atol=1e-5, rtol=0)
    assert recorder.heads.untyped_storage().nbytes() == 2 * 4 * 37 * 4  # not a view into (B, heads, N, N)
    assert len(recorder.layers) == 3


@pytest.mark.parametrize("readout_tokens", [0, 2])
@pytest.mark.parametrize("rows", [0, 1, 5, 36, 37, 74, 111])
def test_blocks_of_any_size_record_the_same(network, monkeypatch, rows, readout_tokens):
    recorded, _ = network

    def run():
        with torch.no_grad(), record_attention(AttentionRecorder(readout_tokens, "max", heads_layer=1)) as recorder:
            logits = recorded(pixel_values=pixels()).logits
        return [logits, recorder.heads, *recorder.layers]

    monkeypatch.setattr("pipeline.maps.capture._CACHE_BYTES", 10**9)
    whole = run()
    monkeypatch.setattr("pipeline.maps.capture._CACHE_BYTES", rows * 4 * 4 * 37)  # float32, 4 heads, 37 tokens
    for values, expected in zip(run(), whole, strict=True):
        torch.testing.assert_close(values, expected, atol=1e-6, rtol=1e-5)


def test_scores_of_one_block_at_a_time_are_in_memory(monkeypatch):
    tokens, rows = 200, 10
    monkeypatch.setattr("pipeline.maps.capture._CACHE_BYTES", rows * 4 * 2 * tokens)
    shapes = []

    def watched(*args):
        shapes.append(attention_weights(*args).shape)
        return attention_weights(*args)

    monkeypatch.setattr("pipeline.maps.capture.attention_weights", watched)
    query = torch.randn(3, 2, tokens, 4)
    with record_attention(AttentionRecorder(1, "mean")) as recorder:
        attend_and_record(torch.nn.Identity(), query, query, query, None)
    assert set(shapes) == {(1, 2, rows, tokens)}
    assert len(shapes) == 3 * tokens / rows
    assert recorder.layers[0].shape == (3, tokens, tokens)


def test_heads_are_not_kept_unless_asked_for(network):
    recorded, _ = network
    with torch.no_grad(), record_attention(AttentionRecorder(1, "mean")) as recorder:
        recorded(pixel_values=pixels())
    assert recorder.heads is None


def test_complete_captures_pass_the_check():
    check_captures([(2, 5, 5), (2, 5, 5)], layer_count=2, batch=2, tokens=5)


@pytest.mark.parametrize(
    "captured",
    [
        [],
        [(2, 5, 5)],
        [(2, 5, 5), (2, 5, 5), (2, 5, 5)],
        [(2, 5, 5), (2, 4, 4)],
        [(2, 5, 4), (2, 5, 4)],
        [(1, 5, 5), (1, 5, 5)],
        [(8, 5, 5), (8, 5, 5)],
    ],
    ids=["none", "a layer short", "a layer too many", "uneven", "not square", "batch", "windows"],
)
def test_captures_that_do_not_fit_are_refused(captured):
    with pytest.raises(RuntimeError, match=r"expected 2 of \(2, 5, 5\)"):
        check_captures(captured, layer_count=2, batch=2, tokens=5)


def test_the_shapes_of_all_layers_are_recorded_be_their_attention_wanted_or_not(network):
    recorded, _ = network
    with torch.no_grad(), record_attention(AttentionRecorder(1)) as recorder:
        recorded(pixel_values=pixels())
    assert recorder.shapes == [(2, 37, 37)] * 3
    assert recorder.layers == []
