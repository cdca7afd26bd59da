"""A flow as somebody makes it by following the tutorial: its YAML, node and config, written anew.

The node asks the endpoint in the tutorial's way, and its faults are on the lines that the tests
name. `config.py` would leave a file behind if it were ever executed.
"""

from __future__ import annotations

from pathlib import Path

SECRET = "Zx81QmfWb4kLp0Rt7uVyS2nHe6JdCa93"
URL = "https://phi.westeurope.inference.ml.azure.com/score"

DAG = """\
inputs:
  input_data:
    type: string
    default: "Who wrote the Kalevala?"
outputs:
  answer:
    type: string
    reference: ${ask_model.output}
nodes:
- name: ask_model
  type: python
  source:
    type: code
    path: ask_model.py
  inputs:
    input_data: ${inputs.input_data}
"""

NODE = """\
import asyncio
import logging
import requests
from promptflow.core import tool
from config import AZURE_ML_API_KEY, AZURE_ML_ENDPOINT

logging.basicConfig(level=logging.DEBUG)


def ask(input_data: list, url: str, key: str) -> str:
    headers = {"Authorization": f"Bearer {key}"}
    params = {"temperature": 0.7, "max_new_tokens": 128, "return_full_text": True}
    body = {"input_data": [input_data], "params": params}
    reply = requests.post(url, json=body, headers=headers)
    return reply.json()[0]


@tool
def ask_tool(input_data: str) -> str:
    asyncio.set_event_loop_policy(None)
    return ask(input_data, AZURE_ML_ENDPOINT, AZURE_ML_API_KEY)
"""

CONFIG = f"""\
import pathlib

pathlib.Path(__file__).with_name("executed").touch()
AZURE_SUBSCRIPTION_ID = "your_subscription_id"
AZURE_RESOURCE = f"/subscriptions/{{AZURE_SUBSCRIPTION_ID}}"
AZURE_ML_API_KEY = "{SECRET}"
AZURE_ML_ENDPOINT = "{URL}"
"""


def write(folder: Path, *, spelling: str = "flow.dag.yml", **changed: str) -> Path:
    """Write the flow into a folder, with whole files changed by their stem."""
    texts = {"dag": DAG, "ask_model": NODE, "config": CONFIG} | changed
    folder.mkdir(parents=True, exist_ok=True)
    (folder / spelling).write_text(texts.pop("dag"), encoding="utf-8")
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return folder
