"""What the emulator keeps of the calls that were made."""

from __future__ import annotations

from pathlib import Path

from emulator.trace import Exchange, Trace

ASKED = Exchange("GET", "management.azure.com", "/subscriptions", {"api-version": "1"}, 200)
SENT = Exchange("PUT", "a.api.azureml.ms", "/x", {}, 409, {"ä": [1]}, {"error": None}, "az", "slow")


def test_exchanges_are_read_again_as_they_were_while_more_come(tmp_path: Path) -> None:
    trace = Trace(tmp_path / "trace.jsonl")
    trace.add(ASKED)
    found = trace.read()
    assert next(found) == ASKED
    trace.add(SENT)
    assert list(found) == []  # it was not there yet
    assert trace.exchanges == [ASKED, SENT]
    trace.close()
    trace.add(ASKED)  # a late answer has nowhere to go
    assert trace.exchanges == [ASKED, SENT]


def test_a_run_in_the_folder_of_an_earlier_one_sees_its_own_calls(tmp_path: Path) -> None:
    for exchange in (ASKED, SENT):
        trace = Trace(tmp_path / "trace.jsonl")
        trace.add(exchange)
        assert trace.exchanges == [exchange]
        assert len(trace.calls()) == 1
        trace.close()
    assert len((tmp_path / "trace.jsonl").read_text("utf-8").splitlines()) == 2
