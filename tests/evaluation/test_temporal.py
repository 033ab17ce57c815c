"""`unmask eval --tasks temporal`: windows, bits per byte by decade, resumption, comparison, refusals."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import unmask
from evaluation.dated import asked, speech
from unmask.errors import UserError
from unmask.evaluation import temporal
from unmask.evaluation.benchmarks import evaluate, in_words
from unmask.evaluation.paired import compare_results
from unmask.evaluation.temporal import Skipped, read_dated, score_documents, windows_of, year_of
from unmask.model.folder import load, save


def test_bits_per_byte_by_decade_is_the_ratio_of_sums(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = asked(place, "arm")
    task = result["tasks"]["temporal"]
    assert list(task["metrics"]) == ["bits_per_byte", "1910s", "1920s"] and task["n"] == 4
    tens = [item for item in task["items"] if item["year"] < 1920]
    bits = sum(item["nats"] for item in tens) / math.log(2)
    assert task["metrics"]["1910s"]["value"] == pytest.approx(bits / sum(item["bytes"] for item in tens))
    low, high = task["metrics"]["bits_per_byte"]["interval"]
    assert low < task["metrics"]["bits_per_byte"]["value"] < high
    assert {why: found["count"] for why, found in task["skipped"].items()} == {
        "without text": 2, "without a date": 1, "too short to score": 1
    }  # fmt: skip
    assert "later.jsonl:5" in capsys.readouterr().err
    assert task["exposure"] == "not in its training tokens"
    assert "of 1913" == task["items"][0]["name"] and "1910s" in in_words(result)


def test_windows_of_a_document_are_scored_as_score_does(place: Path) -> None:
    model = load(place / "arm")
    (one,) = score_documents(model, [speech(1950)], windows=3)
    ids = model.encode(speech(1950))
    nats = -sum(found.logprob for found in unmask.score(model, [([0], part) for part in windows_of(ids, 31, 3)]))
    assert one is not None and one.nats == pytest.approx(nats) and one.n_bytes == one.n_tokens == 93
    mdm = load(place / "mdm")
    scored = score_documents(mdm, [speech(1950), "no", speech(1951)], windows=3)
    assert scored[1] is None
    (alone,) = score_documents(mdm, [speech(1951)], windows=3)
    assert scored[2] is not None and alone is not None
    assert scored[2].nats == pytest.approx(alone.nats), "masks are keyed by the text, whatever stands beside it"


@given(st.integers(0, 500), st.integers(1, 40), st.integers(1, 20))
def test_windows_are_even_and_never_overlap(total: int, length: int, count: int) -> None:
    found = windows_of(range(total), length, count)
    assert len(found) <= count or total <= length
    flat = [token for window in found for token in window]
    assert len(set(flat)) == len(flat) and set(flat) <= set(range(total))
    if total > length:
        assert found and all(len(window) == length for window in found)
        assert found[0][0] == 0 and (len(found) == 1 or found[-1][0] == (total // length - 1) * length)


def test_a_stopped_evaluation_goes_on(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = asked(place)
    monkeypatch.setattr(temporal, "AT_ONCE", 2)
    real, calls = temporal.score_documents, []

    def stops(*args: Any, **more: Any) -> Any:
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args, **more)

    monkeypatch.setattr(temporal, "score_documents", stops)
    with pytest.raises(KeyboardInterrupt):
        asked(place, out=tmp_path / "t.json")
    found = asked(place, out=tmp_path / "t.json")
    assert len(calls) == 4, "two, of which one broke, then what was left"
    for one, two in zip(found["tasks"]["temporal"]["items"], whole["tasks"]["temporal"]["items"], strict=True):
        assert one["nats"] == pytest.approx(two["nats"])


def test_two_models_are_compared_document_by_document(place: Path, tmp_path: Path) -> None:
    for kind in ("mdm", "arm"):
        asked(place, kind, out=tmp_path / f"{kind}.json")
    found = compare_results(tmp_path / "mdm.json", tmp_path / "arm.json")["tasks"]["temporal"]["bits_per_byte"]
    assert found["n"] == 4 and found["interval"][0] <= found["difference"] <= found["interval"][1]


def test_bad_input(place: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the task temporal needs --data FILE"):
        evaluate(place / "mdm", ["temporal"])
    with pytest.raises(UserError, match="gone.jsonl does not exist"):
        asked(place, data=str(tmp_path / "gone.jsonl"))
    with pytest.raises(UserError, match="--windows is 0"):
        asked(place, windows=0)
    (tmp_path / "none.jsonl").write_text('{"text": "undated"}\n')
    with pytest.raises(UserError, match="has no document to score: 1 without a date .none.jsonl:1"):
        asked(place, data=str(tmp_path / "none.jsonl"))
    save(tmp_path / "bare", load(place / "mdm").network)
    with pytest.raises(UserError, match="has no tokenizer"):
        evaluate(tmp_path / "bare", ["temporal"], data=str(place / "later.jsonl"))
    skipped = Skipped()
    assert [d.year for d in read_dated(place / "later.jsonl", skipped)] == [1913, 1914, 1921, 1922, 1931]


@pytest.mark.parametrize(
    ("date", "year"),
    [(1961, 1961), ("1961-01-30", 1961), ("196", None), ("19613", None), (None, None), (True, None), ("abcd", None)],
)
def test_years(date: Any, year: int | None) -> None:
    assert year_of(date) == year
