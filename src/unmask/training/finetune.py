"""Fine-tuning's samples: which example the k-th is, its noise, and what of it is in the loss; functions of (seed, k).

    task = FineTuning.open(recipe, model)              # reads, tokenises and counts the rows of recipe.data
    inputs = task.inputs(np.arange(step * 32, step * 32 + 32))

Prompts are clean and out of the loss. A masked diffusion model's answers are noised together with the end-of-sequence
tokens that pad them (arXiv 2410.18514), which are scored unless they are only to be seen, or ignored; an autoregressive
model predicts the answer and the first end-of-sequence token. The batch's longest is that of the global batch, so that
neither ranks nor micro-batches change what is scored. docs/finetuning.md says it at length.

Shapes: M examples, B rows of a micro-batch (an example each, or several where they are packed), T tokens.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch

from unmask.data.order import WindowSampler
from unmask.data.packing import pack
from unmask.data.sft import SCHEMA_VERSION, Examples, read_examples
from unmask.diffusion.noise import PROMPT_DRAW, dropout_keys, uniforms
from unmask.diffusion.objective import Inputs, Objective
from unmask.errors import UserError
from unmask.likelihood import score
from unmask.likelihood.pairs import make_pairs
from unmask.likelihood.scoring import error_of_total
from unmask.model.config import ModelConfig
from unmask.model.folder import Model
from unmask.statistics import interval
from unmask.training.recipe_fields import Recipe, ValidationFields

SCORED_PADDING = ("longest", "context")


class FineTuning:
    """Prompt-answer examples as a `Task`; stateless but for a memory of the last pool of batches."""

    report: dict[str, Any]  # what was read and what was skipped, as JSON values
    lines: list[str]  # the same for people

    def __init__(
        self, recipe: Recipe, config: ModelConfig, eos_id: int, examples: Examples, held_out: Examples
    ) -> None:
        assert recipe.sft is not None, "the recipe has no sft group"
        self._fields, self._seed = recipe.sft, recipe.seed
        self._batch, self._context = recipe.batch_size, recipe.context
        self._objective, self._causal, self._mask_id = Objective(recipe.objective), config.causal, config.mask_id
        self._alignment = config.alignment
        self._layers, self._dropout = config.n_layer, recipe.dropout
        self._eos_id, self._examples, self._validation = eos_id, examples, recipe.validation
        # An autoregressive model never sees what follows the first end-of-sequence token.
        self._padding = "ignore" if config.causal else recipe.sft.padding
        self._lengths, self._learned = examples.lengths, examples.learned_counts()
        windows = pack(self._lengths, recipe.context) if recipe.sft.packing else None
        self._members = np.arange(len(examples)) if windows is None else np.concatenate(windows)
        sizes = [1] * len(examples) if windows is None else [len(window) for window in windows]
        self._starts = np.cumsum([0, *sizes])
        self._slots = max(sizes)
        self._tokens = np.add.reduceat(self._lengths[self._members], self._starts[:-1])  # of each window
        self.n_samples = len(sizes)
        self._sampler = WindowSampler(self.n_samples, recipe.seed)
        self._pool: tuple[int, np.ndarray] = (-1, self._tokens[:0])
        self._pairs = [pair for i in chosen(held_out, recipe.validation) for pair in held_out.turns(int(i))]

        epoch = np.arange(-(-self.n_samples // self._batch) * self._batch)
        padded = self.padded_lengths(epoch)
        self.mean_tokens = float(padded.mean())
        # Attention reaches no further than an example, however many share a window.
        self.length = max(1, round(self.mean_tokens * self.n_samples / len(examples)))
        scored = float(self._learned[self._members].sum() / self.n_samples)
        if self._padding in SCORED_PADDING:
            scored += self.mean_tokens - float(self._tokens.mean())
        self.head_share = recipe.objective.head_share(recipe.context) * scored / self.mean_tokens

    @classmethod
    def open(cls, recipe: Recipe, start: Model) -> FineTuning:
        """The data of a recipe by the tokenizer of the model it starts from. Raises `UserError`."""
        assert recipe.sft is not None, "the recipe has no sft group"
        fields, tokenizer = recipe.sft, start.tokenizer
        if tokenizer is None:
            raise UserError(f"init {recipe.init} has no tokenizer.json, which fine-tuning needs for its text; add it")
        eos_id = start.config.eos_id if start.config.eos_id is not None else tokenizer.eos_id
        if eos_id is None:
            raise UserError(f"init {recipe.init} has no end-of-sequence token to end answers with; set model.eos_id")
        bos = start.config.bos
        examples = read_examples(recipe.data, fields, tokenizer, eos_id, recipe.context, bos)
        report: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "train": examples.report()}
        lines = [f"train data: {examples.summary()}"]
        if fields.validation:
            held_out = read_examples(fields.validation, fields, tokenizer, eos_id, recipe.context, bos)
            report["validation"] = held_out.report()
            lines.append(f"validation data: {held_out.summary()}")
        else:
            examples, held_out = examples.split(fields.validation_share, recipe.seed)
            rows = np.unique(held_out.rows)
            report["held_out"] = {"examples": len(held_out), "trained_on": len(examples), "rows": (rows + 1).tolist()}
            lines[0] += (
                f"; trained on {len(examples):,}, the other {len(held_out):,} (row{'s' * (len(rows) > 1)} "
                f"{', '.join(map(str, rows[:5] + 1))}{', ...' if len(rows) > 5 else ''}) are held out for validation"
            )
        task = cls(recipe, start.config, eos_id, examples, held_out)
        task.report, task.lines = report, lines
        return task

    def order(self, k: np.ndarray) -> np.ndarray:
        """By length, so that a micro-batch holds examples of like length."""
        return k[np.argsort(self._tokens[self.windows(k)], kind="stable")]

    def windows(self, k: np.ndarray) -> np.ndarray:
        """The window (an example, or several packed) that each sample is."""
        if not self._fields.bucket_batches:
            return self._sampler.windows(k)
        size = self._fields.bucket_batches * self._batch
        pools, places = np.divmod(k, size)
        windows = np.empty(len(k), dtype=np.int64)
        for pool in np.unique(pools).tolist():
            windows[pools == pool] = self._pooled(pool)[places[pools == pool]]
        return windows

    def _pooled(self, pool: int) -> np.ndarray:
        """The windows of a pool of batches: sorted by length, cut into batches, these shuffled.

        Samples of two epochs are never mixed, so that each epoch still holds each window once: a pool in which one ends
        is cut there, and the batch that both share has a run of like lengths from either.
        """
        last, windows = self._pool
        if last != pool:
            size = self._fields.bucket_batches * self._batch
            ends = np.arange(pool * size // self.n_samples + 1, ((pool + 1) * size - 1) // self.n_samples + 1)
            edges = [pool * size, *(ends * self.n_samples).tolist(), (pool + 1) * size]
            windows = np.concatenate([self._sorted(pool, a, b) for a, b in itertools.pairwise(edges)])
            self._pool = (pool, windows)
        return windows

    def _sorted(self, pool: int, start: int, end: int) -> np.ndarray:
        """The windows of samples start..end, all of one epoch, in batches of like lengths."""
        k = np.arange(start, end)
        windows = self._sampler.windows(k)
        windows = windows[np.argsort(self._tokens[windows], kind="stable")]
        # The first and the last batch may have samples outside.
        sizes = np.unique(k // self._batch, return_counts=True)[1]
        n = len(sizes)
        order = WindowSampler(n, self._seed).windows(np.arange(pool * n, (pool + 1) * n))
        # Batch i takes the order[i]-th run of windows; runs are as long as the batches that take them.
        takers = np.argsort(order)
        begins = np.empty(n, dtype=np.int64)
        begins[takers] = np.cumsum(sizes[takers]) - sizes[takers]
        return np.concatenate([windows[a : a + size] for a, size in zip(begins, sizes, strict=True)])

    def padded_lengths(self, k: np.ndarray) -> np.ndarray:
        """Tokens of each sample with the padding that is noised."""
        if self._padding in ("context", "seen"):
            return np.full(len(k), self._context)
        if self._padding == "ignore":
            return self._tokens[self.windows(k)]
        steps, where = np.unique(k // self._batch, return_inverse=True)
        batches = (steps[:, None] * self._batch + np.arange(self._batch)).ravel()
        return self._tokens[self.windows(batches)].reshape(-1, self._batch).max(axis=1)[where]

    def n_tokens(self, k: np.ndarray) -> int:
        return int(self.padded_lengths(k).sum())

    def divisor(self, k: np.ndarray, n_tokens: int | None = None) -> float:
        windows = self.windows(k)
        if self._fields.divisor == "sequence":
            return float((self._starts[windows + 1] - self._starts[windows]).sum())
        learned = int(self._learned[self._members_of(windows)].sum())
        if self._padding == "seen":
            return float(learned)
        padded = self.n_tokens(k) if n_tokens is None else n_tokens
        return float(learned + padded - self._tokens[windows].sum())

    def _members_of(self, windows: np.ndarray) -> np.ndarray:
        return np.concatenate([self._members[self._starts[w] : self._starts[w + 1]] for w in windows])

    def inputs(self, k: np.ndarray) -> Inputs:
        windows = self.windows(k)
        members_M = self._members_of(windows)
        sizes_B = self._starts[windows + 1] - self._starts[windows]
        rows_M = np.repeat(np.arange(len(k)), sizes_B)
        slots_M = np.arange(len(members_M)) - np.repeat(np.cumsum(sizes_B) - sizes_B, sizes_B)
        lengths_M = self._lengths[members_M]
        length = int(lengths_M.max() if self._padding == "ignore" else self.padded_lengths(k).max())
        clean_MT = np.full((len(members_M), length), self._eos_id, dtype=np.int64)
        learned_MT = np.zeros(clean_MT.shape, dtype=bool)
        for m, example in enumerate(members_M):
            clean_MT[m, : lengths_M[m]] = self._examples.ids(example)
            learned_MT[m, : lengths_M[m]] = self._examples.learned(example)
        inside_MT = np.arange(length) < lengths_M[:, None]
        keys_M = k[rows_M] * self._slots + slots_M
        hidden_MT = self._without_prompt(keys_M)[:, None] & inside_MT & ~learned_MT
        first, fed = self._alignment.first, self._alignment.fed(length)
        targets_MT = clean_MT[:, first:]
        if self._causal:
            tokens_MT = np.where(hidden_MT, self._eos_id, clean_MT)[:, :fed]  # there is no mask to hide a prompt with
            scored_MT, inside_MT, scored_M = learned_MT[:, first:], inside_MT[:, first:], learned_MT.sum(axis=1)
            weight_M = level_M = np.ones(len(members_M))
        else:
            assert self._mask_id is not None, "masked diffusion needs the mask's id"
            maskable_MT = learned_MT if self._padding == "ignore" else learned_MT | ~inside_MT
            scored_M = maskable_MT.sum(axis=1)
            masked_MT, weight_M, level_M = self._objective.masks(self._seed, keys_M, scored_M, length, maskable_MT)
            scored_MT = masked_MT & inside_MT if self._padding == "seen" else masked_MT
            if self._objective.config.weighting == "ce":  # on the micro-batch's length it must not depend
                weight_M = np.full(len(keys_M), 1 / self._objective.config.head_share(self._context))
            tokens_MT = np.where(masked_MT | hidden_MT, self._mask_id, clean_MT)
        if self._fields.divisor == "sequence":
            weight_M = weight_M / (learned_MT.sum(axis=1) if self._padding == "seen" else scored_M)
        key_mask_BT = segments_BT = None
        places_MT = np.arange(tokens_MT.size).reshape(tokens_MT.shape)
        tokens_BT = tokens_MT
        if self._fields.packing:
            tokens_BT, segments_BT, places_MT = self._packed(rows_M, slots_M, tokens_MT, inside_MT)
        elif self._padding == "ignore" and not self._causal and not inside_MT.all():
            key_mask_BT = torch.from_numpy(inside_MT)
        return Inputs(
            tokens_BT=torch.from_numpy(np.ascontiguousarray(tokens_BT)),
            targets_N=torch.from_numpy(targets_MT[scored_MT]),
            positions_N=torch.from_numpy(places_MT[scored_MT]),
            rows_N=torch.from_numpy(np.nonzero(scored_MT)[0]),
            weight_B=torch.from_numpy(weight_M.astype(np.float32)),
            level_B=torch.from_numpy(level_M.astype(np.float32)),
            lengths_B=torch.from_numpy(scored_M),
            key_mask_BT=key_mask_BT,
            segments_BT=None if segments_BT is None else torch.from_numpy(segments_BT),
            dropout_BL=torch.from_numpy(dropout_keys(self._seed, k, self._layers)) if self._dropout else None,
        )

    def _without_prompt(self, keys_M: np.ndarray) -> np.ndarray:
        """bool [M]: examples whose prompt is hidden."""
        share = self._fields.prompt_dropout
        if not share:
            return np.zeros(len(keys_M), dtype=bool)
        return np.array([uniforms(self._seed, int(key), 1, PROMPT_DRAW)[0] < share for key in keys_M])

    def _packed(
        self, rows_M: np.ndarray, slots_M: np.ndarray, tokens_MT: np.ndarray, inside_MT: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Examples side by side in their rows: tokens and segments [B, T'], and the places of `tokens_MT` there."""
        lengths_M = inside_MT.sum(axis=1)
        before_M = np.cumsum(lengths_M) - lengths_M
        offsets_M = before_M - before_M[slots_M == 0][rows_M]
        width = int((offsets_M + lengths_M).max())
        places_MT = (rows_M * width + offsets_M)[:, None] + np.arange(tokens_MT.shape[1])
        tokens_BT = np.full((int(rows_M[-1]) + 1, width), self._eos_id, dtype=np.int64)
        segments_BT = np.full_like(tokens_BT, -1)
        tokens_BT.flat[places_MT[inside_MT]] = tokens_MT[inside_MT]
        segments_BT.flat[places_MT[inside_MT]] = np.repeat(slots_M, lengths_M)
        return tokens_BT, segments_BT, places_MT

    def validate(self, model: Model) -> dict[str, Any]:
        """Nats per held-out answer token, given the prompt: a bound (MDM) or exact (ARM), as `unmask.score` has it."""
        # Answers so short that all their masks are no more than the draws are enumerated: the same number, exactly.
        scores = score(model, self._pairs, draws=self._validation.draws, seed=self._validation.seed)
        n_tokens = sum(answer.n_tokens for answer in scores)
        loss = -sum(answer.logprob for answer in scores) / n_tokens
        se, groups = error_of_total(make_pairs(model, self._pairs), scores)
        return {
            "loss": loss,
            "se": se / n_tokens,
            "interval": interval(loss, se / n_tokens, groups),
            "tokens": n_tokens,
            "answers": len(scores),
            "method": "exact" if self._causal else "mc-fixed",
            "draws": 0 if self._causal else self._validation.draws,
        }


def chosen(held_out: Examples, fields: ValidationFields) -> np.ndarray:
    """Which held-out examples are scored: at most `validation.windows` of them, drawn by the validation seed."""
    return WindowSampler(len(held_out), fields.seed).windows(np.arange(min(fields.windows, len(held_out))))
