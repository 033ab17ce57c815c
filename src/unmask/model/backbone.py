"""What the rest of the house asks of a network: hidden states where they are wanted, and the head apart.

    hidden_NE = network.hidden(tokens_BT, sees=network.sees & keys(inside_BT), at=(row_N, place_N))
    logits_NV = network.head(hidden_NE)             # as the weights have them
    logits_NV = predictions(network, hidden_NE)     # of what may be written: a mask never is

`Transformer` is one; another architecture is another file with these methods, held to `tests/model/test_backbone.py`.
The device, the mask's id, the rows of table and head, what the weights were trained to see and how states and tokens
are aligned are the backbone's own (`config`, `sees`, `config.alignment`): nobody else works them out.

Shapes: B batch, T tokens, N positions asked for, M mixed ones of K tokens each, E width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch

from unmask.model.alignment import At
from unmask.model.config import ModelConfig
from unmask.model.visibility import Sees

# The logit of what cannot be an answer. Not infinite: guidance takes differences of logits.
NEVER = -1e30


@dataclass(frozen=True)
class Mixture:
    """Places at which no one token stands but shares of several, as soft masks (arXiv 2510.17206) and
    self-conditioning have it: their embedding is the sum of those of `ids`, each times its share."""

    row_M: torch.Tensor
    place_M: torch.Tensor
    ids_MK: torch.Tensor
    shares_MK: torch.Tensor


class Backbone(Protocol):
    """A network as training, likelihood and decoding see it."""

    config: ModelConfig
    sees: Sees  # who sees whom unless a pass is told otherwise: as in training

    @property
    def device(self) -> torch.device: ...

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""

    def hidden(
        self,
        tokens_BT: torch.Tensor,
        *,
        positions_BT: torch.Tensor | None = None,
        sees: Sees | None = None,
        cache: Any = None,
        at: At | None = None,
        level_B: torch.Tensor | None = None,
        mixture: Mixture | None = None,
        dropout_BL: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Final hidden states: [B, T, E], row t of token t (of t + 1 for a causal model); or with `at` [N, E].

        positions_BT: where each token stands for attention (default 0..T-1); with a cache also the slots, some of the
        row's alone, that these tokens fill. sees: in place of the backbone's own. cache: of `cache` (of a
        bidirectional model some rows of it), then needs positions_BT and, where the weights are shifted, `at`.
        at: rows, and the places in them of the tokens to be predicted, 1..T for a causal model, else 0..T-1; whatever
        the weights, the state is found that speaks of them. level_B: the noise level, which weights without a time
        input do not look at. mixture: what stands at some places instead of a token. dropout_BL: each sample's word
        for each layer; without it nothing is dropped. Raises `UserError` if the rows are longer than the context.
        """

    def head(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits [..., V] of hidden states [..., E], the mask's own among them where it is in the vocabulary."""

    def cross_entropy(
        self, hidden_NE: torch.Tensor, targets_N: torch.Tensor, weights_N: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The sum of weights_N * CE_N by `head`'s logits (nats) and, without its graph, CE_N."""

    def cache(self, rows: int, width: int) -> Any:
        """Empty slots for keys and values of so many rows of so many positions. Of a bidirectional model's,
        `at(rows_R, positions_BT, here_R)` are those of some rows for one pass; positions_BT, which it writes, and
        here_R, the rows again, lie on the host and may be left out."""


def predictions(network: Backbone, hidden: torch.Tensor) -> torch.Tensor:
    """Logits [..., V] of what may be written, without gradients: a mask that is in the vocabulary never is."""
    logits = network.head(hidden)
    if network.config.mask is not None:
        logits[..., network.config.mask] = NEVER
    return logits
