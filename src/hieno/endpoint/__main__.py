"""Run the gateway of the endpoint in a folder: `python -m hieno.endpoint FOLDER`."""

import sys
from pathlib import Path

from hieno.endpoint.gateway import run

if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1])))
