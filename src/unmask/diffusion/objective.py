"""Objectives: (network, clean batch, noise) to a loss. Masked diffusion and next token share everything around them.

    objective = build_objective(ObjectiveConfig(kind="mdm", masking="fixed"))
    inputs = objective.prepare(tokens_BT1, 0, k, mask_id)         # on the CPU: a function of (seed, k)
    outcome = objective.loss(network, inputs.to(device))          # loss_sum / n_tokens is the loss

Masked diffusion (arXiv 2410.18514, eq. for the NELBO): t uniform, each token masked with probability
p = (1 - eps) t + eps, loss = sum over masked of CE / p. Whatever the schedule, p runs from eps to 1 and the expectation
is the mean over such p (`Schedule.levels`). `masking: fixed` masks exactly c of L tokens, c from 1..L, weighed by L/c
(arXiv 2502.09992): the same expectation at eps = 0 without the variance of the count. `weighting: ce` drops the weight
(scaled so that a constant CE of 1 gives 1): it trains well, and is NOT a bound on the likelihood.

`span: s` draws a mask for s neighbours at once (spans begin anew at a place drawn for each sequence). The law: given t,
each token is masked with the same probability as alone, p, or c of n spans' c/n, so the share of masks is expected as
ever and the weights are the same; only masks within a span are no longer independent. The loss then bounds the
likelihood of the model that writes whole spans, their tokens independently, which is not that of single tokens.

Shapes: B batch, T tokens, N positions where the head runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from unmask.diffusion.noise import noise_levels, sample_lengths, span_numbers, uniform_rows
from unmask.diffusion.objective_config import ObjectiveConfig
from unmask.diffusion.schedule import SCHEDULES
from unmask.model.alignment import IN_PLACE, NEXT_TOKEN
from unmask.model.backbone import Backbone
from unmask.model.visibility import Sees, keys, restarting_positions, segments


@dataclass
class Inputs:
    """A batch ready for the network. `weight_B` multiplies each sequence's summed CE, `level_B` is its mask share.

    Where several examples share a row (`segments_BT` numbers them), what is of length B counts examples instead.
    """

    tokens_BT: torch.Tensor
    targets_N: torch.Tensor
    positions_N: torch.Tensor  # of the [B * T] predictions that a pass makes, flattened, those that are scored
    rows_N: torch.Tensor
    weight_B: torch.Tensor
    level_B: torch.Tensor
    lengths_B: torch.Tensor
    key_mask_BT: torch.Tensor | None  # None where no sequence is short
    segments_BT: torch.Tensor | None = None
    dropout_BL: torch.Tensor | None = None  # words of `dropout_keys`, a row of the batch each; None: nothing is dropped

    def sees(self, own: Sees) -> Sees:
        """Who sees whom in these rows, `own` being what the network sees by itself."""
        if self.segments_BT is not None:
            own = own & segments(self.segments_BT)
        return own if self.key_mask_BT is None else own & keys(self.key_mask_BT)

    @property
    def n_tokens(self) -> int:
        """Target tokens: the loss is divided by their sum over the global batch."""
        return int(self.lengths_B.sum())

    def to(self, device: torch.device | str) -> Inputs:
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> Inputs:
        """In page-locked memory, from which a GPU copies while it computes."""
        return self._map(torch.Tensor.pin_memory)

    def _map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Inputs:
        changed = {name: change(value) for name, value in vars(self).items() if isinstance(value, torch.Tensor)}
        return replace(self, **changed)


@dataclass
class Outcome:
    """`loss_sum` carries the graph; the rest is detached, for metrics."""

    loss_sum: torch.Tensor
    ce_B: torch.Tensor  # mean CE of each sequence's scored positions (nan where it has none)


class Objective:
    """Masked diffusion or next token by `config.kind`; has no state."""

    def __init__(self, config: ObjectiveConfig) -> None:
        self.config = config

    def prepare(self, tokens_BT1: np.ndarray, seed: int, k: np.ndarray, mask_id: int | None = None) -> Inputs:
        """Inputs of windows of T + 1 tokens with sample indices `k`; an MDM (needs `mask_id`) uses the first T."""
        context = tokens_BT1.shape[1] - 1
        lengths_B = sample_lengths(seed, k, context, self.config.random_length)
        inside_BT = np.arange(context) < lengths_B[:, None]
        first = (NEXT_TOKEN if self.config.kind == "arm" else IN_PLACE).first
        tokens_BT, targets_BT = tokens_BT1[:, :context], tokens_BT1[:, first : first + context]
        if self.config.kind == "arm":
            scored_BT = inside_BT
            weight_B = level_B = np.ones(len(k))
        else:
            assert mask_id is not None, "masked diffusion needs the mask's id"
            scored_BT, weight_B, level_B = self.masks(seed, k, lengths_B, context)
            tokens_BT = np.where(scored_BT, mask_id, tokens_BT)
        positions_N = np.flatnonzero(scored_BT)
        # A causal model never looks at the padding behind a short sequence.
        padded = self.config.kind == "mdm" and bool((lengths_B < context).any())
        return Inputs(
            tokens_BT=torch.from_numpy(np.ascontiguousarray(tokens_BT)),
            targets_N=torch.from_numpy(targets_BT.reshape(-1)[positions_N]),
            positions_N=torch.from_numpy(positions_N),
            rows_N=torch.from_numpy(positions_N // context),
            weight_B=torch.from_numpy(weight_B.astype(np.float32)),
            level_B=torch.from_numpy(level_B.astype(np.float32)),
            lengths_B=torch.from_numpy(lengths_B),
            key_mask_BT=torch.from_numpy(inside_BT) if padded else None,
        )

    def masks(
        self, seed: int, k: np.ndarray, lengths_B: np.ndarray, context: int, maskable_BT: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """mask_BT, the NELBO weight of each row's summed CE, and each row's mask probability.

        maskable_BT: True where a token may be masked, `lengths_B` of each row; by default the first `lengths_B`.
        """
        config, schedule = self.config, SCHEDULES[self.config.schedule]
        t_B = noise_levels(seed, k)
        u_BT = uniform_rows(seed, k, context)
        if maskable_BT is None:
            maskable_BT = np.arange(context) < lengths_B[:, None]
        drawn_BT = maskable_BT  # what a mask is drawn for: tokens, or spans by their numbers
        if config.span > 1:
            spans_BT, drawn_BT = span_numbers(seed, k, context, config.span), np.zeros_like(maskable_BT)
            drawn_BT[np.nonzero(maskable_BT)[0], spans_BT[maskable_BT]] = True
            lengths_B = drawn_BT.sum(axis=1)
        u_BT[~drawn_BT] = np.inf  # padding is never masked
        if config.masking == "fixed":
            p_B = config._mask_probability(t_B, lengths_B)
            counts_B = np.rint(p_B * lengths_B).astype(np.int64)
            ranks_BT = u_BT.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
            mask_BT = ranks_BT < counts_B[:, None]
            # Count c stands for the levels between (c-1)/L and c/L: importance weight 1/(c Pr(c)), L/c where linear.
            share_B = schedule.inverse(counts_B / lengths_B) - schedule.inverse((counts_B - 1) / lengths_B)
            weight_B = 1 / (counts_B * share_B)
        else:
            p_B, weight_B = schedule.levels(t_B, config.epsilon)
            mask_BT = u_BT < p_B[:, None]
        if config.span > 1:
            mask_BT = np.take_along_axis(mask_BT, spans_BT, axis=1) & maskable_BT
        if config.weighting == "ce":
            weight_B = np.full(len(k), 1 / config.head_share(context))
        return mask_BT, weight_B, p_B

    def loss(self, network: Backbone, inputs: Inputs, scale: float = 1.0) -> Outcome:
        """The weighted cross-entropy summed over the batch (nats), times `scale`; the head runs where it is scored.

        `scale` (one over the divisor of a whole step) belongs here rather than behind: the head's gradient is then
        final when it is made. Where nothing is masked the sum is an exact zero with a zero gradient.
        """
        everywhere = len(inputs.positions_N) == inputs.tokens_BT.numel()
        width = inputs.tokens_BT.shape[1]
        hidden_NE = network.hidden(
            inputs.tokens_BT,
            positions_BT=None if inputs.segments_BT is None else restarting_positions(inputs.segments_BT),
            sees=inputs.sees(network.sees),
            at=None if everywhere else network.config.alignment.at(inputs.positions_N, width),
            dropout_BL=inputs.dropout_BL,
        ).flatten(0, -2)
        weights_N = inputs.weight_B[inputs.rows_N] * scale
        loss_sum, ce_N = network.cross_entropy(hidden_NE, inputs.targets_N, weights_N)
        total_B = torch.zeros_like(inputs.weight_B).index_add_(0, inputs.rows_N, ce_N)
        count_B = torch.bincount(inputs.rows_N, minlength=len(total_B))
        return Outcome(loss_sum, total_B / count_B)
