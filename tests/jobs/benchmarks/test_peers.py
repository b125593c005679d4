"""Our maps beside those of other programs, on the bundled model and real photos; needs the extra `bench`."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import spearmanr

from jobs.benchmarks.cam_peers import PEERS, installed_peers
from jobs.benchmarks.materials import Shape, save_photos
from pipeline.maps.passes import MapPlan
from pipeline.model.checkpoint import resolve_checkpoint
from pipeline.model.load import load_classifier

SAMPLES = Path(__file__).parents[3] / "sample_images"


class Block(torch.nn.Module):
    """A layer of DINOv2 with PyTorch's own attention, as needed by torchcam."""

    def __init__(self, layer):
        super().__init__()
        self.layer, ours = layer, layer.attention
        width = ours.q_proj.in_features
        self.self_attention = torch.nn.MultiheadAttention(width, ours.num_attention_heads, batch_first=True)
        with torch.no_grad():
            for kind in ("weight", "bias"):
                joint = torch.cat([getattr(part, kind) for part in (ours.q_proj, ours.k_proj, ours.v_proj)])
                getattr(self.self_attention, f"in_proj_{kind}").copy_(joint)
                getattr(self.self_attention.out_proj, kind).copy_(getattr(ours.o_proj, kind))

    def forward(self, tokens):
        normed = self.layer.norm1(tokens)
        mixed, _ = self.self_attention(normed, normed, normed, need_weights=False)
        tokens = tokens + self.layer.layer_scale1(mixed)
        return tokens + self.layer.layer_scale2(self.layer.mlp(self.layer.norm2(tokens)))


class Dinov2(torch.nn.Module):
    """The bundled classifier, made of such blocks."""

    def __init__(self, network, layers):
        super().__init__()
        self.network = network
        self.blocks = torch.nn.ModuleList(Block(layer) for layer in layers)

    def forward(self, inputs):
        tokens = self.network.dinov2.embeddings(inputs)
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.network.dinov2.layernorm(tokens)
        return self.network.classifier(torch.cat([tokens[:, 0], tokens[:, 1:].mean(dim=1)], dim=1))

    def score_of_the_mean(self, tokens):
        mean = self.network.dinov2.layernorm(tokens.mean(dim=1))
        return self.network.classifier(torch.cat([mean, mean], dim=1))


def test_legrad_equals_torchcams():
    methods = pytest.importorskip("torchcam.methods", reason="pip install '.[bench]'")
    ours = load_classifier(resolve_checkpoint("bundled"), device=torch.device("cpu"), precision="fp32")
    photos = [Image.open(file).convert("RGB") for file in sorted(SAMPLES.glob("board-*.png"))[:4]]
    rows = [ours.processor(photo, do_rescale=False, do_normalize=False)["pixel_values"][0] for photo in photos]
    pixels = torch.from_numpy(np.stack(rows))
    output = ours.predict(pixels, MapPlan(("legrad",)))
    theirs = Dinov2(ours.network, ours.encoder).eval()
    for index, image in enumerate((pixels.float() - ours.mean) * ours.scale):
        with methods.LeGrad(theirs, list(theirs.blocks), score_projection=theirs.score_of_the_mean) as legrad:
            logits = theirs(image[None])
            (heat,) = legrad(output.targets[index], normalized=False)
        np.testing.assert_allclose(logits[0].detach(), output.logits[index], atol=1e-3)
        assert spearmanr(heat.ravel(), output.maps["legrad"][index].ravel()).statistic > 0.9999


def test_peers_draw_a_picture_of_each_photo_or_are_missing_with_a_reason(tmp_path):
    photos = save_photos(tmp_path / "photos", 3, (60, 40), ".png")
    loops, missing = installed_peers(Shape("ViT-B/16-224", "ViT", 224, 16, 64, 2, 4), photos, tmp_path)
    assert loops.keys() | {line.partition(":")[0] for line in missing} == PEERS.keys()
    for name, loop in loops.items():
        loop()
        pictures = [Image.open(tmp_path / name / f"{number}.png") for number in range(3)]
        assert all(picture.convert("L").getextrema()[0] < picture.convert("L").getextrema()[1] for picture in pictures)
