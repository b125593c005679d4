"""An adapter of peft beside the weights (LoRA and others): merged into them, so all else sees a plain model."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipeline.model.checkpoint_files import list_adapter_files


@contextmanager
def hide_adapter(folder: Path) -> Iterator[Path]:
    """Yield the folder; for one with an adapter, a folder of links to the other files.

    transformers would add the adapter by itself, as layers of another kind without plain weights.
    """
    adapter = [file.name for file in list_adapter_files(folder)]
    if not adapter:
        yield folder
        return
    with TemporaryDirectory() as name:
        for file in folder.iterdir():
            if file.name not in adapter:
                (Path(name) / file.name).symlink_to(file.absolute())
        yield Path(name)


def merge_adapter(network: Any, folder: Path) -> Any:
    """Return the network with the folder's adapter in its weights, if there is one; needs peft."""
    if not list_adapter_files(folder):
        return network
    from peft import PeftModel

    return PeftModel.from_pretrained(network, folder).merge_and_unload()
