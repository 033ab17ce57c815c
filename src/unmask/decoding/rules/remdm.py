"""ReMDM: what was written becomes a mask again with some probability, whatever it is (arXiv 2503.00307).

    generate(model, prompts, order="ancestral", steps=128, revise="remdm-cap:0.008")

At a step from t to s a committed token becomes a mask again with probability sigma, and a mask a token with
(alpha_s - (1 - sigma) alpha_t) / (1 - alpha_t); alpha_t = 1 - t, sigma at most sigma_max = min(1, (1 - alpha_s) /
alpha_t). The last step remasks nothing and commits all.

Shapes: R rows in a turn, L positions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from unmask.decoding.rules.orders import LAST_T
from unmask.decoding.rules.registry import parameter
from unmask.decoding.rules.revise import REVISIONS, Before, Revision
from unmask.decoding.state.turn import REMASKING, Turn


@dataclass(frozen=True)
class Remasking(Revision):
    """A rule: how likely a committed token is remasked, and, where it is not 1 - t, the share of tokens at a time."""

    def sigma(self, turn: Turn, time_R: torch.Tensor, sigma_max_R: torch.Tensor) -> torch.Tensor:
        """[R, L] float64."""
        raise NotImplementedError

    def alpha(self, time_R: torch.Tensor) -> torch.Tensor:
        return 1 - time_R

    def of_masks(self, sigma_RL: torch.Tensor) -> torch.Tensor:
        """The sigma that masks count with [R]: that of all positions."""
        return sigma_RL.amin(1)

    def probabilities(self, turn: Turn) -> tuple[torch.Tensor, torch.Tensor]:
        """sigma [R, L], and the share of the masks that the step unmasks [R]; float64."""
        steps_R = turn.steps_R.double()
        t_R = 1 - turn.step_R / steps_R * (1 - LAST_T)
        s_R = 1 - (turn.step_R + 1) / steps_R * (1 - LAST_T)
        alpha_t_R, alpha_s_R = self.alpha(t_R), self.alpha(s_R)
        sigma_max_R = ((1 - alpha_s_R) / alpha_t_R.clamp(min=1e-12)).clamp(max=1)
        sigma_RL = self.sigma(turn, t_R, sigma_max_R)
        share_R = (alpha_s_R - (1 - self.of_masks(sigma_RL)) * alpha_t_R) / (1 - alpha_t_R).clamp(min=1e-12)
        return sigma_RL, share_R.clamp(0, 1)

    def before(self, turn: Turn) -> Before:
        sigma_RL, share_R = self.probabilities(turn)
        taken_RL = turn.committed_RL & (turn.uniforms(REMASKING) < sigma_RL)
        return Before(share_R=share_R, reopen_RL=taken_RL & ~turn.last_R[:, None])

    def done(self, turn: Turn) -> torch.Tensor:
        return (turn.left_R == 0) & ((turn.step_R >= turn.steps_R) | turn.ended_R)


@REVISIONS.register("remdm-cap")
@dataclass(frozen=True)
class Capped(Remasking):
    """A committed token becomes a mask with probability sigma = min(eta, sigma_max) (arXiv 2503.00307)."""

    eta: float = parameter(0.008, 0.0, 1.0)

    def sigma(self, turn: Turn, time_R: torch.Tensor, sigma_max_R: torch.Tensor) -> torch.Tensor:
        return everywhere(turn, sigma_max_R.clamp(max=self.eta))


@REVISIONS.register("remdm-rescale")
@dataclass(frozen=True)
class Rescaled(Remasking):
    """The same with sigma = eta sigma_max (arXiv 2503.00307)."""

    eta: float = parameter(0.015, 0.0, 1.0)

    def sigma(self, turn: Turn, time_R: torch.Tensor, sigma_max_R: torch.Tensor) -> torch.Tensor:
        return everywhere(turn, sigma_max_R * self.eta)


@REVISIONS.register("remdm-conf")
class ByConfidence(Remasking):
    """The same with sigma_max softmax(-p) over the tokens, p of each when it was committed (arXiv 2503.00307)."""

    def sigma(self, turn: Turn, time_R: torch.Tensor, sigma_max_R: torch.Tensor) -> torch.Tensor:
        weight_RL = (-turn.canvas.probability_BL[turn.rows_R]).exp() * turn.committed_RL
        return sigma_max_R[:, None] * weight_RL / weight_RL.sum(1, keepdim=True).clamp(min=1e-12)

    def of_masks(self, sigma_RL: torch.Tensor) -> torch.Tensor:
        """As published masks have no sigma of their own."""
        return torch.zeros_like(sigma_RL[:, 0])


@REVISIONS.register("remdm-loop")
@dataclass(frozen=True)
class Looped(Remasking):
    """The same between the times t_on and t_off only, at the share alpha_on of tokens (arXiv 2503.00307).

    alpha rises to alpha_on while the time falls from 1 to t_on, stays there until t_off, with sigma = min(eta,
    sigma_max), then rises to 1.
    """

    eta: float = parameter(0.02, 0.0, 1.0)
    t_on: float = parameter(0.55, 0.0, 1.0)
    t_off: float = parameter(0.05, 0.0, 1.0)
    alpha_on: float = parameter(0.9, 0.0, 1.0)

    def sigma(self, turn: Turn, time_R: torch.Tensor, sigma_max_R: torch.Tensor) -> torch.Tensor:
        inside_R = (time_R <= self.t_on) & (time_R > self.t_off)
        return everywhere(turn, sigma_max_R.clamp(max=self.eta) * inside_R)

    def alpha(self, time_R: torch.Tensor) -> torch.Tensor:
        early_R = self.alpha_on * (1 - time_R) / max(1 - self.t_on, 1e-12)
        late_R = 1 - (1 - self.alpha_on) * time_R / max(self.t_off, 1e-12)
        flat_R = torch.full_like(time_R, self.alpha_on)
        return torch.where(time_R > self.t_on, early_R, torch.where(time_R > self.t_off, flat_R, late_R))


def everywhere(turn: Turn, sigma_R: torch.Tensor) -> torch.Tensor:
    return sigma_R[:, None].expand(turn.open_RL.shape)
