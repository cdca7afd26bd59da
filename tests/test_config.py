"""The configuration: precedence, origins, and every problem at once with its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from hieno import config
from hieno.errors import ConfigError, MissingInput


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "hieno.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path | None, **arguments: object) -> str:
    with pytest.raises(ConfigError) as caught:
        config.load(path, environment={}, **arguments)  # type: ignore[arg-type]
    assert caught.value.hint
    return caught.value.message


def source_of(resolved: config.Resolved, key: str) -> str:
    return next(origin.source for origin in resolved.origins if origin.key == key)


def test_without_a_file_every_value_is_a_default() -> None:
    resolved = config.load(None, environment={})
    assert resolved.config == config.Config()
    assert {origin.source for origin in resolved.origins} == {"default"}
    assert [origin.key for origin in resolved.origins] == list(config.keys())


def test_a_flag_beats_the_environment_beats_the_file_beats_the_default(tmp_path: Path) -> None:
    path = written(tmp_path, "train:\n  epochs: 2\n  rank: 16\n  alpha: 8\n")
    resolved = config.load(
        path,
        flags={"train.epochs": "5"},
        environment={"HIENO_TRAIN_EPOCHS": "4", "HIENO_TRAIN_RANK": "64"},
    )
    train = resolved.config.train
    assert (train.epochs, train.rank, train.alpha, train.batch_size) == (5, 64, 8, 8)
    assert source_of(resolved, "train.epochs") == "command line"
    assert source_of(resolved, "train.rank") == "HIENO_TRAIN_RANK"
    assert source_of(resolved, "train.alpha") == "hieno.yaml:4"
    assert source_of(resolved, "train.batch_size") == "default"


def test_every_problem_is_reported_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "nmae: books\n"
        "model: demo\n"
        "train:\n"
        "  epoch: 3\n"
        "  rank: many\n"
        "  warmup: 1.5\n"
        "endpoint:\n"
        "  name: 7days\n"
        "learning_rate: 0.1\n",
    )
    assert refusal(path).splitlines() == [
        "6 problems in the configuration",
        "hieno.yaml:1: unknown key 'nmae'; did you mean 'name'?",
        "hieno.yaml:4: unknown key 'train.epoch'; did you mean 'train.epochs'?",
        "hieno.yaml:5: train.rank: input should be a valid integer, unable to parse string as an "
        "integer (it is 'many')",
        "hieno.yaml:6: train.warmup: input should be less than 1 (it is 1.5)",
        "hieno.yaml:8: endpoint.name: string should match pattern "
        "'^[a-zA-Z][a-zA-Z0-9]*(-[a-zA-Z0-9]+)*$' (it is '7days')",
        "hieno.yaml:9: unknown key 'learning_rate'; did you mean 'train.learning_rate'?",
    ]


def test_a_problem_in_a_flag_or_a_variable_says_so() -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(
            None,
            flags={"train.epochs": "-1", "train.ranks": "3"},
            environment={"HIENO_SERVE_CACHE_GB": "0"},
        )
    assert caught.value.message.splitlines() == [
        "3 problems in the configuration",
        "HIENO_SERVE_CACHE_GB: serve.cache_gb: input should be greater than 0 (it is 0)",
        "command line: train.epochs: input should be greater than 0 (it is -1)",
        "command line: unknown key 'train.ranks'; did you mean 'train.rank'?",
    ]


def test_a_section_that_is_no_section_is_refused_at_its_line(tmp_path: Path) -> None:
    message = refusal(written(tmp_path, "name: books\ntrain: fast\n"))
    assert message == (
        "hieno.yaml:2: train: input should be a valid dictionary or instance of Train "
        "(it is 'fast')"
    )


def test_targets_are_all_or_a_list_of_names(tmp_path: Path) -> None:
    path = written(tmp_path, "train:\n  targets: [qkv_proj, o_proj]\n")
    assert config.load(path, environment={}).config.train.targets == ["qkv_proj", "o_proj"]
    message = refusal(written(tmp_path, "train:\n  targets: some\n"))
    assert "hieno.yaml:2: train.targets" in message


@pytest.mark.parametrize("text", ["chats #1.jsonl", "2024", "no", "3.10", "a: b", "2024-01-01"])
def test_a_text_given_as_a_flag_or_a_variable_stays_as_it_was_typed(text: str) -> None:
    from_flag = config.load(None, flags={"data.source": text}, environment={})
    from_variable = config.load(None, environment={"HIENO_DATA_SOURCE": text})
    assert from_flag.config.data.source == from_variable.config.data.source == text


def test_an_optional_text_can_be_taken_back_with_null() -> None:
    resolved = config.load(
        None, flags={"data.test": "null"}, environment={"HIENO_DATA_TEST": "test.jsonl"}
    )
    assert resolved.config.data.test is None


def test_a_model_is_never_an_address_with_a_password_in_it() -> None:
    message = refusal(None, flags={"model": "https://user:secret@example.com/model"})
    assert message == (
        "command line: model: is a preset, a hub id or a local folder, not an address "
        "(it is 'https://***@example.com/model')"
    )


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(MissingInput) as caught:
        config.load(tmp_path / "hieno.yaml", environment={})
    assert caught.value.message == f"there is no {tmp_path / 'hieno.yaml'}"
    assert caught.value.hint == "`hieno init` makes a project here"


def test_a_file_that_is_not_utf_8_is_refused_at_its_byte(tmp_path: Path) -> None:
    path = tmp_path / "hieno.yaml"
    path.write_bytes("name: Bücher\n".encode("latin-1"))
    assert refusal(path) == f"{path} is not UTF-8 text (byte 7)"


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "hieno.yaml"
    path.write_bytes(b"\xef\xbb\xbfname: books\r\n")
    assert config.load(path, environment={}).config.name == "books"


def test_the_tree_cannot_be_changed() -> None:
    resolved = config.load(None, environment={})
    with pytest.raises(ValidationError, match="frozen"):
        resolved.config.train.epochs = 9  # type: ignore[misc]


def test_the_schema_knows_every_key_and_refuses_others() -> None:
    schema = config.schema()
    assert schema["title"] == "hieno.yaml"
    assert schema["additionalProperties"] is False
    known = config.keys()
    for key in known:
        place = schema
        for part in key.split("."):
            assert part in place["properties"], key
            place = schema["$defs"].get(place["properties"][part].get("$ref", "")[8:], {})


def test_every_key_is_described() -> None:
    assert [key for key, field in config.keys().items() if not field.description] == []


def test_layers_are_left_out_by_adapters_only() -> None:
    flags = {"train.method": "full", "train.frozen_layers": 2}
    with pytest.raises(ConfigError, match="frozen_layers is for adapters"):
        config.load(None, flags=flags, environment={})


def test_a_weight_is_for_the_distribution_only() -> None:
    flags = {"train.replay_loss": "words", "train.replay_weight": 2}
    with pytest.raises(ConfigError) as caught:
        config.load(None, flags=flags, environment={})
    # a rule between keys: their section is not shown with it
    assert caught.value.message.endswith("train: replay_weight is for replay_loss: distribution")


def test_a_preset_of_azure_names_both_machines_and_a_key_beside_it_wins(tmp_path: Path) -> None:
    text = "azure:\n  preset: cpu\n  endpoint:\n    size: Standard_E8s_v3\n"
    azure = config.load(written(tmp_path, text), environment={}).config.azure
    assert (azure.cluster.size, azure.endpoint.size) == ("Standard_E16s_v3", "Standard_E8s_v3")


def test_a_preset_hides_no_mistake_beside_it(tmp_path: Path) -> None:
    message = refusal(written(tmp_path, "azure:\n  preset: cpu\n  cluster: big\n"))
    assert message.startswith("hieno.yaml:3: azure.cluster: input should be a valid dictionary")


def test_more_machines_than_the_cluster_may_have_are_refused(tmp_path: Path) -> None:
    message = refusal(written(tmp_path, "azure:\n  cluster:\n    nodes: 2\n"))
    assert "azure.cluster: nodes is 2, and max_nodes 1: raise it too" in message


def test_what_is_brought_to_azure_is_a_whole_id_in_the_same_place(tmp_path: Path) -> None:
    text = "azure:\n  bring:\n    storage: mydata\n"
    assert "azure.bring.storage: is a whole resource id" in refusal(written(tmp_path, text))
    workspace = (
        "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/team"
        "/providers/Microsoft.MachineLearningServices/workspaces/ours"
    )
    text = f"azure:\n  resource_group: mine\n  bring:\n    workspace: {workspace}\n"
    assert "resource_group is not that of bring.workspace, which is team" in refusal(
        written(tmp_path, text)
    )
