"""Every method on every family, held against slow references in float64; targets; and what a pass leaves behind."""

import gc
import weakref
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
import transformers
from scipy.stats import spearmanr
from transformers import AutoModelForImageClassification

import pipeline.maps.capture
import pipeline.maps.gradient_passes
import pipeline.maps.passes
import pipeline.maps.relevance
from pipeline.decision import combine_classes
from pipeline.maps.gradient_passes import ExplainedScore
from pipeline.maps.methods import ATTENTION_METHODS, GRADIENT_METHODS
from pipeline.maps.passes import MapPlan
from pipeline.model.checkpoint import resolve_checkpoint
from pipeline.model.load import load_classifier
from pipeline.records import compute_scores
from tests.helpers import reference
from tests.helpers.models import LABELS, TINY_MODELS, build_network, save_checkpoint

FAMILIES = list(TINY_MODELS)
METHODS = (*ATTENTION_METHODS, *GRADIENT_METHODS)
NEW = ("attention", "rollout-norm", *GRADIENT_METHODS)  # test_model has the other two

GROUP, OTHERS = (1, 2, 5), (0, 3, 4, 6)  # classes explained together

# what the classifier makes of a single token that stands for all: (width,) -> (C,)
HEADS = {
    "vit": lambda network, token: network.classifier(network.vit.layernorm(token)),
    "deit": lambda network, token: network.classifier(network.deit.layernorm(token)),
    "deit_with_teacher": lambda network, token: (
        (
            network.cls_classifier(network.deit.layernorm(token))
            + network.distillation_classifier(network.deit.layernorm(token))
        )
        / 2
    ),
    "beit": lambda network, token: network.classifier(network.beit.pooler.layernorm(token)),
    "beit_shared_bias": lambda network, token: network.classifier(network.beit.layernorm(token)),
    "beit_absolute": lambda network, token: network.classifier(network.beit.pooler.layernorm(token)),
    "dinov2": lambda network, token: network.classifier(network.dinov2.layernorm(token).repeat(2)),
    "dinov2_with_registers": lambda network, token: network.classifier(
        network.dinov2_with_registers.layernorm(token).repeat(2)
    ),
    "ijepa": lambda network, token: network.classifier(network.ijepa.layernorm(token)),
    "vit_msn": lambda network, token: network.classifier(network.vit.layernorm(token)),
    "siglip": lambda network, token: network.classifier(network.vision_model.post_layernorm(token)),
    "clip": lambda network, token: network.classifier(token),
    "metaclip_2": lambda network, token: network.classifier(token),
}


def load(folder, precision="fp32"):
    return load_classifier(resolve_checkpoint(str(folder)), device=torch.device("cpu"), precision=precision)


@pytest.fixture(scope="module")
def classifier(tiny_checkpoint):
    """From a name in `TINY_MODELS` to its classifier in fp32, loaded once."""
    return cache(lambda name: load(tiny_checkpoint(name)))


def make_pixels(batch, *, seed=0, size=48):
    return torch.randint(
        0, 256, (batch, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


def maps_of(classifier, method, pixels, targets=None, **settings):
    """(B, grid_h, grid_w) of one method."""
    return classifier.predict(pixels, MapPlan((method,), **settings), targets).maps[method]


def plain(folder):
    """Plain transformers in float64."""
    network = AutoModelForImageClassification.from_pretrained(folder, dtype=torch.float64).eval()
    return network.requires_grad_(False)


def expected_map(method, network, head, inputs, case, target, versus=None, **options):
    """(36,) by the reference, of one image."""
    trace = reference.Trace(reference.libra(network) if method == "libragrad" else network, inputs, **options)
    if method == "relevance":
        tokens = reference.relevance_tokens(trace, target, versus)
    elif method == "legrad":
        tokens = reference.legrad_tokens(trace, head, target, versus)
    elif method == "libragrad":
        tokens = reference.libragrad_tokens(trace, target, versus)
    elif method == "rollout-norm":
        tokens = reference.norm_rollout_tokens(trace, case.readout)
    else:
        last = trace.attentions[-1][0].mean(dim=0)  # (N, N)
        tokens = last[list(case.readout)].mean(dim=0) if case.readout else last.mean(dim=0)
    return tokens[case.prefix :].detach().numpy()


def assert_close(found, expected):
    """To a millionth and a half of the map's largest value: float32 against float64."""
    np.testing.assert_allclose(found.ravel(), expected, atol=1e-5 * np.abs(expected).max(), rtol=0)


@pytest.mark.parametrize("method", NEW)
@pytest.mark.parametrize("name", FAMILIES)
def test_maps_equal_a_slow_reference_in_float64(name, method, classifier, tiny_checkpoint):
    ours, network = classifier(name), plain(tiny_checkpoint(name))
    pixels = make_pixels(2)
    inputs = (pixels.double() - ours.mean.double()) * ours.scale.double()
    for targets, versus in [([3, 5], None), ([1, 0], 4), (GROUP, None), (GROUP, OTHERS)]:
        is_group = targets == GROUP
        settings = {"target": GROUP} if is_group else {}
        settings["versus"] = () if versus is None else (versus,) if isinstance(versus, int) else versus
        found = maps_of(ours, method, pixels, None if is_group else targets, **settings)
        assert found.shape == (2, 6, 6)
        assert found.dtype == np.float32
        for image in range(2):
            head = lambda token: HEADS[name](network, token)  # noqa: E731
            one = inputs[image : image + 1]
            target = GROUP if is_group else targets[image]
            expected = expected_map(method, network, head, one, TINY_MODELS[name], target, versus)
            assert_close(found[image], expected)


def test_swiglu_counts_each_branch_by_half(tmp_path):
    names = dict(enumerate(LABELS))
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 48, "patch_size": 8}
    config = transformers.Dinov2Config(**sizes, mlp_ratio=4, use_swiglu_ffn=True, id2label=names)
    network = build_network("Dinov2ForImageClassification", config)
    ours = load(save_checkpoint(tmp_path, network, TINY_MODELS["dinov2"].preprocessing))
    pixels = make_pixels(1)
    inputs = (pixels.double() - ours.mean.double()) * ours.scale.double()
    expected = expected_map("libragrad", network.double(), None, inputs, TINY_MODELS["dinov2"], 2)
    assert_close(maps_of(ours, "libragrad", pixels, [2]), expected)


@pytest.mark.parametrize("name", ["vit", "dinov2", "clip"])
def test_the_reference_of_libragrad_accounts_for_the_whole_score(name, tiny_checkpoint):
    """FullGrad-completeness (Mehri et al., definition 1): inputs and biases times their gradients sum to the logit."""
    network = reference.libra(plain(tiny_checkpoint(name)))
    biases = [
        bias.requires_grad_()
        for key, bias in network.named_parameters()
        if key.endswith("bias") and "embedding" not in key and "pre_layrnorm" not in key  # in the tokens already
    ]
    trace = reference.Trace(network, torch.randn(1, 3, 48, 48, dtype=torch.float64))
    parts = [trace.inputs[0], *biases]
    slopes = torch.autograd.grad(trace.score(3), parts, allow_unused=True)
    whole = sum((part * slope).sum() for part, slope in zip(parts, slopes, strict=True) if slope is not None)
    assert whole.item() == pytest.approx(trace.score(3).item(), rel=1e-9)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["vit", "beit", "siglip"])
def test_a_batch_equals_its_images_alone(name, method, classifier):
    pixels, targets = make_pixels(5), [0, 3, 6, 3, 1]
    together = maps_of(classifier(name), method, pixels, targets, versus=(2,))
    for image in range(5):
        alone = maps_of(classifier(name), method, pixels[image : image + 1], [targets[image]], versus=(2,))
        np.testing.assert_allclose(together[image], alone[0], atol=1e-5 * np.abs(alone).max(), rtol=0)


@pytest.mark.parametrize("block", [1, 1000])
@pytest.mark.parametrize("method", ["relevance", "legrad"])
def test_blocks_of_rows_change_nothing(method, block, classifier, monkeypatch):
    pixels = make_pixels(2)
    whole = maps_of(classifier("beit"), method, pixels)
    monkeypatch.setattr(pipeline.maps.relevance, "_BLOCK", block)
    assert_close(maps_of(classifier("beit"), method, pixels), whole.ravel())


@pytest.mark.parametrize("name", ["vit", "dinov2"])
def test_several_methods_give_what_each_gives_alone(name, classifier):
    pixels = make_pixels(3)
    order = ("legrad", "article", "libragrad", "rollout-norm", "relevance", "rollout", "attention")
    output = classifier(name).predict(pixels, MapPlan(order, head_fusion="max", discard_ratio=0.2))
    assert tuple(output.maps) == order
    for method in order:
        alone = maps_of(classifier(name), method, pixels, head_fusion="max", discard_ratio=0.2)
        np.testing.assert_allclose(output.maps[method], alone, atol=1e-5 * np.abs(alone).max(), rtol=0)
    plain_output = classifier(name).predict(pixels, MapPlan())
    np.testing.assert_allclose(output.logits, plain_output.logits, atol=1e-5, rtol=0)


def test_methods_without_a_gradient_share_one_pass_and_the_others_have_one_each(classifier, monkeypatch):
    calls = []
    network = classifier("vit").network
    monkeypatch.setattr(type(network), "forward", counted(type(network).forward, calls))
    counts = {}
    for methods in (ATTENTION_METHODS, ("rollout", "legrad"), ("legrad",), METHODS):
        calls.clear()
        classifier("vit").predict(make_pixels(2), MapPlan(methods))
        counts[methods] = len(calls)
    assert list(counts.values()) == [1, 1, 1, 3]


def counted(function, calls):
    def wrapper(*arguments, **options):
        calls.append(function.__name__)
        return function(*arguments, **options)

    return wrapper


def test_attention_is_fused_in_one_pass_only_and_where_it_is_wanted(classifier, monkeypatch):
    calls = []
    monkeypatch.setattr(pipeline.maps.capture, "fuse_heads", counted(pipeline.maps.capture.fuse_heads, calls))
    counts = []
    for methods in (("rollout",), GRADIENT_METHODS, METHODS):
        calls.clear()
        classifier("vit").predict(make_pixels(2), MapPlan(methods))
        counts.append(len(calls))
    assert counts == [3, 0, 3]


@pytest.mark.parametrize("methods", [("rollout",), ("relevance",), ("legrad",), ("libragrad",)], ids=str)
def test_one_backward_pass_explains_the_whole_batch(methods, classifier, monkeypatch):
    calls = []
    monkeypatch.setattr(torch.autograd, "grad", counted(torch.autograd.grad, calls))
    classifier("vit").predict(make_pixels(5), MapPlan(methods))
    assert len(calls) == (methods != ("rollout",))


@pytest.mark.parametrize("name", FAMILIES)
def test_without_a_target_the_most_likely_label_is_explained(name, classifier):
    pixels = make_pixels(3)
    output = classifier(name).predict(pixels, MapPlan(GRADIENT_METHODS))
    assert output.targets == output.logits.argmax(axis=1).tolist()
    for method in GRADIENT_METHODS:
        assert_close(output.maps[method], maps_of(classifier(name), method, pixels, output.targets).ravel())


@pytest.mark.parametrize("name", FAMILIES)
def test_another_target_changes_the_maps_that_explain_one_and_no_others(name, classifier):
    pixels = make_pixels(2)
    one, other = (classifier(name).predict(pixels, MapPlan(METHODS), [label, label]) for label in (1, 2))
    for method in METHODS:
        agreement = min(
            spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(one.maps[method], other.maps[method], strict=True)
        )
        assert (agreement < 0.9) == (method in GRADIENT_METHODS), method
        assert np.array_equal(one.maps[method], other.maps[method]) == (method in ATTENTION_METHODS)
    assert classifier(name).predict(pixels, MapPlan(ATTENTION_METHODS)).targets is None


@pytest.mark.parametrize("name", ["vit", "clip"])
def test_libragrad_of_a_pair_of_labels_is_antisymmetric_and_a_difference(name, classifier):
    pixels = make_pixels(2)
    ours = classifier(name)
    forth = maps_of(ours, "libragrad", pixels, [1, 1], versus=(2,))
    back = maps_of(ours, "libragrad", pixels, [2, 2], versus=(1,))
    assert_close(forth, -back.ravel())
    apart = [maps_of(ours, "libragrad", pixels, [label, label]) for label in (1, 2)]
    assert_close(forth, (apart[0] - apart[1]).ravel())


@pytest.mark.parametrize("method", GRADIENT_METHODS)
def test_a_label_set_against_itself_leaves_an_empty_map(method, classifier):
    found = maps_of(classifier("dinov2"), method, make_pixels(2), [3, 3], versus=(3,))
    np.testing.assert_array_equal(found, np.zeros((2, 6, 6)))


@pytest.mark.parametrize("method", GRADIENT_METHODS)
def test_a_group_of_one_class_gives_the_map_of_that_class_to_the_last_bit(method, classifier):
    ours, pixels = classifier("dinov2"), make_pixels(3)
    for scoring in ("softmax", "sigmoid"):
        model = replace(ours, scoring=scoring)
        alone = model.predict(pixels, MapPlan((method,), versus=(4,)), [2, 2, 2])
        group = model.predict(pixels, MapPlan((method,), target=(2,), versus=(4,)))
        np.testing.assert_array_equal(group.maps[method], alone.maps[method])
        assert group.targets == alone.targets == [2, 2, 2]
    assert model.predict(pixels, MapPlan((method,), target=GROUP)).targets is None


@pytest.mark.parametrize("scoring", ["softmax", "sigmoid"])
def test_the_score_of_a_group_is_the_logit_of_any_of_its_classes(scoring):
    """And its gradient is that of finite differences."""
    logits = torch.randn(4, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor(GROUP).expand(4, -1)
    total = ExplainedScore(targets, OTHERS if scoring == "softmax" else (), scoring).sum_over_images
    any_of_them = combine_classes(compute_scores(logits.numpy(), scoring), GROUP, scoring)
    assert total(logits).item() == pytest.approx(np.log(any_of_them / (1 - any_of_them)).sum())
    assert torch.autograd.gradcheck(total, logits.requires_grad_())
    both = ExplainedScore(targets, OTHERS, scoring).sum_over_images
    assert torch.autograd.gradcheck(both, logits)
    assert both(torch.cat([logits, logits])).item() == pytest.approx(2 * both(logits).item()), "all images twice"


@pytest.mark.parametrize("scoring", ["softmax", "sigmoid"])
def test_libragrad_of_a_group_is_that_of_its_classes_weighted_by_the_score_s_gradient(scoring, classifier):
    ours, pixels = replace(classifier("vit"), scoring=scoring), make_pixels(3)
    found = ours.predict(pixels, MapPlan(("libragrad",), target=GROUP, versus=OTHERS))
    logits = torch.tensor(found.logits, dtype=torch.float64, requires_grad=True)
    score = ExplainedScore(torch.tensor(GROUP).expand(3, -1), OTHERS, scoring).sum_over_images(logits)
    (weights,) = torch.autograd.grad(score, logits)  # (3, 7)
    of_class = np.stack([maps_of(ours, "libragrad", pixels, [label] * 3) for label in range(7)])  # (7, 3, 6, 6)
    assert_close(found.maps["libragrad"], np.einsum("bc,cbhw->bhw", weights.numpy(), of_class).ravel())


def test_relevance_starts_from_what_the_classifier_reads(classifier, monkeypatch):
    """The class token's row for ViT, patches alike for CLIP, and as much of both as DINOv2's head has."""
    seen = {}

    def watched(layers, gradients, read):
        share = read.norm(dim=-1) / read.norm(dim=-1).sum(dim=-1, keepdim=True)
        seen["share"] = share[0]
        return relevance(layers, gradients, read)

    relevance = pipeline.maps.gradient_passes.attention_relevance
    monkeypatch.setattr(pipeline.maps.gradient_passes, "attention_relevance", watched)
    shares = {}
    for name in ("vit", "deit_with_teacher", "clip", "dinov2_with_registers"):
        maps_of(classifier(name), "relevance", make_pixels(1))
        shares[name] = seen["share"]
    assert shares["vit"][0] == 1
    assert shares["deit_with_teacher"][:2].sum() == pytest.approx(1)
    torch.testing.assert_close(shares["clip"], torch.tensor([0.0] + [1 / 36] * 36))
    registers = shares["dinov2_with_registers"]
    assert 0.1 < registers[0] < 0.9
    assert registers[1:5].sum() == 0


@pytest.mark.parametrize("method", NEW)
@pytest.mark.parametrize("name", ["vit", "beit", "dinov2", "siglip"])
def test_half_precision_ranks_patches_as_fp32_does(name, method, classifier, tiny_checkpoint):
    pixels = make_pixels(4)
    exact = classifier(name).predict(pixels, MapPlan((method,), versus=(2,)), [1] * 4).maps[method]
    for precision in ("bf16", "fp16"):
        half = load(tiny_checkpoint(name), precision)
        found = half.predict(pixels, MapPlan((method,), versus=(2,)), [1] * 4).maps[method]
        agreement = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(found, exact, strict=True)]
        assert np.mean(agreement) > 0.98, precision


@pytest.mark.parametrize("methods", [METHODS, *((method,) for method in METHODS)], ids=str)
def test_a_prediction_leaves_the_network_as_it_was(methods, classifier):
    ours = classifier("vit")
    ours.predict(make_pixels(2), MapPlan(methods))
    assert_untouched(ours)


def test_so_does_one_that_fails(classifier, monkeypatch):
    ours = classifier("vit")

    def fail(*_):
        raise torch.OutOfMemoryError

    for name in ("attention_relevance", "attention_sensitivity", "input_times_gradient"):
        monkeypatch.setattr(pipeline.maps.gradient_passes, name, fail)
    monkeypatch.setattr(ours.network.classifier, "forward", fail)
    for method in GRADIENT_METHODS:
        with pytest.raises(torch.OutOfMemoryError):
            ours.predict(make_pixels(2), MapPlan((method,)))
        assert_untouched(ours)
    monkeypatch.undo()


def assert_untouched(classifier):
    network = classifier.network
    assert not network.training
    assert not any(p.requires_grad or p.grad is not None for p in network.parameters())
    for module in network.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize("method", GRADIENT_METHODS)
def test_no_activation_outlives_a_prediction(method, classifier, monkeypatch):
    """Nor waits for the garbage collector, which has no idea of a device's memory."""
    seen = []
    attend = pipeline.maps.gradient_passes._plain_attention
    gate = pipeline.maps.gradient_passes._replace_gradient

    def watched(function):
        def wrapper(*arguments):
            result = function(*arguments)
            seen.append(weakref.ref(result))
            return result

        return wrapper

    monkeypatch.setattr(pipeline.maps.gradient_passes, "_plain_attention", watched(attend))
    monkeypatch.setattr(pipeline.maps.gradient_passes, "_replace_gradient", watched(gate))
    classifier("vit").predict(make_pixels(2), MapPlan((method,)))  # the first pass of a kind sets things up
    gc.collect()
    gc.disable()
    try:
        seen.clear()
        classifier("vit").predict(make_pixels(2), MapPlan((method, *set(GRADIENT_METHODS) - {method})))
        assert len(seen) > 3
        assert [tensor for tensor in seen if tensor() is not None] == []
    finally:
        gc.enable()


@pytest.mark.parametrize("method", GRADIENT_METHODS)
def test_what_is_kept_for_the_gradient_grows_with_the_tokens_not_with_their_square(method, tiny_checkpoint):
    largest = {}
    for size in (48, 96):
        checkpoint = resolve_checkpoint(str(tiny_checkpoint("vit")))
        options = {"device": torch.device("cpu"), "precision": "fp32", "input_size": (size, size)}
        ours, kept = load_classifier(checkpoint, **options), []

        def keep(tensor, kept=kept):
            kept.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            maps_of(ours, method, make_pixels(2, size=size))
        largest[size] = max(kept)
    assert largest[96] < 4.1 * largest[48]


@pytest.mark.parametrize("method", ["relevance", "legrad"])
def test_no_more_attention_is_computed_at_once_than_a_block(method, classifier, monkeypatch):
    sizes = []
    for name in ("attention", "attention_gradient"):
        computed = getattr(pipeline.maps.relevance.LayerTrace, name)

        def watched(*arguments, computed=computed):
            result = computed(*arguments)
            sizes.append(result.numel())
            return result

        monkeypatch.setattr(pipeline.maps.relevance.LayerTrace, name, watched)
    monkeypatch.setattr(pipeline.maps.relevance, "_BLOCK", 5000)  # of 2 images * 4 heads * 37 * 37 = 10,952
    maps_of(classifier("vit"), method, make_pixels(2))
    assert 4000 < max(sizes) <= 5000
