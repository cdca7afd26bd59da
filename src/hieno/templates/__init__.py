"""What the model sees, decided in one place for training, evaluation, serving and export."""

from hieno.templates.families import TemplateFamily, family
from hieno.templates.proof import prove
from hieno.templates.rendering import Message
from hieno.templates.tokenizer import load_tokenizer, stop_ids
from hieno.templates.tokens import TrainingTokens, encode_text, render_prompt, render_training

__all__ = [
    "Message",
    "TemplateFamily",
    "TrainingTokens",
    "encode_text",
    "family",
    "load_tokenizer",
    "prove",
    "render_prompt",
    "render_training",
    "stop_ids",
]
