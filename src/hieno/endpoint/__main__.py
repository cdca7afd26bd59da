"""Run the gateway of the endpoint in a folder: `python -m hieno.endpoint FOLDER`.

Standard input may hold the credential for an endpoint elsewhere.
"""

import sys
from pathlib import Path

from pydantic import SecretStr

from hieno.endpoint.gateway import run

if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), SecretStr(sys.stdin.read())))
