"""Agent Framework's developer page for the agent and the workflow, on this machine only.

python devui.py --port 8090
"""

import argparse

from agent_framework.devui import serve

from workflow import agent


def main() -> None:
    """Open the page until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8090)
    asked = parser.parse_args()
    # Whoever can open a port of this machine's loopback may talk to the agent: no token is asked.
    serve(
        entities=[agent()], host="127.0.0.1", port=asked.port, auto_open=False, auth_enabled=False
    )


if __name__ == "__main__":
    main()
