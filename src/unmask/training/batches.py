"""Pretraining's samples: which window the k-th is and what noise it gets, both functions of (seed, k).

    batches = Batches(recipe, config)
    inputs = batches.inputs(np.arange(step * 256, step * 256 + 256))

Windows of T + 1 tokens start at every T-th token, so an autoregressive model predicts every token of the split but the
first; a masked diffusion model uses the first T of each.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from unmask.data.order import WindowSampler
from unmask.data.shards import TokenData
from unmask.diffusion.noise import dropout_keys, noise_levels, sample_lengths
from unmask.diffusion.objective import Inputs, Objective
from unmask.errors import UserError
from unmask.model.config import ModelConfig
from unmask.model.folder import Model
from unmask.model.presets import mean_length
from unmask.training.recipe_fields import Recipe
from unmask.training.validation import validate, validation_windows


class Batches:
    """Reads windows and draws their noise; stateless, so any sample may be asked for at any time."""

    def __init__(self, recipe: Recipe, data: TokenData, config: ModelConfig) -> None:
        self._data, self._context, self._seed = data, recipe.context, recipe.seed
        self._random_length, self._validation = recipe.objective.random_length, recipe.validation
        self._mask_id, self._layers, self._dropout = config.mask_id, config.n_layer, recipe.dropout
        self.n_samples = (data.n_tokens - 1) // recipe.context
        if self.n_samples < 1:
            raise UserError(
                f"context {recipe.context} is longer than the {data.split} split of {data.folder} "
                f"({data.n_tokens} tokens); use a shorter context or more text"
            )
        self._first = 0  # window
        if recipe.unique_tokens:
            self.n_samples, self._first = unique_windows(recipe, data, self.n_samples)
        self._sampler = WindowSampler(self.n_samples, recipe.seed)
        self._objective = Objective(recipe.objective)
        self._held_out_NT = validation_windows(
            TokenData(recipe.data, "validation"), recipe.context, recipe.validation.windows
        )
        self.length = recipe.context
        self.mean_tokens = mean_length(recipe.context, recipe.objective.random_length)
        self.head_share = recipe.objective.head_share(recipe.context)

    def windows(self, indices: np.ndarray) -> np.ndarray:
        """Tokens [len(indices), T + 1] of windows by their place in the split."""
        return np.stack([self._data.read(int(i) * self._context, self._context + 1) for i in indices])

    def order(self, k: np.ndarray) -> np.ndarray:
        """The most masked beside the least, so that ranks and micro-batches of an even size run the head equally often:
        ranks wait for the slowest of them.
        """
        if self._mask_id is None:
            return k
        masks = noise_levels(self._seed, k) * sample_lengths(self._seed, k, self._context, self._random_length)
        ranked = k[np.argsort(masks, kind="stable")]
        paired = np.empty_like(k)
        half = len(k) - len(k) // 2
        paired[0::2], paired[1::2] = ranked[:half], ranked[half:][::-1]
        return paired

    def inputs(self, k: np.ndarray) -> Inputs:
        windows = self.windows(self._first + self._sampler.windows(k))
        inputs = self._objective.prepare(windows, self._seed, k, self._mask_id)
        if self._dropout:
            inputs = replace(inputs, dropout_BL=torch.from_numpy(dropout_keys(self._seed, k, self._layers)))
        return inputs

    def n_tokens(self, k: np.ndarray) -> int:
        return int(sample_lengths(self._seed, k, self._context, self._random_length).sum())

    def divisor(self, k: np.ndarray, n_tokens: int | None = None) -> float:
        return self.n_tokens(k) if n_tokens is None else n_tokens

    def validate(self, model: Model) -> dict[str, Any]:
        return validate(model, self._held_out_NT, self._validation)


def unique_windows(recipe: Recipe, data: TokenData, there: int) -> tuple[int, int]:
    """(windows, the first of them) that a run on so many unique tokens sees, of the split's `there`.

    Raises `UserError` where the split ends before they do.
    """
    count = int(recipe.unique_tokens // recipe.context)
    first = count * recipe.unique_subset
    if count < 1:
        raise UserError(f"unique_tokens is {recipe.unique_tokens:g}; give at least the context, {recipe.context}")
    if first + count > there:
        raise UserError(
            f"unique_tokens {recipe.unique_tokens:,.0f} of subset {recipe.unique_subset} end at token "
            f"{(first + count) * recipe.context:,}, and {data.folder} has {data.n_tokens:,} to train on; give fewer"
        )
    return count, first
