"""Tiny random checkpoints: one plain ViT, and one of every supported family, saved as their authors publish them.

The weights of transformers' own initialisation prove nothing: attention is uniform, position embeddings and relative
position biases are zero. So all weights are drawn again here, queries and keys large enough for peaked attention.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

LABELS = ("ok", "scratch", "dent", "stain", "crack", "hole", "other")

_SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48}
_IMAGE = {"image_size": 48, "patch_size": 8}  # a 6x6 grid
_ENCODER = {**_SIZES, **_IMAGE}
_HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
_IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
_CLIP = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
_DO = {"do_resize": True, "do_rescale": True, "do_normalize": True, "rescale_factor": 1 / 255}
_SQUARE = {"size": {"height": 48, "width": 48}}
_CROP = {"do_center_crop": True, "crop_size": {"height": 48, "width": 48}, "size": {"shortest_edge": 54}, "resample": 3}
_TEXT = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


def save_tiny_vit(folder: Path, *, labels: int = 3, image_size: int = 32, patch_size: int = 8, seed: int = 0) -> Path:
    """Save a random ViT of three layers with far from even attention, and its preprocessor; return the folder.

    Args:
        folder: made where it is missing.
        labels: number of classes, called class-0, class-1, ...
        image_size: side of the input in pixels.
        patch_size: side of a patch in pixels.
        seed: of the weights.
    """
    torch.manual_seed(seed)
    config = transformers.ViTConfig(
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        image_size=image_size,
        patch_size=patch_size,
        id2label={index: f"class-{index}" for index in range(labels)},
        label2id={f"class-{index}": index for index in range(labels)},
    )
    network = transformers.ViTForImageClassification(config)
    with torch.no_grad():
        for name, weights in network.named_parameters():
            weights.normal_(0, 0.5 if "layernorm" not in name else 1.0)
    network.save_pretrained(folder)
    ViTImageProcessorPil(size={"height": image_size, "width": image_size}).save_pretrained(folder)
    return folder


@dataclass(frozen=True)
class TinyModel:
    """One case: a class of transformers, its config, and the preprocessor_config.json beside its weights.

    Attributes:
        architecture: class name, as `config.architectures` will have it.
        config: makes the config; called with `id2label` and `label2id`.
        preprocessing: contents of preprocessor_config.json.
        readout: positions of the tokens read by the classifier, from the model's definition; () for all tokens.
        prefix: tokens before the first patch.
    """

    architecture: str
    config: Callable[..., transformers.PreTrainedConfig]
    preprocessing: dict[str, object]
    readout: tuple[int, ...]
    prefix: int


def _vit_config(**labels):
    return transformers.ViTConfig(**_ENCODER, **labels)


def _deit_config(**labels):
    return transformers.DeiTConfig(**_ENCODER, **labels)


def _beit_config(**labels):
    return transformers.BeitConfig(
        **_ENCODER, use_relative_position_bias=True, use_mean_pooling=True, layer_scale_init_value=0.1, **labels
    )


def _beit_shared_config(**labels):
    return transformers.BeitConfig(
        **_ENCODER, use_shared_relative_position_bias=True, use_mean_pooling=False, layer_scale_init_value=0.1, **labels
    )


def _beit_absolute_config(**labels):
    return transformers.BeitConfig(**_ENCODER, use_absolute_position_embeddings=True, **labels)


def _dinov2_config(**labels):
    return transformers.Dinov2Config(**_ENCODER, mlp_ratio=2, **labels)


def _dinov2_with_registers_config(**labels):
    return transformers.Dinov2WithRegistersConfig(**_ENCODER, mlp_ratio=2, num_register_tokens=4, **labels)


def _ijepa_config(**labels):
    return transformers.IJepaConfig(**_ENCODER, **labels)


def _vit_msn_config(**labels):
    return transformers.ViTMSNConfig(**_ENCODER, **labels)


def _siglip_config(**labels):
    return transformers.SiglipConfig(text_config=_TEXT | {"vocab_size": 50}, vision_config=_ENCODER, **labels)


def _clip_config(**labels):
    return transformers.CLIPConfig(
        text_config=_TEXT | {"vocab_size": 50}, vision_config=_ENCODER, projection_dim=32, **labels
    )


def _metaclip_2_config(**labels):
    return transformers.MetaClip2Config(
        text_config=_TEXT | {"vocab_size": 50}, vision_config=_ENCODER, projection_dim=32, **labels
    )


_VIT_PROCESSOR = {"image_processor_type": "ViTImageProcessor", "resample": 2, **_DO, **_SQUARE, **_HALF}
_BEIT_PROCESSOR = {"image_processor_type": "BeitImageProcessor", "resample": 2, **_DO, **_SQUARE, **_HALF}
_BIT_PROCESSOR = {"image_processor_type": "BitImageProcessor", "do_convert_rgb": True, **_DO, **_CROP, **_IMAGENET}
_CLIP_PROCESSOR = {"image_processor_type": "CLIPImageProcessor", "do_convert_rgb": True, **_DO, **_CROP, **_CLIP}
_DEIT_PROCESSOR = {
    "image_processor_type": "DeiTImageProcessor",
    **_DO,
    **_CROP,
    **_IMAGENET,
    "size": {"height": 54, "width": 54},
}

TINY_MODELS = {
    "vit": TinyModel("ViTForImageClassification", _vit_config, _VIT_PROCESSOR, (0,), 1),
    "deit": TinyModel("DeiTForImageClassification", _deit_config, _DEIT_PROCESSOR, (0, 1), 2),
    "deit_with_teacher": TinyModel("DeiTForImageClassificationWithTeacher", _deit_config, _DEIT_PROCESSOR, (0, 1), 2),
    "beit": TinyModel("BeitForImageClassification", _beit_config, _BEIT_PROCESSOR, (0,), 1),
    "beit_shared_bias": TinyModel("BeitForImageClassification", _beit_shared_config, _BEIT_PROCESSOR, (0,), 1),
    "beit_absolute": TinyModel("BeitForImageClassification", _beit_absolute_config, _BEIT_PROCESSOR, (0,), 1),
    "dinov2": TinyModel("Dinov2ForImageClassification", _dinov2_config, _BIT_PROCESSOR, (0,), 1),
    "dinov2_with_registers": TinyModel(
        "Dinov2WithRegistersForImageClassification", _dinov2_with_registers_config, _BIT_PROCESSOR, (0,), 5
    ),
    "ijepa": TinyModel("IJepaForImageClassification", _ijepa_config, _VIT_PROCESSOR, (), 0),
    "vit_msn": TinyModel("ViTMSNForImageClassification", _vit_msn_config, _VIT_PROCESSOR | _IMAGENET, (0,), 1),
    "siglip": TinyModel(
        "SiglipForImageClassification",
        _siglip_config,
        {"image_processor_type": "SiglipImageProcessor", "resample": 3, **_DO, **_SQUARE, **_HALF},
        (),
        0,
    ),
    "clip": TinyModel("CLIPForImageClassification", _clip_config, _CLIP_PROCESSOR, (0,), 1),
    "metaclip_2": TinyModel("MetaClip2ForImageClassification", _metaclip_2_config, _CLIP_PROCESSOR, (0,), 1),
}


def build_network(architecture: str, config: transformers.PreTrainedConfig, seed: int = 0):
    """Return a model of the class `architecture`, with peaked attention and logits that differ."""
    network = getattr(transformers, architecture)(config).eval()
    draw_weights(network, seed)
    return network


@torch.no_grad()
def draw_weights(network: torch.nn.Module, seed: int = 0) -> None:
    """Draw every weight from a normal distribution that suits its role."""
    generator = torch.Generator().manual_seed(seed)

    def draw_normal(weight, deviation, mean=0.0):
        weight.copy_(mean + deviation * torch.randn(weight.shape, generator=generator))

    for name, weight in network.named_parameters():
        role = name.lower()
        if "relative_position_bias_table" in role:
            draw_normal(weight, 1.5)
        elif any(part in role for part in ("position_embedding", "cls_token", "distillation_token", "register")):
            draw_normal(weight, 0.7)
        elif "lambda" in role or ("norm" in role and role.endswith("weight")):
            draw_normal(weight, 0.2, mean=1.0)
        elif any(part in role for part in ("q_proj", "k_proj", "query", "key.")) and weight.dim() == 2:
            draw_normal(weight, 2.2 * weight.shape[1] ** -0.5)
        elif weight.dim() >= 2:
            draw_normal(weight, weight[0].numel() ** -0.5)
        else:
            draw_normal(weight, 0.3)


def save_checkpoint(folder: Path, network, preprocessing: dict[str, object]) -> Path:
    """Save the model and its preprocessor_config.json in one folder, and return that."""
    network.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing))
    return folder


def make_checkpoint(folder: Path, name: str = "vit", *, seed: int = 0) -> Path:
    """Save one of `TINY_MODELS` and return its folder."""
    case = TINY_MODELS[name]
    id2label = dict(enumerate(LABELS))
    config = case.config(id2label=id2label, label2id={label: index for index, label in id2label.items()})
    return save_checkpoint(folder, build_network(case.architecture, config, seed), case.preprocessing)
