"""An oracle backbone: the exact posterior of a known Markov chain in place of a network. No training, no rounding.

    chain = Chain.of_offsets(8, [0.4, 0.3, 0.2, 0.1])
    model = oracle(chain)                       # a Model; `generate(model, prompts, ...)` takes it as any other

What an exact denoiser would make of a decoding rule is what a rule is: every law of a sampler can be worked out by
hand or by enumeration (`theory.py`) and compared. Given the visible tokens, a chain's x_i depends on the nearest one on
either side alone, a at distance d and b at distance e: p(x) = T^d[a, x] T^e[x, b] / T^(d + e)[a, b], which is what
forward-backward comes to (arXiv 2502.09622 studies masked diffusion on such chains). All of it is looked up in tables
made once, so a row's float64 logits do not depend, to the last bit, on the rows beside it.

Positions that hold a token get the leave-one-out posterior, given all others. Evidence that the chain forbids (two
tokens written in the same pass may do that) is resolved in favour of the left neighbour.

Shapes: B batch, T tokens (a window's, with a cache), S slots, N positions asked for, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from unmask.model.alignment import At
from unmask.model.backbone import Mixture
from unmask.model.config import ModelConfig
from unmask.model.folder import Model
from unmask.model.visibility import Sees, Where, everything


class Chain:
    """x_0 ~ start, x_(i+1) ~ T[x_i]."""

    def __init__(self, transition_VV: np.ndarray, start_V: np.ndarray | None = None) -> None:
        """`start_V`: by default the stationary law."""
        self.transition_VV = np.asarray(transition_VV, dtype=np.float64)
        self.start_V = stationary(self.transition_VV) if start_V is None else np.asarray(start_V, dtype=np.float64)

    @classmethod
    def of_offsets(cls, size: int, weights: Sequence[float], floor: float = 0.0) -> Chain:
        """x goes to x + k (mod size) with a probability in proportion to weights[k], elsewhere to `floor`.

        Rows and columns sum to 1, so the stationary law is uniform.
        """
        row_V = np.full(size, floor)
        row_V[: len(weights)] = np.asarray(weights) / np.sum(weights) * (1 - floor * (size - len(weights)))
        return cls(np.stack([np.roll(row_V, shift) for shift in range(size)]), np.full(size, 1 / size))

    @property
    def size(self) -> int:
        return len(self.start_V)

    @property
    def perplexity(self) -> float:
        """exp of the entropy rate."""
        p_VV = self.transition_VV
        logp_VV = np.log(p_VV, out=np.zeros_like(p_VV), where=p_VV > 0)
        return float(np.exp(-(stationary(p_VV)[:, None] * p_VV * logp_VV).sum()))

    def powers(self, most: int) -> np.ndarray:
        """T^0 ... T^most, [most + 1, V, V]."""
        found = [np.eye(self.size)]
        for _ in range(most):
            found.append(found[-1] @ self.transition_VV)
        return np.stack(found)

    def log_probability(self, tokens: Sequence[int]) -> float:
        """Of a whole sequence, in nats."""
        return float(self.log_probabilities(np.asarray(tokens)[None])[0])

    def log_probabilities(self, tokens_BL: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):
            log_start_V, log_transition_VV = np.log(self.start_V), np.log(self.transition_VV)
        return log_start_V[tokens_BL[:, 0]] + log_transition_VV[tokens_BL[:, :-1], tokens_BL[:, 1:]].sum(1)

    def sample(self, rows: int, length: int, rng: np.random.Generator) -> np.ndarray:
        """[rows, length], straight from the definition."""
        u_BL = rng.random((rows, length))
        tokens_BL = np.zeros((rows, length), dtype=np.int64)
        tokens_BL[:, 0] = (u_BL[:, :1] >= self.start_V.cumsum()[:-1]).sum(1)
        cdf_VV = self.transition_VV.cumsum(1)[:, :-1]
        for i in range(1, length):
            tokens_BL[:, i] = (u_BL[:, i, None] >= cdf_VV[tokens_BL[:, i - 1]]).sum(1)
        return tokens_BL


def stationary(transition_VV: np.ndarray) -> np.ndarray:
    size = len(transition_VV)
    conditions = np.vstack([transition_VV.T - np.eye(size), np.ones(size)])
    return np.linalg.lstsq(conditions, np.append(np.zeros(size), 1.0), rcond=None)[0]


# True perplexity 3.61; half of all pairs hardly ever follow each other, so tokens written together often clash.
SHARP = Chain.of_offsets(8, [0.42, 0.28, 0.18, 0.12], 3e-6)
# Enough states for a law, few enough to enumerate; it starts where it does not stay.
UNEVEN = Chain(np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.5, 0.45, 0.05]]), np.array([0.2, 0.5, 0.3]))


class Oracle:
    """A backbone (`unmask.model.backbone`) without weights or a loss."""

    def __init__(self, chain: Chain, context: int = 160, eos_id: int | None = None) -> None:
        self.chain = chain
        self.config = ModelConfig(
            n_layer=1, n_head=1, n_embd=2, vocab_size=chain.size, block_size=context, eos_id=eos_id
        )
        self.sees = everything
        self.device, self.dtype = torch.device("cpu"), torch.float64
        with np.errstate(divide="ignore"):
            powers = chain.powers(context)
            self.log_power = np.log(powers)  # [d, a, x]
            self.log_power_back = self.log_power.swapaxes(1, 2).copy()  # [e, b, x]
            self.log_marginal = np.log(chain.start_V @ powers)  # [position, x]

    def hidden(
        self,
        tokens_BT: torch.Tensor,
        *,
        positions_BT: torch.Tensor | None = None,
        sees: Sees | None = None,
        cache: CacheView | None = None,
        at: At | None = None,
        level_B: torch.Tensor | None = None,
        mixture: Mixture | None = None,
    ) -> torch.Tensor:
        """Log-posteriors, float64: [B, T, V], or [N, V] of the tokens asked for.

        With a cache the tokens are written into the slots of their positions, and the posteriors follow from all
        slots as they were last written. A key that is not seen is not known; all queries of a row see alike.
        """
        tokens = tokens_BT.numpy()
        rows, width = tokens.shape
        assert width <= self.config.block_size + 1 and mixture is None
        if at is not None:
            row_N, slot_N = (x.numpy() for x in at)
        else:
            place = np.arange(rows * width)
            row_N, slot_N = place // width, place % width
        where = Where(width, width, self.device)
        if cache is not None:
            assert positions_BT is not None, "a cache needs positions"
            where = Where(width, cache.cache.length, self.device, positions_BT)
            if at is None:  # what a padding query finds is not read either
                slot_N = positions_BT.numpy()[row_N, slot_N].clip(max=cache.cache.length - 1)
            tokens, positions_BT = cache.write(positions_BT.numpy(), tokens), None
        positions = np.arange(tokens.shape[1]) if positions_BT is None else positions_BT.numpy()
        position_BS = np.broadcast_to(positions, tokens.shape)
        known_BS = tokens != self.config.mask_id
        allowed = (self.sees if sees is None else sees).allowed(where)
        if allowed is not None:
            assert allowed.shape[1:3] == (1, 1), "the oracle's queries see alike"
            known_BS[:, : allowed.shape[-1]] &= allowed[:, 0, 0].numpy()
        found_NV = self.posterior(tokens, position_BS, known_BS, row_N, slot_N)
        return torch.from_numpy(found_NV if at is not None else found_NV.reshape(rows, width, -1))

    def posterior(
        self,
        tokens_BS: np.ndarray,
        position_BS: np.ndarray,
        known_BS: np.ndarray,
        row_N: np.ndarray,
        slot_N: np.ndarray,
    ) -> np.ndarray:
        """log p(x | known tokens of the other slots) at chosen slots."""
        slots = tokens_BS.shape[1]
        index_S = np.arange(slots)
        last_BS = np.maximum.accumulate(np.where(known_BS, index_S, -1), axis=1)
        next_BS = np.minimum.accumulate(np.where(known_BS, index_S, slots)[:, ::-1], axis=1)[:, ::-1]
        left_N = np.pad(last_BS, ((0, 0), (1, 0)), constant_values=-1)[row_N, slot_N]
        right_N = np.pad(next_BS, ((0, 0), (0, 1)), constant_values=slots)[row_N, slot_N + 1]
        begins_N, ends_N = left_N < 0, right_N == slots
        left_N, right_N = left_N.clip(0), right_N.clip(max=slots - 1)
        a_N, b_N = tokens_BS[row_N, left_N] * ~begins_N, tokens_BS[row_N, right_N] * ~ends_N
        at_N = position_BS[row_N, slot_N]
        d_N = np.where(begins_N, 0, at_N - position_BS[row_N, left_N])
        e_N = np.where(ends_N, 0, position_BS[row_N, right_N] - at_N)

        before_NV = np.where(begins_N[:, None], self.log_marginal[at_N], self.log_power[d_N, a_N])
        after_NV = np.where(ends_N[:, None], 0.0, self.log_power_back[e_N, b_N])
        whole_N = np.where(begins_N, self.log_marginal[at_N + e_N, b_N], self.log_power[d_N + e_N, a_N, b_N])
        whole_N = np.where(ends_N, 0.0, whole_N)
        forbidden_N = np.isneginf(whole_N)
        after_NV[forbidden_N], whole_N[forbidden_N] = 0.0, 0.0
        return before_NV + after_NV - whole_N[:, None]

    def head(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden.clone()

    def cross_entropy(
        self, hidden_NV: torch.Tensor, targets_N: torch.Tensor, weights_N: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        ce_N = -hidden_NV.log_softmax(-1).gather(1, targets_N[:, None])[:, 0]
        return (ce_N * weights_N).sum(), ce_N

    def cache(self, batch: int, length: int) -> TokenCache:
        """What keys and values are to a Transformer: here the tokens themselves, as last written."""
        return TokenCache(batch, length, self.config.blank_id)


class TokenCache:
    """A slot for each position and a last one, never read, for padding queries; a stale slot is a stale token."""

    def __init__(self, batch: int, length: int, mask_id: int) -> None:
        self.length = length
        self.tokens_BS = np.full((batch, length + 1), mask_id)

    def at(self, rows_R: torch.Tensor, *here: torch.Tensor | None) -> CacheView:
        return CacheView(self, rows_R.numpy())


class CacheView:
    """Some rows of a cache."""

    def __init__(self, cache: TokenCache, rows_R: np.ndarray) -> None:
        self.cache, self.rows_R = cache, rows_R

    def write(self, positions_RQ: np.ndarray, tokens_RQ: np.ndarray) -> np.ndarray:
        """Stores the window; returns the slots of the rows' positions."""
        self.cache.tokens_BS[self.rows_R[:, None], positions_RQ] = tokens_RQ
        return self.cache.tokens_BS[self.rows_R, :-1]


def oracle(chain: Chain, context: int = 160, eos_id: int | None = None) -> Model:
    return Model(Oracle(chain, context, eos_id))  # type: ignore[arg-type]
