"""The k-th training sample: which window it is and what noise it gets, both functions of (seed, k).

    batches = Batches(recipe, TokenData(recipe.data, "train"), config)
    inputs = batches.inputs(np.arange(step * 256, step * 256 + 256))

Windows of T + 1 tokens start at every T-th token, so an autoregressive model predicts every token of the split but the
first; a masked diffusion model uses the first T of each.
"""

from __future__ import annotations

import numpy as np

from unmask.data.order import WindowSampler
from unmask.data.shards import TokenData
from unmask.diffusion.objective import Inputs, Objective
from unmask.errors import UserError
from unmask.model.config import ModelConfig
from unmask.training.recipe import Recipe


class Batches:
    """Reads windows and draws their noise; stateless, so any sample may be asked for at any time."""

    def __init__(self, recipe: Recipe, data: TokenData, config: ModelConfig) -> None:
        self._data, self._context, self._seed = data, recipe.context, recipe.seed
        self._mask_id = config.mask_id
        self.n_windows = (data.n_tokens - 1) // recipe.context
        if self.n_windows < 1:
            raise UserError(
                f"context {recipe.context} is longer than the {data.split} split of {data.folder} "
                f"({data.n_tokens} tokens); use a shorter context or more text"
            )
        self._sampler = WindowSampler(self.n_windows, recipe.seed)
        self._objective = Objective(recipe.objective)

    def windows(self, indices: np.ndarray) -> np.ndarray:
        """Tokens [len(indices), T + 1] of windows by their place in the split."""
        return np.stack([self._data.read(int(i) * self._context, self._context + 1) for i in indices])

    def inputs(self, k: np.ndarray) -> Inputs:
        return self._objective.prepare(self.windows(self._sampler.windows(k)), self._seed, k, self._mask_id)
