"""The tokenizers of the Phi families, which the tests of templates make."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "templates"))
