"""Rolling likelihood: every token once, the windows of lm-evaluation-harness, an honest sum."""

from __future__ import annotations

import json
import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.errors import UserError
from unmask.likelihood import rolling, score
from unmask.likelihood.rolling import windows
from unmask.model.folder import Model

TEXT = np.random.default_rng(0).integers(0, 3, 31).tolist()


@given(st.integers(1, 80), st.integers(2, 20), st.data())
def test_windows_score_every_token_once(length: int, window: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(1, window - 1))
    ids = list(range(1, length + 1))
    found = list(windows(ids, 0, window, overlap))
    assert [token for tokens, start in found for token in tokens[start:].tolist()] == ids
    assert found[0][0][0] == 0 and found[0][1] == 1
    for tokens, _ in found:
        assert len(tokens) <= window and (np.diff(tokens) == 1).all()
    for tokens, start in found[1:]:
        assert start >= overlap and len(tokens) == window


@given(st.integers(1, 60), st.integers(2, 16), st.data())
def test_they_are_those_of_the_harness(length: int, window: int, data: st.DataObject) -> None:
    utils = pytest.importorskip("lm_eval.utils")
    overlap = data.draw(st.integers(1, window - 1))
    ids = list(range(1, length + 1))
    theirs = utils.get_rolling_token_windows(ids, 0, window - 1, overlap)
    expected = [(inputs + predicted[-1:], len(predicted)) for inputs, predicted in theirs]
    found = [(tokens.tolist(), len(tokens) - start) for tokens, start in windows(ids, 0, window, overlap)]
    assert found == expected


def test_an_arm_adds_up_its_windows(arm: Model) -> None:
    (found,) = rolling(arm, [TEXT], window=12, overlap=4)
    pairs = [(tokens[:start].tolist(), tokens[start:].tolist()) for tokens, start in windows(TEXT, 0, 12, 4)]
    assert found.logprob == pytest.approx(sum(s.logprob for s in score(arm, pairs)), rel=1e-6)
    assert (found.se, found.is_bound, found.n_tokens, found.windows) == (0.0, False, 31, len(pairs))
    short = rolling(arm, [TEXT[:10]])[0]
    assert short.windows == 1 and short.logprob == pytest.approx(score(arm, [([], TEXT[:10])])[0].logprob, rel=1e-6)


def test_an_mdm_adds_up_bounds_and_errors(mdm: Model) -> None:
    exact = rolling(mdm, [TEXT, TEXT[:9]], window=8, overlap=2, method="exact")
    found = rolling(mdm, [TEXT, TEXT[:9]], window=8, overlap=2, draws=60)
    for a, b in zip(found, exact, strict=True):
        assert a.is_bound and a.target == "nelbo" and a.se > 0 == b.se
        assert abs(a.logprob - b.logprob) < 4 * a.se and a.n_tokens == b.n_tokens
    fixed = rolling(mdm, [TEXT], window=12, overlap=2, until_se=0.3)[0]
    assert 0 < fixed.se <= 0.3 * math.sqrt(fixed.windows)
    z = [
        (s.logprob - exact[0].logprob) / s.se
        for s in (rolling(mdm, [TEXT], window=8, overlap=2, draws=32, seed=seed)[0] for seed in range(80))
    ]
    assert abs(np.mean(z)) < 0.4 and 0.75 < np.std(z) < 1.3


def test_texts_and_their_bytes(writers: dict[str, Model]) -> None:
    text = "A long text of many bytes, longer than the window: " * 3
    for model in writers.values():
        (found,) = rolling(model, [text], window=40, overlap=8, draws=4)
        assert found.n_bytes == len(text) == found.n_tokens
        told = json.loads(json.dumps(found.to_dict()))
        assert (told["window"], told["overlap"]) == (40, 8)
        assert told["bits_per_byte"] == pytest.approx(found.nats_per_token / math.log(2))


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        ([[]], {}, "text 0 is empty"),
        ([[1], [3]], {}, r"text 1 holds the mask \(3\)"),
        ([[1]], {"window": 25}, "window is 25; give 2 to 24, the model's context"),
        ([[1]], {"window": 8, "overlap": 8}, "overlap is 8; give 1 to 7"),
        ([[1]], {"method": "mc"}, "method 'mc' is unknown"),
    ],
)
def test_bad_input_is_named(mdm: Model, texts: list[list[int]], options: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        rolling(mdm, texts, **options)


def test_no_end_of_sequence_is_said(make_model) -> None:
    with pytest.raises(UserError, match="rolling likelihood needs one"):
        rolling(make_model(eos_id=None), [[1]])


def test_work_grows_with_the_number_of_texts_and_no_faster(arm: Model) -> None:
    """Lines counted: each text looked at every window."""
    counts = []
    for number in (20, 80):
        lines = 0

        def trace(frame, event, argument):
            nonlocal lines
            if not frame.f_code.co_filename.endswith("rolling.py"):
                return None
            lines += event == "line"
            return trace

        sys.settrace(trace)
        try:
            rolling(arm, [[arm.config.eos_id] * 3] * number)
        finally:
            sys.settrace(None)
        counts.append(lines)
    assert counts[1] < 5 * counts[0]
