"""Open a GGUF file with llama.cpp, ask it, and end answers with each stop token.

Runs as a script in the environment `gguf`, where hieno is not installed. Reads a JSON request
from stdin and writes what was heard to its `output`.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any  # llama.cpp's server speaks JSON
from urllib.request import ProxyHandler, Request, build_opener

SURE = 1000.0  # a bias that no logit outweighs


def main() -> None:
    """Answer the request on stdin."""
    request = json.load(sys.stdin)
    names = ("model", "chats", "stops", "tokens", "context")
    heard = hear(*(request[name] for name in names))
    Path(request["output"]).write_text(json.dumps(heard), encoding="utf-8")


def hear(
    model: str, chats: list[Any], stops: list[int], tokens: int, context: int
) -> dict[str, object]:
    """Render the chats with the template in the file, and answer the first one."""
    import xllamacpp

    server = xllamacpp.Server(_parameters(xllamacpp.CommonParams(), model, context))

    def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
        # Straight to this machine, whatever proxy is set.
        address = f"{server.listening_address}{path}"
        data = json.dumps(body).encode()
        sent = Request(address, data, {"Content-Type": "application/json"})  # noqa: S310  # ours
        with build_opener(ProxyHandler({})).open(sent) as reply:
            answer: dict[str, Any] = json.load(reply)
        return answer

    prompts = []
    for chat in chats:
        text = post("/apply-template", {"messages": chat})["prompt"]
        whole = {"content": text, "add_special": True, "parse_special": True}
        prompts.append(post("/tokenize", whole)["tokens"])
    plain = {"prompt": prompts[0], "temperature": 0.0, "return_tokens": True, "cache_prompt": False}
    answer = post("/completion", {**plain, "n_predict": tokens})
    stopped = {}
    for stop in stops:
        forced = post("/completion", {**plain, "n_predict": 3, "logit_bias": [[stop, SURE]]})
        stopped[stop] = forced["stop_type"] == "eos" and forced["tokens"] == [stop]
    return {
        "prompts": prompts,
        "answer": answer["tokens"],
        "text": answer["content"].strip(),
        "stopped": stopped,
        "runtime": f"llama.cpp (xllamacpp {version('xllamacpp')})",
    }


def _parameters(made: Any, model: str, context: int) -> Any:
    made.model.path = model
    made.hostnames = ["127.0.0.1"]
    made.n_ctx = context
    made.n_parallel = 1
    made.n_gpu_layers = 0
    made.use_jinja = True
    made.ui = False
    made.warmup = False
    return made


if __name__ == "__main__":
    main()
