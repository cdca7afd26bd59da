"""Install hieno, editable, with pinned dependencies into a virtual environment: `make` runs this.

Usage: python scripts/install.py FOLDER [EXTRA]

uv does the work because it is many times faster than pip; pip's own settings (indexes,
find-links, certificates) are handed on to it.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from hieno.environments.pip_settings import uv_environment  # noqa: E402

UV = "uv==0.13.9"


def main(folder: Path, extra: str = "") -> None:
    """Make the environment if it is not there, and bring its packages to the pinned versions."""
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not python.exists():
        venv.create(folder, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", UV], check=True)
    settings = uv_environment()
    command = [python, "-m", "uv", "pip", "install", "--python", python, "--quiet"]
    command += ["--constraints", ROOT / "constraints.txt", *torch_backend(settings)]
    subprocess.run(
        [*command, "--editable", f"{ROOT}[{extra}]" if extra else ROOT], check=True, env=settings
    )


def torch_backend(settings: dict[str, str]) -> list[str]:
    """Take the torch wheel that pip is pointed at, else the build that fits this machine."""
    places = [Path(place) for place in settings.get("UV_FIND_LINKS", "").split(",") if place]
    has_wheel = any(any(place.glob("torch-*.whl")) for place in places)
    return [] if has_wheel else ["--torch-backend", "auto"]


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
