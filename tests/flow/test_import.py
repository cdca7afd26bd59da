"""Flows made by hand: what is found in them, what is kept, and that nothing of them runs."""

from __future__ import annotations

import json
from pathlib import Path

import by_hand
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hieno import flow
from hieno.cli.commands import hieno
from hieno.errors import ConfigError, MissingInput, UsageError, UserError
from hieno.flow import dag
from hieno.flow.imports import mask


def found(made: flow.Import) -> dict[str, str]:
    return {fault.place: fault.problem for fault in made.faults}


@pytest.mark.parametrize("spelling", ["flow.dag.yml", "flow.dag.yaml"])
def test_every_fault_of_the_tutorials_flow_is_named_with_its_place(
    tmp_path: Path, spelling: str
) -> None:
    source = by_hand.write(tmp_path / "old", spelling=spelling)
    made = flow.import_flow(source, tmp_path / "flow", name="my-model")
    places = [fault.place for fault in made.faults]
    assert places == [
        f"{spelling}:4",  # a default question
        f"{spelling}:1",  # no chat
        "ask_model.py:1",  # no streaming
        "ask_model.py:7",  # everything logs
        "ask_model.py:10",  # a list that is a text
        "ask_model.py:12",  # the question is in every answer
        "ask_model.py:14",  # no timeout
        "ask_model.py:14",  # no second try
        "ask_model.py:15",  # [0] unseen
        "ask_model.py:20",  # event loop policy
        "config.py:6",  # the key
    ]
    assert "'Who wrote the Kalevala?'" in made.faults[0].problem
    assert made.faults[-1].problem == (
        "the key AZURE_ML_API_KEY stands in the file (Zx...93, 32 characters), and images copy it"
    )


def test_names_and_settings_are_kept(tmp_path: Path) -> None:
    source = by_hand.write(tmp_path / "old")
    flow.import_flow(source, tmp_path / "flow", name="my-model")
    read = dag.read(tmp_path / "flow/flow.dag.yaml")
    assert (read.question, read.history, read.answer) == ("input_data", "chat_history", "answer")
    (node,) = read.nodes
    assert (node["name"], node["source"]["path"]) == ("ask_model", "ask_model.py")
    assert (node["inputs"]["max_new_tokens"], node["inputs"]["temperature"]) == (128, 0.7)
    code = (tmp_path / "flow/ask_model.py").read_text(encoding="utf-8")
    assert "def ask_tool(" in code
    assert 'QUESTION, ANSWER = "input_data", "answer"' in code
    compile(code, "ask_model.py", "exec")


def test_nothing_is_executed_and_no_key_is_written_or_shown(tmp_path: Path) -> None:
    source = by_hand.write(tmp_path / "old")
    before = {path: path.read_bytes() for path in source.iterdir()}
    shown = CliRunner().invoke(
        hieno, ["flow", "import", str(source), "--path", str(tmp_path / "flow")]
    )
    assert shown.exit_code == 0
    assert {path: path.read_bytes() for path in source.iterdir()} == before
    written = [path.read_text("utf-8") for path in (tmp_path / "flow").rglob("*") if path.is_file()]
    for text in (shown.output, *written):
        assert by_hand.SECRET not in text
    assert "Make new keys for the endpoint" in shown.output
    assert f"export HIENO_ENDPOINT={by_hand.URL}" in shown.output


def test_placeholders_of_the_tutorial_are_no_keys(tmp_path: Path) -> None:
    config = 'AZURE_ML_API_KEY = "your_fine_tuned_model_api_key"\nAZURE_ML_ENDPOINT = "your_uri"\n'
    source = by_hand.write(tmp_path / "old", config=config)
    made = flow.import_flow(source, tmp_path / "flow", name="my-model")
    assert (made.secrets, made.endpoint) == ((), None)


def test_a_key_in_the_node_or_in_the_yaml_is_found_too(tmp_path: Path) -> None:
    node = f'HEADERS = {{"Authorization": "Bearer {by_hand.SECRET}"}}\n'
    text = by_hand.DAG + f"    api_key: {by_hand.SECRET}\n"
    source = by_hand.write(tmp_path / "old", ask_model=node, dag=text, config="")
    made = flow.import_flow(source, tmp_path / "flow", name="my-model")
    assert [(each.place, each.name) for each in made.secrets] == [
        ("ask_model.py:1", "Authorization"),
        ("flow.dag.yml:17", "api_key"),
    ]


def test_importing_again_keeps_what_the_user_changed(tmp_path: Path) -> None:
    source = by_hand.write(tmp_path / "old")
    flow.import_flow(source, tmp_path / "flow", name="my-model")
    node = tmp_path / "flow/ask_model.py"
    node.write_text("# mine\n", encoding="utf-8")
    made = flow.import_flow(source, tmp_path / "flow", name="my-model")
    assert (made.scaffold.kept, made.scaffold.written) == ([node], [])


def test_a_node_that_is_no_python_is_written_anew(tmp_path: Path) -> None:
    source = by_hand.write(tmp_path / "old", ask_model="def (:\n")
    made = flow.import_flow(source, tmp_path / "flow", name="my-model")
    assert found(made)["ask_model.py:1"].startswith("it is no Python: ")
    assert (tmp_path / "flow/ask_model.py").is_file()


def test_a_repaired_flow_has_no_fault_left(tmp_path: Path) -> None:
    source = by_hand.write(tmp_path / "old")
    flow.import_flow(source, tmp_path / "flow", name="my-model")
    again = flow.import_flow(tmp_path / "flow", tmp_path / "twice", name="my-model")
    assert again.faults == ()


def test_a_flow_of_other_nodes_is_refused_by_their_names(tmp_path: Path) -> None:
    text = by_hand.DAG + "- name: judge\n  type: llm\n"
    source = by_hand.write(tmp_path / "old", dag=text)
    with pytest.raises(UsageError) as caught:
        flow.import_flow(source, tmp_path / "flow", name="my-model")
    assert caught.value.message == (
        f"{source / 'flow.dag.yml'}: its nodes are ask_model (python), judge (llm); "
        "one Python node is imported"
    )


def test_a_node_outside_of_the_folder_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret.py").write_text("KEY = 'abcdefgh'\n", encoding="utf-8")
    text = by_hand.DAG.replace("path: ask_model.py", "path: ../secret.py")
    source = by_hand.write(tmp_path / "old", dag=text)
    with pytest.raises(ConfigError, match=r"the node's file \.\./secret\.py is not in"):
        flow.import_flow(source, tmp_path / "flow", name="my-model")


def test_a_folder_without_a_flow_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match=r"no flow\.dag\.yaml and no flow\.dag\.yml"):
        flow.import_flow(tmp_path, tmp_path / "flow", name="my-model")


def test_a_flow_is_not_imported_into_itself(tmp_path: Path) -> None:
    source = by_hand.write(tmp_path / "old")
    with pytest.raises(UsageError, match="into itself"):
        flow.import_flow(source, source, name="my-model")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("inputs: [\n", "flow.dag.yml:2: "),
        ("- a\n", "is not a mapping of YAML"),
        ("inputs: 7\nnodes: []\n", "inputs is not a mapping of names"),
        ("nodes: 7\n", "nodes is not a list of named nodes"),
        ("!!python/object/apply:os.system ['touch executed']\n", "could not determine"),
        ("a: " + "[" * 1000 + "\n", "nested too deeply"),
        ("\x00", "is not YAML"),
    ],
    ids=["torn", "list", "inputs", "nodes", "object", "deep", "zero"],
)
def test_yaml_that_is_no_flow_is_refused_by_its_place(
    tmp_path: Path, text: str, words: str
) -> None:
    source = by_hand.write(tmp_path / "old", dag=text)
    with pytest.raises(UserError) as caught:
        flow.import_flow(source, tmp_path / "flow", name="my-model")
    assert words in caught.value.message
    assert not (tmp_path / "flow").exists()


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(max_size=200), at=st.integers(0, len(by_hand.NODE)))
def test_any_text_in_a_node_gives_a_whole_flow(tmp_path: Path, text: str, at: int) -> None:
    node = (by_hand.NODE[:at] + text).encode("utf-8", "replace").decode()
    source = by_hand.write(tmp_path / "old", ask_model=node)
    made = flow.import_flow(source, tmp_path / "flow", name="my-model")
    written = tmp_path / "flow" / made.chat.file
    compile(written.read_text(encoding="utf-8"), made.chat.file, "exec")


def test_a_short_key_is_not_shown_at_all() -> None:
    assert mask("secret12") == "..., 8 characters"
    assert mask("s" * 16) == "ss...ss, 16 characters"


def test_the_result_is_one_json_document(tmp_path: Path) -> None:
    source = by_hand.write(tmp_path / "old")
    call = ["flow", "import", str(source), "--path", str(tmp_path / "flow"), "--json"]
    document = json.loads(CliRunner().invoke(hieno, call).stdout)
    assert len(document["faults"]) == 11
    assert document["endpoint"] == by_hand.URL
    assert [Path(path).name for path in document["written"]][:2] == [
        "flow.dag.yaml",
        "ask_model.py",
    ]
