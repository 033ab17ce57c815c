"""One hidden token guessed from all others."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from unmask.evaluation.baselines import Unigram
from unmask.evaluation.cloze import cloze, guess
from unmask.model.config import ModelConfig
from unmask.model.folder import Model
from unmask.model.transformer import Transformer


def test_cloze_hides_one_token_and_shows_the_rest() -> None:
    """A network rigged to repeat its left neighbour, and one that sees both sides, answer as they must."""
    config = ModelConfig(n_layer=1, n_head=1, n_embd=4, vocab_size=6, block_size=8, eos_id=0)
    windows_NT = np.array([[1, 2, 3, 4, 5], [5, 5, 5, 5, 5]])
    places_NP = np.array([[0, 3], [4, 1]])
    seen = []
    for causal in (False, True):
        network = Transformer(ModelConfig(**{**config.to_dict(), "causal": causal}), seed=0).eval()
        hidden = network.hidden

        def spy(tokens_BT: torch.Tensor, hidden: Any = hidden, **asked: Any) -> torch.Tensor:
            seen.append(tokens_BT.tolist())
            result: torch.Tensor = hidden(tokens_BT, **asked)
            return result

        network.hidden = spy  # type: ignore[method-assign]
        found = guess(Model(network), windows_NT, places_NP)
        assert found.shape == (2, 2)
        with torch.no_grad():
            logits = network.head(hidden(torch.tensor(seen[-1])))
        at = [0, 3, 4, 1] if causal else [1, 4, 5, 2]
        assert found.ravel().tolist() == [int(logits[row, place].argmax()) for row, place in enumerate(at)]
    assert seen[0] == [[0, 6, 2, 3, 4, 5], [0, 1, 2, 3, 6, 5], [0, 5, 5, 5, 5, 6], [0, 5, 6, 5, 5, 5]]
    assert seen[1] == [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4], [0, 5, 5, 5, 5], [0, 5, 5, 5, 5]]


def test_cloze_counts_what_is_right(models: dict[str, Model], windows_NT: np.ndarray) -> None:
    unigram = Unigram.of_counts(np.bincount(windows_NT.ravel(), minlength=models["mdm"].config.vocab_size))
    found = cloze(models, unigram, windows_NT, seed=3, places=63)
    assert found["places"] == windows_NT.size
    commonest = np.bincount(windows_NT.ravel()).max() / windows_NT.size
    assert found["unigram"]["accuracy"] == pytest.approx(commonest)
    assert found["unigram"]["se"] == pytest.approx(math.sqrt(commonest * (1 - commonest) / windows_NT.size))
    assert cloze(models, unigram, windows_NT, seed=3) != cloze(models, unigram, windows_NT, seed=4)
