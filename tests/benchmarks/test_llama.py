"""A Llama-layout model through our backbone and through transformers: the words of the result."""

from __future__ import annotations

import pytest

from unmask.errors import UserError
from unmask.model.folder import Model

pytest.importorskip("lm_eval")
from benchmarks.llama import LlamaBenchOptions, bench_llama, in_words  # noqa: E402 - needs the extra eval


def test_a_masked_model_is_refused(model: Model) -> None:
    with pytest.raises(UserError, match="is no autoregressive model with a tokenizer; give one that is"):
        bench_llama(LlamaBenchOptions(str(model.path)))


def test_in_words() -> None:
    result = {
        "speedup": 1.5, "speedup_range": [1.25, 2.0], "same_answers": 39, "threads": 1, "options": {"items": 40},
        "accuracy": {"unmask": 0.5, "transformers": 0.475},
        "largest_logit_difference": 2e-5, "largest_logprob_difference": 1e-4,
    }  # fmt: skip
    lines = in_words(result).splitlines()
    assert lines[1] == "LAMBADA accuracy on 40: unmask 0.5000, transformers 0.4750 (39 answers the same)"
    assert lines[2] == "1.50x (1.25-2.00) as fast as transformers, threads 1"
