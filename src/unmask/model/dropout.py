"""Dropout whose masks are a function of (seed, sample, layer, place), never a state.

    keys_BT = place_keys(keys_BL[:, layer], length)      # a sample has a word for each layer: `noise.dropout_keys`
    attention, mlp = kept(keys_BT, steps(width), rate)   # bool [B, T, E] each: what is not dropped
    x = add_kept(x, y, attention, rate)                  # x + y / (1 - rate) where it is kept, x elsewhere

GPT-2's residual dropout: what attention (behind its projection) and the MLP add to the residual stream loses each
number with a probability, and the rest is scaled up; neither embeddings nor attention's probabilities are dropped. A
run that is resumed, on other ranks or with another micro-batch drops the same numbers. Words are made by a mixing
function of 32 bits (two multiplications and three shifts, like MurmurHash3's finalizer) in int64, which overflows
nowhere: every device gives the same masks, eager or compiled, without a generator, and no more masks stand in memory
than the backward pass keeps.

Shapes: B batch, L layers, T tokens, E width.
"""

from __future__ import annotations

import torch

WORD = 0xFFFFFFFF
GOLDEN = 0x9E3779B9
FIRST, SECOND = 0x21F0AAAD, 0x735A2D97  # below 2^31: times 32 bits they fit into an int64
HALF = 1 << 16  # a word decides twice, by 16 bits each


def mixed(words: torch.Tensor) -> torch.Tensor:
    """int64 from 0 to 2^32 - 1, one to one: a change of any bit changes each with probability 1/2."""
    words = words ^ (words >> 16)
    words = words * FIRST & WORD
    words = words ^ (words >> 15)
    words = words * SECOND & WORD
    return words ^ (words >> 15)


def steps(length: int, device: torch.device | None = None) -> torch.Tensor:
    """int64 [length], 32 bits each: what is added to a word for each place, or number, that it stands for.

    On a GPU outside of compiled graphs: within one, Triton takes what is multiplied here for an index of 32 bits.
    """
    return torch.arange(length, device=device) * GOLDEN & WORD


def place_keys(keys_B: torch.Tensor, length: int) -> torch.Tensor:
    """int64 [B, T]: a word for each place of each sample in one layer. keys_B: int64, 32 bits each."""
    return mixed(keys_B[:, None] + steps(length, keys_B.device) & WORD)


def kept(keys: torch.Tensor, steps_E: torch.Tensor, rate: float) -> tuple[torch.Tensor, torch.Tensor]:
    """For attention and for the MLP, bool [..., E]: which numbers stay, at places with these words [...].
    steps_E: `steps` of the width."""
    words = mixed(keys[..., None] + steps_E & WORD)
    least = round(rate * HALF)
    return words & (HALF - 1) >= least, words >> 16 >= least


def add_kept(x: torch.Tensor, y: torch.Tensor, kept: torch.Tensor, rate: float) -> torch.Tensor:
    """x + y / (1 - rate) where `kept`, else x; the rate as it is applied, to 1/65,536.

    The scale is a number and no tensor: in bf16 it would be rounded, and every sum be off by as much.
    """
    return torch.add(x, y * kept, alpha=1 / (1 - round(rate * HALF) / HALF))
