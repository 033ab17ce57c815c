"""The laws of repeated data, fitted to the runs of a sweep."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scaling.fitting import fitted, table
from scaling.synthetic import SIZES, runs_of, sweep
from unmask.scaling.constrained import Muennighoff
from unmask.scaling.fit import in_words


def test_one_trunk_has_a_law_and_no_interval(tmp_path: Path) -> None:
    fresh, law = sweep("mdm", np.random.default_rng(0), 0.001)
    epochs = np.array([2, 4, 8, 16, 32, 64, 128.0])
    params, unique = np.full(7, SIZES[6]), np.full(7, 5e6)
    loss = Muennighoff(law, 20.0).loss(params, epochs * unique, unique)
    flops, words = 6 * params * epochs * unique, ["t"] * 7
    repeated = runs_of("mdm", flops, params, loss, epochs * unique, unique=unique, trunk=words)
    columns = "objective,flops,params,tokens,loss,seed,unique,trunk"
    laws = fitted(table(tmp_path, fresh, repeated, columns=columns), resamples=20)["constrained"]["mdm"]
    for figure in (laws["muennighoff"]["R_D"], laws["quokka"]["best_epochs"]):
        assert figure["estimate"] is not None and figure["low"] is None and "no interval" in figure["why"]


def test_repeated_data_takes_no_part_and_gives_its_own_law(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    fresh, law = sweep("mdm", rng, 0.001)
    epochs = np.array([2, 4, 8, 16, 32, 64, 128.0])
    params, unique = np.full(7, SIZES[6]), np.full(7, 5e6)
    tokens = epochs * unique
    loss = Muennighoff(law, 20.0).loss(params, tokens, unique)
    repeated = runs_of("mdm", 6 * params * tokens, params, loss, tokens, unique=unique)
    columns = "objective,flops,params,tokens,loss,seed,unique"
    found = fitted(table(tmp_path, fresh, repeated, columns=columns), resamples=20)
    assert found["runs"]["n"] == {"mdm": len(fresh)}
    assert found["constrained"]["mdm"]["muennighoff"]["R_D"]["estimate"] == pytest.approx(20, rel=0.15)
    assert found["constrained"]["mdm"]["quokka"]["best_epochs"]["estimate"] > 20
    assert "repeated data" in in_words(found)
    (study,) = found["repeated"]
    assert study["series"][0]["epochs"] == epochs.tolist() and study["series"][0]["checkpoints"] == []
    assert "best until then" in in_words(found) and f"{loss[0]:.4f}" in in_words(found)
