"""What the environment asks for."""

from __future__ import annotations

import os

TOKENS = int(os.environ.get("TOKENS", "64"))
PROMPT = int(os.environ.get("PROMPT", "100"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
STREAMS = [int(number) for number in os.environ.get("STREAMS", "1,8,32").split(",")]
PAIRS = int(os.environ.get("PAIRS", "100"))
MINUTES = float(os.environ.get("MINUTES", "10"))
SERVERS = os.environ.get("SERVERS", "mlflow,hieno,engine,gateway").split(",")
WEIGHTS = os.environ.get("WEIGHTS", "fp32")
ALONE = 5  # requests one after the other where there is one stream
