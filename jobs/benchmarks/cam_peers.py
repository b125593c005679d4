"""Packages with maps for Vision Transformers, each used as in its README: photos in, pictures out, in fp32.

torchcam comes with the extra `bench`; `pip install grad-cam` and `timm fast-vit-rollout` also install torchvision.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from jobs.benchmarks.materials import Shape
from jobs.benchmarks.peers import read_photos

_BATCH = 8


@dataclass(frozen=True)
class Peer:
    """One package.

    Attributes:
        needs: modules to import.
        build_loop: builds its loop from a model's shape, the photos and a folder for the pictures.
    """

    needs: tuple[str, ...]
    build_loop: Callable[[Shape, Path, Path], Callable[[], None]]


def installed_peers(shape: Shape, photos: Path, folder: Path) -> tuple[dict[str, Callable[[], None]], list[str]]:
    """Build the loops of the importable packages; return the reason for each of the others, too.

    Args:
        shape: the model's.
        photos: folder of photos.
        folder: folder for the pictures, one subfolder per package.
    """
    loops, missing = {}, []
    for name, peer in PEERS.items():
        try:
            for module in peer.needs:
                import_module(module)
        except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision made for another torch
            missing.append(f"{name}: {error}")
            continue
        out = folder / name
        out.mkdir(parents=True, exist_ok=True)
        loops[name] = peer.build_loop(shape, photos, out)
    return loops, missing


def torchcam_loop(shape: Shape, photos: Path, out: Path) -> Callable[[], None]:
    """Build the loop of LeGrad over all layers, one photo at a time, drawn over the whole photo."""
    from torchcam.methods import LeGrad
    from torchcam.utils import overlay_mask

    network = PlainViT.build(shape)

    def score(tokens: Tensor) -> Tensor:
        return network.classify(tokens.mean(dim=1))

    def loop() -> None:
        with LeGrad(network, list(network.layers), score_projection=score) as cam:
            for number, image in enumerate(read_photos(photos)):
                logits = network(_build_inputs([image], shape.size))
                (heat,) = cam(int(logits[0].argmax()))
                mask = Image.fromarray((255 * heat.squeeze().numpy()).astype(np.uint8))
                overlay_mask(image, mask, alpha=0.5).save(out / f"{number}.png")

    return loop


def grad_cam_loop(shape: Shape, photos: Path, out: Path) -> Callable[[], None]:
    """Build the loop of Grad-CAM at the last layer's first norm, in batches of eight, drawn over the model's input."""
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.image import show_cam_on_image

    network, cells = PlainViT.build(shape), shape.size // shape.patch

    def to_grid(tokens: Tensor) -> Tensor:
        return tokens[:, 1:].reshape(len(tokens), cells, cells, -1).permute(0, 3, 1, 2)

    cam = GradCAM(network, [network.layers[-1].norm1], reshape_transform=to_grid)

    def loop() -> None:
        images = [image.resize((shape.size, shape.size)) for image in read_photos(photos)]
        for start in range(0, len(images), _BATCH):
            batch = images[start : start + _BATCH]
            heats = cam(_build_inputs(batch, shape.size), None)
            for number, (image, heat) in enumerate(zip(batch, heats, strict=True), start):
                picture = show_cam_on_image(np.asarray(image, dtype=np.float32) / 255, heat, use_rgb=True)
                Image.fromarray(picture).save(out / f"{number}.png")

    return loop


def fast_vit_rollout_loop(shape: Shape, photos: Path, out: Path) -> Callable[[], None]:
    """Build the loop of rollout on timm's model, one photo at a time, drawn over the model's input."""
    import timm
    from fast_vit_rollout import ViTAttentionRollout

    timm.layers.set_fused_attn(False)
    rollout = ViTAttentionRollout(timm.create_model(f"vit_base_patch{shape.patch}_{shape.size}"), discard_ratio=0.9)

    def loop() -> None:
        for number, image in enumerate(read_photos(photos)):
            small = image.resize((shape.size, shape.size))
            _, picture = rollout(_build_inputs([image], shape.size), np.asarray(small), return_vis=True)
            Image.fromarray(picture[..., ::-1]).save(out / f"{number}.png")

    return loop


PEERS: Mapping[str, Peer] = {
    "torchcam": Peer(("torchcam",), torchcam_loop),
    "grad-cam": Peer(("pytorch_grad_cam",), grad_cam_loop),
    "fast-vit-rollout": Peer(("timm", "fast_vit_rollout"), fast_vit_rollout_loop),
}


class PlainViT(nn.Module):
    """A ViT of PyTorch's own encoder layers, as needed by torchcam."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, shape.hidden, shape.patch, shape.patch)
        tokens = 1 + (shape.size // shape.patch) ** 2
        self.start = nn.Parameter(torch.zeros(1, 1, shape.hidden))
        self.positions = nn.Parameter(0.02 * torch.randn(1, tokens, shape.hidden))
        self.layers = nn.ModuleList(_build_layer(shape) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.hidden)
        self.head = nn.Linear(shape.hidden, 1000)

    @classmethod
    def build(cls, shape: Shape) -> "PlainViT":
        """Build a model with random weights, in eval mode."""
        torch.manual_seed(0)
        return cls(shape).eval()

    def forward(self, pixels: Tensor) -> Tensor:
        """Classify (B, 3, H, W)."""
        tokens = self.patches(pixels).flatten(2).transpose(1, 2)  # (B, N - 1, hidden)
        tokens = torch.cat([self.start.expand(len(tokens), -1, -1), tokens], dim=1) + self.positions
        for layer in self.layers:
            tokens = layer(tokens)
        return self.classify(tokens[:, 0])

    def classify(self, token: Tensor) -> Tensor:
        """Compute logits, (B, 1000), from one token of each image, (B, hidden)."""
        logits: Tensor = self.head(self.norm(token))
        return logits


def _build_layer(shape: Shape) -> nn.Module:
    layer = nn.TransformerEncoderLayer(
        shape.hidden, shape.heads, 4 * shape.hidden, 0.0, "gelu", batch_first=True, norm_first=True
    )
    layer.self_attention = layer.self_attn  # torchvision's name for it, known to torchcam
    return layer


def _build_inputs(images: list[Image.Image], size: int) -> Tensor:
    """Resize and normalise images to (B, 3, size, size), in -1..1."""
    pixels = np.stack([np.asarray(image.resize((size, size)), dtype=np.float32) for image in images])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1
