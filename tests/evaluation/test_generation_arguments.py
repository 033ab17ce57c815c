"""Generation arguments of tasks: the harness's aliases in their order, what is done, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.errors import UserError
from unmask.evaluation.generation_arguments import LENGTHS, cut_before, fit, read_arguments


def test_lengths_by_any_name_the_first_counts() -> None:
    assert read_arguments({}).length == 256
    for i, name in enumerate(LENGTHS):
        assert read_arguments({name: 3}).length == 3 and read_arguments({name: "7"}).length == 7
        for other in LENGTHS[i + 1 :]:
            with pytest.warns(UserWarning, match=f"{name} and {other}; {name} counts"):
                assert read_arguments({other: 9, name: 5}).length == 5
    assert read_arguments({"max_gen_toks": 0}).length == 0
    assert read_arguments({"max_gen_toks": None, "max_new_tokens": 4}).length == 4


def test_aliases_are_the_harness_own() -> None:
    theirs = pytest.importorskip("lm_eval.models.utils").normalize_gen_kwargs
    cases: list[dict[str, Any]] = [{name: 4, "do_sample": True, "temperature": 0.7} for name in LENGTHS]
    cases += [{}, {"temperature": 0.5}, {"temperature": 0.0}, {"do_sample": False, "temperature": 0.8}]
    for case in cases:
        found, expected = read_arguments(case), theirs(dict(case))
        assert found.length == expected["max_gen_toks"] and found.sampled == expected["do_sample"]
        assert not found.sampled or found.options["temperature"] == expected["temperature"]


def test_how_tokens_are_drawn() -> None:
    assert read_arguments({"do_sample": True}).options == {"temperature": 1.0}
    wanted = read_arguments({"do_sample": True, "temperature": 0.5, "top_p": 0.9, "top_k": 3, "steps": 4})
    assert wanted.sampled and wanted.options == {"temperature": 0.5, "top_p": 0.9, "top_k": 3, "steps": 4}
    for greedy in ({"do_sample": False, "temperature": 0.8, "top_p": 0.95}, {"do_sample": True, "temperature": 0}, {}):
        assert not read_arguments(greedy).sampled and read_arguments(greedy).options == {"temperature": 0.0}
    for everything in ({"top_k": 0}, {"top_k": -1}, {"top_p": 1.0}):
        assert read_arguments({"do_sample": True, **everything}).options == {"temperature": 1.0}
    assert read_arguments({"num_beams": 1, "repetition_penalty": 1.0, "use_cache": True}).options == {"temperature": 0}
    assert read_arguments({"until": "x"}).stops == ["x"] and read_arguments({"until": ["a", ""]}).stops == ["a"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_gen_tok": 4}, r"'max_gen_tok' is unknown \(did you mean 'max_gen_toks'"),
        ({"wibble": 4}, "'wibble' is unknown; known are max_gen_toks, max_new_tokens"),
        ({"num_beams": 10}, "num_beams: 10 is not done here"),
        ({"repetition_penalty": 1.2}, "repetition_penalty: 1.2 is not done here"),
        ({"max_gen_toks": -1}, "max_gen_toks is -1; give a whole number of at least 0"),
        ({"max_new_tokens": 2.5}, "max_new_tokens is 2.5"),
        ({"max_gen_toks": "many"}, "max_gen_toks is 'many'"),
        ({"max_gen_toks": True}, "max_gen_toks is True"),
        ({"temperature": "hot"}, "temperature is 'hot'"),
        ({"temperature": -1}, "temperature is -1"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"do_sample": "no"}, "do_sample is 'no'"),
        ({"until": 5}, "until is 5"),
        ({"until": [5]}, r"until is \[5\]"),
        ("until", "generation_kwargs are 'until'"),
    ],
)
def test_what_cannot_be_followed_is_refused(settings: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_arguments(settings)


@given(st.integers(0, 200), st.integers(1, 200), st.integers(2, 64))
def test_prompt_and_length_share_the_context(prompt: int, length: int, context: int) -> None:
    ids = list(range(prompt))
    kept, written = fit(ids, length, context)
    assert max(1, len(kept)) + written <= context or not kept
    assert kept == ids[prompt - len(kept) :]
    if max(1, prompt) + length <= context:
        assert (kept, written) == (ids, length)
    else:
        assert written == min(length, max(1, context // 2)) and len(kept) == min(prompt, context - written)


def test_a_prompt_keeps_half_the_context() -> None:
    """Also where the length is just below the context: 60 of 64 left 4 tokens of the prompt."""
    ids = list(range(100))
    for length in (60, 63, 64, 1000):
        kept, written = fit(ids, length, 64)
        assert (len(kept), written) == (32, 32) and kept == ids[-32:]
    assert fit(ids, 10, 64) == (ids[-54:], 10)


def test_texts_end_before_the_first_stop() -> None:
    assert cut_before("so it is. And", ["And", "."]) == "so it is"
    assert cut_before("so", []) == cut_before("so", ["x"]) == "so"
