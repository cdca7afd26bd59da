"""Ollama's template is put together from the model's own, and renders as that one does."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from tokenizers_of_phi import make

from hieno.export import modelfile
from hieno.templates import load_tokenizer
from hieno.templates.families import NAMES

CHATS = [
    [{"role": "user", "content": 'He said "{{ .Content }}" \\ twice'}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello?"}],
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One?\n"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "Two?"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "Three?"},
    ],
]
PROGRAM = """
package main

import (
	"encoding/json"
	"os"
	"text/template"
)

type Message struct{ Role, Content string }

func main() {
	var asked struct {
		Template string
		Chats    [][]*Message
	}
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		panic(err)
	}
	made := template.Must(template.New("").Parse(asked.Template))
	for _, chat := range asked.Chats {
		if err := made.Execute(os.Stdout, map[string]any{"Messages": chat}); err != nil {
			panic(err)
		}
		os.Stdout.WriteString("\\x00")
	}
}
"""


@pytest.mark.parametrize("name", NAMES)
def test_every_family_has_a_template_for_ollama(name: str, tmp_path: Path) -> None:
    found = modelfile.template(load_tokenizer(make(name, tmp_path / name)))
    assert found is not None
    assert found.startswith('{{ range $i, $_ := .Messages }}{{ if eq .Role "system" }}')


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("go") is None, reason="needs Go, whose templates Ollama renders")
@pytest.mark.parametrize("name", NAMES)
def test_go_renders_what_the_models_own_template_renders(name: str, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(make(name, tmp_path / name))
    program = tmp_path / "main.go"
    program.write_text(PROGRAM, encoding="utf-8")
    asked = {"Template": modelfile.template(tokenizer), "Chats": CHATS}
    done = subprocess.run(
        ["go", "run", str(program)],
        input=json.dumps(asked),
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    expected = [
        tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        for chat in CHATS
    ]
    assert done.stdout.split("\x00")[:-1] == expected


@pytest.mark.parametrize(
    "own",
    [
        # a date that comes and goes, a reply announced otherwise than it is kept, no system turn
        "{% for m in messages %}{{ m.role }}:{{ m.content }}{% endfor %}{{ messages | length }}",
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}<reply>{% endif %}",
        "{% for m in messages %}{% if m.role != 'system' %}{{ m.content }}|{% endif %}{% endfor %}",
        "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}\n{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}",
    ],
)
def test_a_template_of_another_kind_is_not_guessed_at(own: str, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(make("chatml", tmp_path / "model"))
    tokenizer.chat_template = own
    assert modelfile.template(tokenizer) is None


def test_a_modelfile_names_the_weights_the_template_and_every_stop_token() -> None:
    text = modelfile.write("books-1.gguf", "{{ .Content }}", ["<|end|>", "<|endoftext|>"])
    assert text == (
        "# ollama create NAME -f Modelfile\n"
        "FROM ./books-1.gguf\n"
        'TEMPLATE """{{ .Content }}"""\n'
        'PARAMETER stop "<|end|>"\n'
        'PARAMETER stop "<|endoftext|>"\n'
        "# the likeliest token each time, as in the evaluation\n"
        "PARAMETER temperature 0\n"
    )
    assert modelfile.stops(text) == ["<|end|>", "<|endoftext|>"]
