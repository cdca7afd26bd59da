"""Ask a flow a few questions in one conversation, with prompt flow's own client.

Runs as a script in prompt flow's environment, where hieno is not installed. Reads a JSON request
from stdin (flow, questions, output) and writes the answers, or the error, to `result`.
"""

import json
import sys
from pathlib import Path


def main() -> None:
    """Answer the request on stdin; whatever happens is in the result file."""
    request = json.load(sys.stdin)
    result: dict[str, object]
    try:
        result = {"answers": converse(**request)}
    except Exception as error:
        result = {"error": str(error)}
    Path(request["output"], "result.json").write_text(json.dumps(result), encoding="utf-8")


def converse(flow: str, questions: list[str], output: str) -> list[str]:
    """Return the answers to questions that follow one another."""
    from promptflow.client import PFClient

    client = PFClient()
    history: list[dict[str, object]] = []
    answers: list[str] = []
    for number, question in enumerate(questions):
        inputs = {"question": question, "chat_history": history}
        # A folder of ours: by default the questions and answers stay in the user's flow.
        outputs = client.flows.test(flow, inputs=inputs, output_path=f"{output}/turn-{number}")
        answers.append("".join(outputs["answer"]))
        history.append({"inputs": {"question": question}, "outputs": {"answer": answers[-1]}})
    return answers


if __name__ == "__main__":
    main()
