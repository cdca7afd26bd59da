"""Ask an endpoint and evaluate its replies with azure-ai-evaluation; runs in its environment.

    python azure_driver.py QUESTIONS OUTPUT

Address, key and model come from the environment. Its evaluators BLEU, GLEU and METEOR are left out:
they fetch data from the network when they are made.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any  # metrics are JSON

import httpx


def main(questions: str, output: str) -> None:
    """Write the means of every metric."""
    from azure.ai.evaluation import (
        F1ScoreEvaluator,
        RougeScoreEvaluator,
        RougeType,
        evaluate,
    )

    found: Any = evaluate(
        data=questions,
        target=answer,
        evaluators={"f1": F1ScoreEvaluator(), "rouge_l": RougeScoreEvaluator(RougeType.ROUGE_L)},
        evaluator_config={
            name: {
                "column_mapping": {
                    "response": "${target.response}",
                    "ground_truth": "${data.reference}",
                }
            }
            for name in ("f1", "rouge_l")
        },
    )
    numbers = {k: v for k, v in found["metrics"].items() if isinstance(v, int | float)}
    with open(output, "w", encoding="utf-8") as file:
        json.dump({"metrics": numbers, "rows": found["rows"]}, file, indent=2, default=str)


def answer(question: str) -> dict[str, str]:
    """Ask one question."""
    reply = httpx.post(
        f"{os.environ['HIENO_ENDPOINT']}/v1/chat/completions",
        headers={"Authorization": f"Bearer {os.environ['HIENO_API_KEY']}"},
        json={
            "model": os.environ["HIENO_MODEL"],
            "messages": [{"role": "user", "content": question}],
            "max_tokens": int(os.environ["HIENO_MAX_NEW_TOKENS"]),
            "temperature": 0,
        },
        timeout=180,
        trust_env=False,
    )
    reply.raise_for_status()
    return {"response": reply.json()["choices"][0]["message"]["content"]}


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
