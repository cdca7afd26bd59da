"""Open a folder with ONNX Runtime GenAI, ask it, and end answers with each stop token.

Runs as a script in the environment `onnx`, where hieno is not installed. Reads a JSON request
from stdin and writes what was heard to its `output`.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any  # onnxruntime_genai ships no types

SURE = 1000.0  # a logit that no other outweighs


def main() -> None:
    """Answer the request on stdin."""
    request = json.load(sys.stdin)
    heard = hear(request["model"], request["chats"], request["stops"], request["tokens"])
    Path(request["output"]).write_text(json.dumps(heard), encoding="utf-8")


def hear(folder: str, chats: list[Any], stops: list[int], tokens: int) -> dict[str, object]:
    """Render the chats with the template in the folder, and answer the first one."""
    import numpy
    import onnxruntime_genai

    model = onnxruntime_genai.Model(folder)
    tokenizer = onnxruntime_genai.Tokenizer(model)
    prompts = []
    for chat in chats:
        text = tokenizer.apply_chat_template(json.dumps(chat), add_generation_prompt=True)
        prompts.append([int(token) for token in tokenizer.encode(text)])

    def generate(most: int, forced: int | None = None) -> list[int]:
        parameters = onnxruntime_genai.GeneratorParams(model)
        parameters.set_search_options(do_sample=False, max_length=len(prompts[0]) + most)
        generator = onnxruntime_genai.Generator(model, parameters)
        generator.append_tokens(prompts[0])
        made: list[int] = []
        while not generator.is_done():
            if forced is not None:
                logits = numpy.full_like(generator.get_logits(), -SURE)
                logits[..., forced] = SURE
                generator.set_logits(logits)
            generator.generate_next_token()
            made.append(int(generator.get_next_tokens()[0]))
        return made

    answer = generate(tokens)
    words = numpy.array([token for token in answer if token not in stops], dtype=numpy.int32)
    return {
        "prompts": prompts,
        "answer": answer,
        "text": tokenizer.decode(words).strip(),
        "stopped": {stop: generate(3, stop) == [stop] for stop in stops},
        "runtime": f"ONNX Runtime GenAI {version('onnxruntime-genai')}",
    }


if __name__ == "__main__":
    main()
