"""The scripts' folders are no packages: their modules are imported as the scripts themselves import each other."""

from __future__ import annotations

import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "scripts"
sys.path[:0] = [str(SCRIPTS), *(str(folder) for folder in SCRIPTS.iterdir() if folder.is_dir())]
