"""Packages that draw maps for Vision Transformers, each as its README has it: photos in, pictures out, in fp32.

torchcam comes with the extra `bench`; `pip install grad-cam` and `timm fast-vit-rollout` also bring torchvision along.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from jobs.benchmarks.materials import Shape
from jobs.benchmarks.peers import opened

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Peer:
    """One package.

    Attributes:
        needs: the modules that must be there.
        loop: makes its loop from a model's shape, the photos and a folder for the pictures.
    """

    needs: tuple[str, ...]
    loop: Callable[[Shape, Path, Path], Callable[[], None]]


def installed_peers(shape: Shape, photos: Path, folder: Path) -> tuple[dict[str, Callable[[], None]], list[str]]:
    """The loops of the packages that can be imported here, and for each other one why it can't."""
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
        loops[name] = peer.loop(shape, photos, out)
    return loops, missing


def torchcam_loop(shape: Shape, photos: Path, out: Path) -> Callable[[], None]:
    """LeGrad of all layers, one photo at a time, drawn over the whole photo."""
    from torchcam.methods import LeGrad
    from torchcam.utils import overlay_mask

    network = plain_vit(shape)

    def score(tokens: "torch.Tensor") -> Any:
        return network.classify(tokens.mean(dim=1))

    def loop() -> None:
        with LeGrad(network, list(network.layers), score_projection=score) as cam:
            for number, image in enumerate(opened(photos)):
                logits = network(_inputs(image, shape.size))
                (heat,) = cam(int(logits[0].argmax()))
                mask = Image.fromarray((255 * heat.squeeze().numpy()).astype(np.uint8))
                overlay_mask(image, mask, alpha=0.5).save(out / f"{number}.png")

    return loop


def grad_cam_loop(shape: Shape, photos: Path, out: Path) -> Callable[[], None]:
    """Grad-CAM of the last layer's first norm, in batches of eight, drawn over the model's input."""
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.image import show_cam_on_image

    network, cells = plain_vit(shape), shape.size // shape.patch

    def to_grid(tokens: "torch.Tensor") -> "torch.Tensor":
        return tokens[:, 1:].reshape(len(tokens), cells, cells, -1).permute(0, 3, 1, 2)

    cam = GradCAM(network, [network.layers[-1].norm1], reshape_transform=to_grid)

    def loop() -> None:
        images = [image.resize((shape.size, shape.size)) for image in opened(photos)]
        for start in range(0, len(images), 8):
            batch = images[start : start + 8]
            heats = cam(_inputs(batch, shape.size), None)
            for number, (image, heat) in enumerate(zip(batch, heats, strict=True), start):
                picture = show_cam_on_image(np.asarray(image, dtype=np.float32) / 255, heat, use_rgb=True)
                Image.fromarray(picture).save(out / f"{number}.png")

    return loop


def fast_vit_rollout_loop(shape: Shape, photos: Path, out: Path) -> Callable[[], None]:
    """Rollout of timm's model, one photo at a time, drawn over the model's input."""
    import timm
    from fast_vit_rollout import ViTAttentionRollout

    timm.layers.set_fused_attn(False)
    rollout = ViTAttentionRollout(timm.create_model(f"vit_base_patch{shape.patch}_{shape.size}"), discard_ratio=0.9)

    def loop() -> None:
        for number, image in enumerate(opened(photos)):
            small = image.resize((shape.size, shape.size))
            _, picture = rollout(_inputs(image, shape.size), np.asarray(small), return_vis=True)
            Image.fromarray(picture[..., ::-1]).save(out / f"{number}.png")

    return loop


PEERS: Mapping[str, Peer] = {
    "torchcam": Peer(("torchcam",), torchcam_loop),
    "grad-cam": Peer(("pytorch_grad_cam",), grad_cam_loop),
    "fast-vit-rollout": Peer(("timm", "fast_vit_rollout"), fast_vit_rollout_loop),
}


def plain_vit(shape: Shape) -> Any:
    """The shape out of PyTorch's own encoder layers, as torchcam wants them; random weights."""
    import torch

    class PlainViT(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = torch.nn.Conv2d(3, shape.hidden, shape.patch, shape.patch)
            tokens = 1 + (shape.size // shape.patch) ** 2
            self.start = torch.nn.Parameter(torch.zeros(1, 1, shape.hidden))
            self.positions = torch.nn.Parameter(0.02 * torch.randn(1, tokens, shape.hidden))
            self.layers = torch.nn.ModuleList(self._layer() for _ in range(shape.layers))
            self.norm = torch.nn.LayerNorm(shape.hidden)
            self.head = torch.nn.Linear(shape.hidden, 1000)

        def _layer(self) -> torch.nn.Module:
            layer = torch.nn.TransformerEncoderLayer(
                shape.hidden, shape.heads, 4 * shape.hidden, 0.0, "gelu", batch_first=True, norm_first=True
            )
            layer.self_attention = layer.self_attn  # torchvision's name for it
            return layer

        def forward(self, pixels: "torch.Tensor") -> Any:
            tokens = self.patches(pixels).flatten(2).transpose(1, 2)
            tokens = torch.cat([self.start.expand(len(tokens), -1, -1), tokens], dim=1) + self.positions
            for layer in self.layers:
                tokens = layer(tokens)
            return self.classify(tokens[:, 0])

        def classify(self, token: "torch.Tensor") -> Any:
            return self.head(self.norm(token))

    torch.manual_seed(0)
    return PlainViT().eval()


def _inputs(images: Image.Image | list[Image.Image], size: int) -> "torch.Tensor":
    import torch

    batch = images if isinstance(images, list) else [images]
    pixels = np.stack([np.asarray(image.resize((size, size)), dtype=np.float32) for image in batch])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1
