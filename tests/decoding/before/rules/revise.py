"""Taking back what was written: the remasking and editing rules.

    generate(model, prompts, order="ancestral", steps=128, revise="remdm-cap:0.008")
    generate(model, prompts, order="confidence", quota="threshold:0.7", revise="edit:0.9")

remdm-*  (arXiv 2503.00307) at a step from t to s a committed token becomes a mask again with probability sigma, and a
         mask a token with (alpha_s - (1 - sigma) alpha_t) / (1 - alpha_t); alpha_t = 1 - t, sigma at most
         sigma_max = min(1, (1 - alpha_s) / alpha_t). The last step remasks nothing and commits all.
         cap      sigma = min(eta, sigma_max); eta 0.008
         rescale  sigma = eta sigma_max; eta 0.015
         conf     sigma of a token = sigma_max softmax(-p) over the committed ones, p its probability when committed
         loop     alpha rises to alpha_on while the time falls from 1 to t_on; stays there until t_off with
                  sigma = min(eta, sigma_max); then rises to 1. eta 0.02, t_on 0.55, t_off 0.05, alpha_on 0.9
p2       (arXiv 2502.03540, self-planning) a pass judges committed tokens and proposals alike, the former's score
         (log p, log margin, -entropy) times eta, and masks the lowest; eta 1
edit     (LLaDA2.1) a committed token gives way to another with probability above `threshold`; when nothing is masked
         any more, further passes (at most `passes`) edit until nothing changes. threshold 0.9, passes 16

Shapes: R rows in a turn, L positions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from decoding.before.rules.orders import LAST_T
from decoding.before.rules.registry import Parameter, Registered
from decoding.before.state.turn import Turn

Values = Mapping[str, float]


@dataclass(frozen=True)
class Revision(Registered):
    """A rule: `sigma` (ReMDM: how likely a token is remasked, before the pass), or one of the two flags."""

    sigma: Callable[[Turn, torch.Tensor, Values], torch.Tensor] | None = None  # turn, sigma_max_R -> sigma_RL
    alpha: Callable[[torch.Tensor, Values], torch.Tensor] | None = None  # time -> share of tokens; None: 1 - t
    rerank: bool = False
    edit: bool = False
    parameters: Mapping[str, Parameter] = field(default_factory=dict, hash=False)


@dataclass
class Remasking:
    """What a step of ReMDM does before its pass."""

    sigma_RL: torch.Tensor
    share_R: torch.Tensor  # of the masks that it unmasks


def remasking(turn: Turn, revision: Revision, values: Values) -> Remasking:
    """The probabilities of a step, float64."""
    steps_R = turn.steps_R.double()
    t_R = 1 - turn.step_R / steps_R * (1 - LAST_T)
    s_R = 1 - (turn.step_R + 1) / steps_R * (1 - LAST_T)
    alpha = revision.alpha or (lambda time_R, _: 1 - time_R)
    alpha_t_R, alpha_s_R = alpha(t_R, values), alpha(s_R, values)
    sigma_max_R = ((1 - alpha_s_R) / alpha_t_R.clamp(min=1e-12)).clamp(max=1)
    assert revision.sigma is not None
    sigma_RL = revision.sigma(turn, sigma_max_R, values)
    # The published `conf` gives masks no sigma of their own; for the others it is the same everywhere.
    sigma_R = sigma_RL.amin(1) if revision.sigma is not by_confidence else torch.zeros_like(t_R)
    share_R = (alpha_s_R - (1 - sigma_R) * alpha_t_R) / (1 - alpha_t_R).clamp(min=1e-12)
    return Remasking(sigma_RL, share_R.clamp(0, 1))


def capped(turn: Turn, sigma_max_R: torch.Tensor, values: Values) -> torch.Tensor:
    return everywhere(turn, sigma_max_R.clamp(max=values["eta"]))


def rescaled(turn: Turn, sigma_max_R: torch.Tensor, values: Values) -> torch.Tensor:
    return everywhere(turn, sigma_max_R * values["eta"])


def by_confidence(turn: Turn, sigma_max_R: torch.Tensor, values: Values) -> torch.Tensor:
    committed_RL = turn.committed_RL
    weight_RL = (-turn.canvas.probability_BL[turn.rows_R]).exp() * committed_RL
    return sigma_max_R[:, None] * weight_RL / weight_RL.sum(1, keepdim=True).clamp(min=1e-12)


def looped(turn: Turn, sigma_max_R: torch.Tensor, values: Values) -> torch.Tensor:
    """Remasking only while the time lies between t_on and t_off."""
    t_R = 1 - turn.step_R / turn.steps_R.double() * (1 - LAST_T)
    inside_R = (t_R <= values["t_on"]) & (t_R > values["t_off"])
    return everywhere(turn, sigma_max_R.clamp(max=values["eta"]) * inside_R)


def looped_alpha(time_R: torch.Tensor, values: Values) -> torch.Tensor:
    on, off, alpha_on = values["t_on"], values["t_off"], values["alpha_on"]
    early_R = alpha_on * (1 - time_R) / max(1 - on, 1e-12)
    late_R = 1 - (1 - alpha_on) * time_R / max(off, 1e-12)
    return torch.where(time_R > on, early_R, torch.where(time_R > off, torch.full_like(time_R, alpha_on), late_R))


def everywhere(turn: Turn, sigma_R: torch.Tensor) -> torch.Tensor:
    return sigma_R[:, None].expand(turn.open_RL.shape)


def eta(default: float) -> dict[str, Parameter]:
    return {"eta": Parameter(default, 0.0, 1.0)}


REVISIONS: dict[str, Revision] = {
    "remdm-cap": Revision(sigma=capped, parameters=eta(0.008)),
    "remdm-rescale": Revision(sigma=rescaled, parameters=eta(0.015)),
    "remdm-conf": Revision(sigma=by_confidence),
    "remdm-loop": Revision(
        sigma=looped,
        alpha=looped_alpha,
        parameters={
            **eta(0.02),
            "t_on": Parameter(0.55, 0.0, 1.0),
            "t_off": Parameter(0.05, 0.0, 1.0),
            "alpha_on": Parameter(0.9, 0.0, 1.0),
        },
    ),
    "p2": Revision(rerank=True, parameters={"eta": Parameter(1.0)}),
    "edit": Revision(
        edit=True,
        parameters={"threshold": Parameter(0.9, 0.0, 1.0, above=True), "passes": Parameter(16, 0, whole=True)},
    ),
}
