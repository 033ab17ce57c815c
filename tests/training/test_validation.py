"""Validation: the same windows for every run, and the weights that are saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import unmask
from unmask.data.shards import TokenData
from unmask.model.transformer import Transformer
from unmask.training import checkpoint
from unmask.training.loop import train
from unmask.training.validation import validate, validation_windows


def test_averaged_weights_are_saved_and_validated(lab: Any, tmp_path: Path) -> None:
    recipe = lab.recipe("one", steps=1, ema=0.9)
    result = train(recipe)
    model = unmask.load(tmp_path / "one")
    start, raw = Transformer(model.config, seed=0).state_dict(), raw_weights(tmp_path / "one")
    for name, average in model.network.state_dict().items():
        assert not torch.equal(raw[name], start[name])
        torch.testing.assert_close(average, 0.1 * start[name] + 0.9 * raw[name])  # the first step's decay is 1/10
    windows = validation_windows(TokenData(lab.data, "validation"), recipe.context, recipe.validation.windows)
    assert result.validation is not None
    assert (result.validation["method"], result.validation["draws"]) == ("mc-windows", recipe.validation.draws)
    assert result.validation["loss"] == pytest.approx(validate(model, windows, recipe.validation)["loss"], rel=1e-5)
    # Validation borrows the network for the average, and training goes on with its own weights.
    train(lab.recipe("often", ema=0.9, validation__every=1))
    train(lab.recipe("once", ema=0.9, validation__every=12))
    often, once = raw_weights(tmp_path / "often"), raw_weights(tmp_path / "once")
    assert all(torch.equal(often[name], once[name]) for name in once)


def raw_weights(run: Path) -> dict[str, torch.Tensor]:
    """The network's own weights beside the averaged ones of the newest checkpoint."""
    newest = checkpoint.newest_checkpoint(run)
    assert newest is not None
    tensors = load_file(newest / checkpoint.TENSORS)
    return {name.removeprefix("raw/"): t for name, t in tensors.items() if name.startswith("raw/")}
