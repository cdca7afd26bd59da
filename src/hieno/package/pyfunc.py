"""The code of the MLflow model: `mlflow models serve` and `mlflow.pyfunc.load_model` run it.

It depends on transformers and torch alone, so the package can be used where hieno is not
installed. hieno itself serves the package through its own engines.
"""

from __future__ import annotations

from typing import Any  # MLflow passes data frames, lists and parameters

import mlflow
from mlflow.pyfunc import PythonModel

DEFAULTS = {"max_new_tokens": 256, "temperature": 0.0, "top_p": 1.0}


class ChatModel(PythonModel):  # type: ignore[misc]  # MLflow's extension point
    """Answer each text as one user message of a chat."""

    def load_context(self, context: Any) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        folder = context.artifacts["model"]
        self.tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        self.model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, trust_remote_code=False
        ).eval()

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """Return one answer for each text; MLflow reads types from the signature, not hints."""
        given = {**DEFAULTS, **(params or {})}
        if hasattr(model_input, "iloc"):
            model_input = model_input.iloc[:, 0].tolist()
        return [self._answer(str(text), given) for text in model_input]

    def _answer(self, text: str, given: dict[str, Any]) -> str:
        prompt = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, return_tensors="pt"
        )
        sampled = given["temperature"] > 0
        choice = {"temperature": given["temperature"], "top_p": given["top_p"]} if sampled else {}
        answer = self.model.generate(
            **prompt, max_new_tokens=int(given["max_new_tokens"]), do_sample=sampled, **choice
        )
        new = answer[0, prompt["input_ids"].shape[1] :]
        return str(self.tokenizer.decode(new, skip_special_tokens=True)).strip()


mlflow.models.set_model(ChatModel())
