"""Whether a run has read a text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evaluation.dated import asked, speech
from unmask.errors import UserError
from unmask.evaluation import exposure
from unmask.evaluation.benchmarks import evaluate
from unmask.model.folder import load, save


def test_a_run_that_has_read_the_text_is_refused(place: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="was trained on text that is tested here: .* of 23, such as early.jsonl:"):
        asked(place, data=str(place / "early.jsonl"))
    model = load(place / "mdm")
    read = exposure.texts_read(model, [model.encode(speech(year)) for year in (1890, 1891, 1950)])
    assert read is not None and not read[2] and read[:2].any()
    later = tmp_path / "run"
    save(later, model.network, model.tokenizer)
    (later / "recipe.yaml").write_text(f"init: {place / 'mdm'}\ndata: gone\n")
    with pytest.raises(UserError, match="was trained on text"):  # by the model that it started from
        evaluate(later, ["temporal"], data=str(place / "early.jsonl"))


def test_sums_tell_stretches_apart() -> None:
    tokens = np.random.default_rng(0).integers(0, 5, 5000).astype(np.uint64)
    stretches = {tuple(tokens[i : i + exposure.STRETCH].tolist()) for i in range(len(tokens) - exposure.STRETCH + 1)}
    assert len(set(exposure.sums(tokens).tolist())) == len(stretches)
