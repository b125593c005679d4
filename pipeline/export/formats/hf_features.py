"""The features of Hugging Face's library datasets, declared in the schema of a Parquet file."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

Feature = dict[str, Any]

IMAGE: Feature = {"_type": "Image"}


def value_of(dtype: str) -> Feature:
    """Return the feature of a plain value."""
    return {"dtype": dtype, "_type": "Value"}


def label_of(class_names: Sequence[str]) -> Feature:
    """Return the feature of class ids."""
    return {"names": list(class_names), "_type": "ClassLabel"}


def list_of(feature: Feature) -> Feature:
    """Return the feature of a list."""
    return {"feature": feature, "_type": "List"}


def build_metadata(features: Mapping[str, Feature]) -> dict[str, str]:
    """Build the metadata of an Arrow schema; columns without a feature are taken by their Arrow type."""
    return {"huggingface": json.dumps({"info": {"features": features}}, ensure_ascii=False)}
