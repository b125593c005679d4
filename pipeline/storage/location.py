"""The place of a file or a folder."""

from pathlib import Path
from typing import TypeAlias

Location: TypeAlias = Path
