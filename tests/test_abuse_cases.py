"""The list of abuse cases, by number, and where each one is tested.

Cases 1 to 12 and 20 to 30 are about requests, 13 to 19 about models, 31 to 33 about training rows,
settings and flows, 34 to 36 about what leaks and what tears.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CONTRACT = "endpoint/test_endpoint_contract.py"
ROLLOUT = "endpoint/test_endpoint_rollout.py"
TRAFFIC = "endpoint/test_endpoint_traffic.py"
LIFECYCLE = "endpoint/test_endpoint_lifecycle.py"
STORM = "endpoint/test_endpoint_storm.py"
GATEWAY = "endpoint/test_endpoint_abuse.py"
CONTAINER = "serve/test_serve_abuse.py"
OPENAI = "serve/test_serve_openai.py"
PROCESS = "serve/test_serve_process.py"
FAULTS = "serve/test_serve_faults.py"
DESCRIPTION = "peers/test_peers_schemathesis.py"
MODELS = "models/test_models_local.py"
HUB = "models/test_models_hub.py"
ROWS = "data/test_checks.py"

CASES: dict[int, tuple[str, list[str]]] = {
    1: (
        "no key reads like a wrong one, on every route but health",
        [
            f"{CONTRACT}::test_missing_key_reads_like_a_wrong_one",
            f"{CONTRACT}::test_every_route_but_health_and_the_page_needs_a_key",
            f"{DESCRIPTION}::test_a_server_does_what_its_description_says",
        ],
    ),
    2: (
        "malformed, misplaced and oversized credentials",
        [
            f"{CONTRACT}::test_malformed_header_is_named",
            f"{CONTRACT}::test_two_authorization_headers_are_malformed",
            f"{CONTRACT}::test_key_in_the_query_is_no_key",
            f"{GATEWAY}::test_key_of_ten_kilobytes_is_a_wrong_one",
            f"{CONTRACT}::test_large_headers_are_refused",
        ],
    ),
    3: (
        "the old key after a renewal, and the other one meanwhile",
        [
            f"{CONTRACT}::test_regenerated_key_replaces_one_and_keeps_the_other",
            f"{STORM}::test_renewed_key_is_taken_over_without_a_pause",
        ],
    ),
    4: (
        "prefixes, longer keys and look-alikes",
        [
            f"{CONTRACT}::test_wrong_key_is_refused_with_plain_text",
            f"{CONTRACT}::test_key_with_other_alphabets_is_wrong_and_not_an_error",
        ],
    ),
    5: (
        "addresses that mean another one",
        [
            f"{CONTRACT}::test_every_route_but_health_and_the_page_needs_a_key",
            f"{CONTRACT}::test_unknown_address_is_404_and_wrong_method_405",
        ],
    ),
    6: (
        "foreign hosts and origins",
        [
            f"{CONTRACT}::test_foreign_host_is_refused",
            "serve/test_serve_score.py::test_a_foreign_host_is_refused",
            f"{GATEWAY}::test_pages_of_other_origins_get_no_permission",
        ],
    ),
    7: (
        "bodies that are too large, lie about their length or grow when unpacked",
        [
            f"{CONTRACT}::test_large_body_is_refused_declared_or_chunked",
            f"{CONTRACT}::test_lying_length_is_refused",
            f"{GATEWAY}::test_headers_that_could_be_read_in_two_ways_are_refused",
            "serve/test_serve_body.py::test_a_body_over_the_limit_is_refused_while_it_is_read",
            f"{CONTAINER}::test_a_compressed_body_is_never_unpacked",
        ],
    ),
    8: (
        "slow heads, slow bodies, slow readers",
        [
            "test_connection.py::test_head_that_does_not_come_to_its_end_closes_the_connection",
            f"{GATEWAY}::test_body_that_stops_coming_is_given_up",
            f"{GATEWAY}::test_client_that_does_not_read_is_given_up",
        ],
    ),
    9: (
        "JSON that means two things or none",
        ["serve/test_serve_body.py::test_json_that_means_two_things_or_none_is_refused"],
    ),
    10: (
        "strange characters and endless words",
        [
            f"{CONTAINER}::test_strange_characters_are_read_as_they_came",
            f"{CONTAINER}::test_a_single_word_of_a_megabyte_is_too_long_and_no_crash",
        ],
    ),
    11: (
        "control tokens in a text",
        [f"{CONTAINER}::test_control_tokens_in_a_text_cannot_close_its_turn"],
    ),
    12: ("templates in a request", [f"{CONTAINER}::test_a_request_cannot_carry_a_template"]),
    13: (
        "templates that reach for Python",
        [f"{MODELS}::test_a_folder_that_cannot_be_trusted_is_refused"],
    ),
    14: (
        "templates that do not end or swell",
        [
            f"{MODELS}::test_a_template_that_never_ends_is_stopped",
            f"{MODELS}::test_a_template_that_swells_is_stopped",
        ],
    ),
    15: (
        "weights that run code",
        [
            f"{MODELS}::test_a_folder_that_cannot_be_trusted_is_refused",
            f"{HUB}::test_a_model_with_pickled_weights_only_is_refused",
            "train/test_loop.py::test_a_checkpoint_that_is_not_whole_is_never_loaded",
        ],
    ),
    16: (
        "settings of a model that name code or addresses",
        [
            f"{MODELS}::test_settings_that_name_code_or_files_are_left_out",
            f"{HUB}::test_nothing_that_names_code_is_published",
        ],
    ),
    17: ("weights whose header lies", [f"{MODELS}::test_weights_whose_header_lies_are_refused"]),
    18: (
        "names and links that lead elsewhere",
        [
            f"{MODELS}::test_names_that_mean_nothing_are_refused_with_the_nearest",
            f"{MODELS}::test_a_folder_that_cannot_be_trusted_is_refused",
        ],
    ),
    19: (
        "a byte that changes after the registration",
        [
            "test_files.py::test_verify_finds_every_difference",
            "test_pipeline.py::test_a_package_with_a_changed_byte_is_not_deployed",
        ],
    ),
    20: (
        "numbers beyond their bounds and of the wrong type",
        [
            f"{CONTAINER}::test_every_number_is_bounded_and_of_its_type",
            f"{CONTAINER}::test_what_is_not_done_cannot_be_asked_for_in_any_form",
            f"{OPENAI}::test_what_cannot_be_honoured_is_refused_by_name",
        ],
    ),
    21: (
        "temperatures at their ends",
        [
            f"{CONTAINER}::test_a_temperature_of_zero_is_not_taken_for_none",
            f"{CONTAINER}::test_a_temperature_that_is_none_is_refused",
        ],
    ),
    22: (
        "conversations that are too long or are none",
        [
            f"{CONTAINER}::test_conversations_that_are_none_are_refused_before_any_stream",
            f"{OPENAI}::test_a_conversation_over_the_context_is_refused_before_the_stream",
            f"{OPENAI}::test_prompt_and_answer_together_must_fit_the_context",
        ],
    ),
    23: (
        "stop strings over tokens and characters",
        [
            "serve/test_serve_detokenise.py::test_no_part_of_a_stop_string_is_ever_let_through",
            "serve/test_serve_engines.py::test_stop_strings_over_several_tokens_never_show",
            "serve/test_serve_detokenise.py::test_pieces_add_up_and_hold_no_half_character",
        ],
    ),
    24: (
        "a thousand requests at once",
        [
            f"{STORM}::test_thousand_at_once_are_served_or_refused_and_none_is_lost",
            f"{PROCESS}::test_overload_is_refused_with_429_and_nobody_gets_anothers_answer",
        ],
    ),
    25: (
        "clients that leave",
        [
            f"{PROCESS}::test_a_client_that_hangs_up_frees_its_slot",
            f"{PROCESS}::test_a_client_that_hangs_up_before_the_answer_frees_its_slot",
            f"{CONTRACT}::test_client_that_leaves_cancels_the_container",
        ],
    ),
    26: (
        "failures within a stream",
        [
            f"{FAULTS}::test_a_failure_in_a_stream_is_one_error_event_and_the_end",
            f"{ROLLOUT}::test_container_that_dies_in_a_stream_ends_it_with_an_error_event",
        ],
    ),
    27: (
        "deployments that are not there, and split headers",
        [
            f"{CONTRACT}::test_unknown_deployment_is_404",
            f"{GATEWAY}::test_headers_that_could_be_read_in_two_ways_are_refused",
        ],
    ),
    28: (
        "request ids that are too long or would write two lines",
        [
            f"{CONTRACT}::test_long_request_id_is_refused",
            "serve/test_serve_score.py::test_a_request_id_over_100_characters_is_refused",
            f"{GATEWAY}::test_log_has_one_line_a_request_whatever_is_in_it",
        ],
    ),
    29: (
        "traffic that makes no sense",
        [
            f"{LIFECYCLE}::test_impossible_traffic_is_refused_and_changes_nothing",
            f"{TRAFFIC}::test_senseless_traffic_is_refused_and_changes_nothing",
        ],
    ),
    30: (
        "mirrors that are slow or broken",
        [
            f"{TRAFFIC}::test_mirror_gets_copies_and_nobody_waits_for_it",
            f"{TRAFFIC}::test_broken_mirror_is_noticed_by_the_metrics_alone",
        ],
    ),
    31: (
        "training rows that are none",
        [
            f"{ROWS}::test_a_bad_row_is_set_aside_with_its_line_and_reason",
            f"{ROWS}::test_nothing_usable_is_an_error_that_counts_the_reasons",
            "data/test_sources.py::test_a_row_beyond_every_size_is_set_aside_unread",
            "data/test_split.py::"
            "test_the_users_own_test_file_is_kept_whole_and_leaks_are_set_aside",
            "data/test_mutations.py::test_two_thousand_mutations_are_accounted_for",
        ],
    ),
    32: (
        "settings that run code, swell or hold a secret",
        [
            "test_yamlfile.py::test_what_cannot_be_used_is_refused_with_its_line",
            "test_yamlfile.py::test_a_bomb_of_aliases_is_refused_before_it_expands",
            "test_config.py::test_every_problem_is_reported_at_once_in_the_order_of_the_file",
            "test_config.py::test_a_model_is_never_an_address_with_a_password_in_it",
        ],
    ),
    33: (
        "flows that lead out of their folder or are none",
        [
            "flow/test_import.py::test_a_node_outside_of_the_folder_is_not_read",
            "flow/test_import.py::test_a_flow_of_other_nodes_is_refused_by_their_names",
            "flow/test_import.py::test_yaml_that_is_no_flow_is_refused_by_its_place",
        ],
    ),
    34: (
        "what refusals tell",
        [
            f"{DESCRIPTION}::test_a_server_does_what_its_description_says",
            f"{GATEWAY}::test_refusals_tell_nothing_about_the_machine",
            f"{CONTAINER}::test_refusals_tell_nothing_about_the_machine",
            f"{FAULTS}::test_an_unexpected_error_shows_neither_its_words_nor_a_prompt",
        ],
    ),
    35: (
        "keys and prompts in logs, files, spans and process lists",
        [
            f"{CONTRACT}::test_log_is_private_and_holds_no_prompt_and_no_key",
            f"{PROCESS}::test_no_prompt_and_no_path_leaves_through_log_or_error",
            f"{GATEWAY}::test_keys_are_in_no_process_list",
            "endpoint/test_endpoint_azure.py::"
            "test_the_credential_is_in_no_file_no_process_list_and_no_environment",
            "endpoint/test_endpoint_traces.py::"
            "test_a_request_is_one_span_below_the_callers_and_above_the_containers",
        ],
    ),
    36: (
        "two of what there is one of, and kills in between",
        [
            f"{PROCESS}::test_a_taken_port_is_said_before_the_model_is_loaded",
            f"{PROCESS}::test_servers_that_start_together_never_meet",
            f"{LIFECYCLE}::test_taken_port_is_passed_over",
            f"{LIFECYCLE}::test_port_that_another_takes_at_the_same_moment_is_passed_over",
            f"{LIFECYCLE}::test_stranger_on_the_port_is_not_taken_for_the_container",
            f"{ROLLOUT}::test_two_deploys_at_once_one_wins_and_the_other_is_busy",
            f"{TRAFFIC}::test_killed_roll_out_counts_as_failed",
            "test_project.py::test_a_second_command_is_busy_until_the_first_one_ends",
            "test_files.py::"
            "test_whatever_call_is_the_last_before_a_kill_the_folder_is_whole_or_absent",
        ],
    ),
}


@pytest.mark.parametrize("number", list(CASES))
def test_case_has_its_tests(number: int) -> None:
    what, tests = CASES[number]
    assert what
    assert tests
    for test in tests:
        path, _, name = test.partition("::")
        tree = ast.parse((HERE / path).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, test


def test_every_case_is_on_the_list() -> None:
    assert list(CASES) == list(range(1, 37))
