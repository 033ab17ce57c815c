"""Which token a row of hidden states speaks of, and where the state lies that speaks of a token.

    alignment = network.config.alignment
    alignment.first, alignment.fed(length)        # the first token predicted; how many tokens that takes to run
    alignment.window(wanted_BL)                   # what a cached pass has to run to predict these positions

Three kinds of weights: a masked diffusion model's state at t speaks of token t; an autoregressive model's of t + 1; and
a masked diffusion model made of an autoregressive one (Dream, DiffuLLaMA: arXiv 2410.17891) keeps that shift, so that
what stands at t - 1 speaks of token t, and of token 0 its own state, as the published samplers have it. Whoever
asks a backbone `at` a token need not know: rows of a masked model's `hidden` speak of their own token in any case.

Shapes: B batch, T tokens, L positions, N asked for, S slots, E width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:  # a config names its alignment, and configs are read where nothing heavy is loaded
    import torch

At: TypeAlias = "tuple[torch.Tensor, torch.Tensor]"  # row_N, and the place in it of the token to be predicted


class Alignment:
    """The state at t speaks of token t."""

    first = 0  # the first token of a row that can be predicted
    behind = 0  # how far before a token the state stands that speaks of it

    def fed(self, length: int) -> int:
        """How many tokens of a text must be run so that all of it, from `first` on, is predicted."""
        return length - self.first

    def place(self, predicted_N: torch.Tensor) -> torch.Tensor:
        """Where the states stand that speak of these tokens."""
        return predicted_N

    def at(self, index_N: torch.Tensor, width: int) -> At:
        """What rows of `hidden` speak of, told by their index into all of the flattened [B * T], T = `width`."""
        return index_N // width, index_N % width + self.first

    def rows(self, hidden_BTE: torch.Tensor) -> torch.Tensor:
        """All states, in the order in which `network` gives them out."""
        return hidden_BTE

    def window(self, wanted_BL: torch.Tensor) -> torch.Tensor:
        """bool [B, L]: the positions that a pass over a cache runs so as to predict (and renew) those marked."""
        return wanted_BL

    def index(self, at: At, width: int, window_BT: torch.Tensor | None = None, slots: int = 0) -> torch.Tensor:
        """Into the flattened [B * T], T = `width`: the states that speak of the tokens `at`.

        window_BT: the places in their rows at which the T tokens stand, where they are a part of it, below or at
        `slots` each; the states asked for must be among them.
        """
        row_N, predicted_N = at
        place_N = self.place(predicted_N)
        if window_BT is not None:
            import torch

            columns_BT = torch.arange(width, device=window_BT.device).expand_as(window_BT)
            column_BS = window_BT.new_zeros(len(window_BT), slots + 1).scatter_(1, window_BT, columns_BT)
            place_N = column_BS[row_N, place_N]
        return row_N * width + place_N


class NextToken(Alignment):
    """The state at t speaks of token t + 1, and rows are given out as they stand: an autoregressive model."""

    first, behind = 1, 1

    def place(self, predicted_N: torch.Tensor) -> torch.Tensor:
        return predicted_N - 1


class Shifted(Alignment):
    """The state at t - 1 speaks of token t, that at 0 of token 0 too: a masked model that keeps the shift."""

    first, behind = 0, 1

    def place(self, predicted_N: torch.Tensor) -> torch.Tensor:
        return (predicted_N - 1).clamp(min=0)

    def rows(self, hidden_BTE: torch.Tensor) -> torch.Tensor:
        import torch

        return torch.cat((hidden_BTE[:, :1], hidden_BTE[:, :-1]), dim=1)

    def window(self, wanted_BL: torch.Tensor) -> torch.Tensor:
        window_BL = wanted_BL.clone()
        window_BL[:, :-1] |= wanted_BL[:, 1:]
        return window_BL


IN_PLACE, NEXT_TOKEN, SHIFTED = Alignment(), NextToken(), Shifted()
