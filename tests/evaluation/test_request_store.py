"""Answers on disk: what a killed evaluation finds again, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unmask.errors import UserError
from unmask.evaluation.request_store import RequestStore, first_difference, request_key

PROTOCOL = {"estimator": {"method": "mc-fixed", "draws": 128}, "guidance": 0.7}


def test_answers_are_found_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.jsonl"
    with RequestStore(path, PROTOCOL) as store:
        assert store.get("k") is None
        store.put("k", {"logprob": -1.5})
        assert json.loads(path.read_text().splitlines()[1]) == {"key": "k", "answer": {"logprob": -1.5}}
    with RequestStore(path, PROTOCOL) as store:
        assert store.get("k") == {"logprob": -1.5}


def test_a_line_cut_short_by_a_kill_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with RequestStore(path, PROTOCOL) as store:
        store.put("a", 1)
        store.put("b", "ü")
    whole = path.read_bytes()
    for cut in range(1, 12):
        path.write_bytes(whole[:-cut])
        with RequestStore(path, PROTOCOL) as store:
            assert (store.get("a"), store.get("b")) == (1, None)
            store.put("b", "ü")
        assert path.read_bytes() == whole
    path.write_bytes(b'{"schema_ver')
    with RequestStore(path, PROTOCOL) as store:
        assert store.get("a") is None
    assert path.read_bytes().endswith(b"}\n")


def test_results_of_another_protocol_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    RequestStore(path, PROTOCOL).close()
    other = {**PROTOCOL, "estimator": {"method": "mc-fixed", "draws": 64}}
    with pytest.raises(UserError, match=r"another protocol, protocol.estimator.draws: 128 and 64; delete it"):
        RequestStore(path, other)
    path.write_text("not JSON\n")
    with pytest.raises(UserError, match="line 1: not a result of an evaluation"):
        RequestStore(path, PROTOCOL)


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    with RequestStore(tmp_path / "a.jsonl", PROTOCOL):
        with pytest.raises(UserError, match="another process is writing"):
            RequestStore(tmp_path / "a.jsonl", PROTOCOL)
    with RequestStore(None, PROTOCOL) as store:
        store.put("a", 1)
        assert store.get("a") == 1


def test_differences_and_keys() -> None:
    assert first_difference({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 2}}) is None
    assert first_difference({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {}}) == "b.c: 2 and None"
    assert request_key("a", ["b"]) == request_key("a", ("b",)) != request_key("a", "b")
