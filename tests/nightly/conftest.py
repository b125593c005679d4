"""Three small archives, and the configuration of a night over them."""

import json

import pytest

from tests.helpers.photos import save_photos

COMMON = 'workers = 1\noverlay_size = "none"\nprecision = "fp32"\n'


@pytest.fixture
def write_config(tmp_path, tiny_vit):
    """Writes the configuration of some archives below `tmp_path`, each a dictionary; `top` comes first."""

    def write(*archives, top=""):
        lines = [top, "[defaults]", f'model = "{tiny_vit}"', COMMON]
        for archive in archives:
            lines += ["[[archive]]", *(f"{name} = {json.dumps(value)}" for name, value in archive.items())]
        file = tmp_path / "nightly.toml"
        file.write_text("\n".join(lines))
        return file

    return write


@pytest.fixture
def archives(tmp_path):
    """Three archives; one photo of `boards` is broken."""
    for name in ("cells", "boards", "castings"):
        save_photos(tmp_path / "archives" / name, 6)
    (tmp_path / "archives" / "boards" / "broken.png").write_bytes(b"broken")
    return tmp_path / "archives"
