"""YAML: values with their lines, and no dangerous parts."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hieno import yamlfile
from hieno.errors import ConfigError


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        yamlfile.parse(text, name="hieno.yaml")
    assert caught.value.hint
    return caught.value.message


def test_values_come_with_the_line_of_each_key() -> None:
    text = "# a comment\nname: books\ntrain:\n  epochs: 3\n  targets: [a, b]\n\nmodel: demo\n"
    values, lines = yamlfile.parse(text, name="hieno.yaml")
    assert values == {
        "name": "books",
        "train": {"epochs": 3, "targets": ["a", "b"]},
        "model": "demo",
    }
    assert lines == {"name": 2, "train": 3, "train.epochs": 4, "train.targets": 5, "model": 7}


@pytest.mark.parametrize("sign", ["=", "<<"])
def test_signs_that_mean_something_to_yaml_are_plain_text(sign: str) -> None:
    assert yamlfile.parse(f"a: {sign}\n", name="hieno.yaml")[0] == {"a": sign}


@pytest.mark.parametrize("text", ["", "\n", "# only a comment\n"])
def test_an_empty_file_has_no_values(text: str) -> None:
    assert yamlfile.parse(text, name="hieno.yaml") == ({}, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "name: books\nmodel: !!python/object/apply:os.system ['true']\n",
            "hieno.yaml:2: the tag tag:yaml.org,2002:python/object/apply:os.system cannot be used "
            "here",
        ),
        (
            "a: !!binary aGk=\n",
            "hieno.yaml:1: the tag tag:yaml.org,2002:binary cannot be used here",
        ),
        ("x: &x [1, 2]\n", "hieno.yaml:1: anchors and aliases cannot be used here"),
        ("name: books\nx: *x\n", "hieno.yaml:2: anchors and aliases cannot be used here"),
        ("a: 1\nb: 2\na: 3\n", "hieno.yaml:3: the key 'a' stands here a second time"),
        (
            "train:\n  rank: 1\n  rank: 2\n",
            "hieno.yaml:3: the key 'train.rank' stands here a second time",
        ),
        ("- a\n- b\n", "hieno.yaml:1: the file must hold keys and values"),
        ("just text\n", "hieno.yaml:1: the file must hold keys and values"),
        (
            "train:\n\trank: 1\n",
            "hieno.yaml:2: found character '\\t' that cannot start any token",
        ),
        ("a: [1, 2\nb: 3\n", "hieno.yaml:2: expected ',' or ']', but got ':'"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_line(text: str, message: str) -> None:
    assert refusal(text) == message


def test_a_bomb_of_aliases_is_refused_before_it_expands() -> None:
    levels = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    levels += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40)]
    assert refusal("\n".join(levels)) == "hieno.yaml:1: anchors and aliases cannot be used here"


def test_two_documents_in_one_file_are_refused() -> None:
    assert refusal("a: 1\n---\nb: 2\n").startswith("hieno.yaml:2: ")


@pytest.mark.parametrize("text", ["[" * 20_000, "a: " + "[" * 20_000, "{a: " * 20_000])
def test_nesting_without_end_is_refused(text: str) -> None:
    assert refusal(text) == "hieno.yaml:1: the values are nested too deep"


@pytest.mark.parametrize("value", ["9" * 5000, "2024-13-45", "0b", "1:99999:2e"])
def test_a_value_that_yaml_cannot_build_is_an_error_or_text_but_never_a_crash(value: str) -> None:
    try:
        values, _ = yamlfile.parse(f"a: 1\nb: {value}\n", name="hieno.yaml")
    except ConfigError as error:
        assert error.message.startswith("hieno.yaml:2: 'b': ")  # noqa: PT017
    else:
        assert "b" in values


@given(st.text(max_size=60))
@example("=")
@example("a: =")
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        yamlfile.parse(text, name="hieno.yaml")
    except ConfigError as error:
        assert error.message.startswith("hieno.yaml")  # noqa: PT017


@given(st.text(max_size=40))
def test_any_flag_can_be_read_as_a_scalar(text: str) -> None:
    assert not isinstance(yamlfile.scalar(text), dict)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("1.5", 1.5),
        ("true", True),
        ("null", None),
        ("", None),
        ("[a, b]", ["a", "b"]),
        ("a: b", "a: b"),
        ("*x", "*x"),
        ("2024-13-45", "2024-13-45"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_a_flags_text_is_read_as_yaml_reads_it(text: str, value: object) -> None:
    assert yamlfile.scalar(text) == value
