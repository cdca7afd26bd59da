"""The stand-in for an endpoint lives with the flow's tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "flow"))
