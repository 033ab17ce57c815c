"""The objective of a recipe, as its keys; no heavy import, since `unmask train --help` lists them.

    ObjectiveConfig(kind="mdm", masking="fixed").head_share(context=128)

What they mean stands in `objective.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from unmask.errors import UserError
from unmask.options import Options, option

if TYPE_CHECKING:
    import numpy as np

MASKING = ("bernoulli", "fixed")
SCHEDULES = ("linear", "cosine", "quadratic", "square-root")


@dataclass(frozen=True)
class ObjectiveConfig(Options):
    """The objective of a recipe; masking, schedule, epsilon, weighting and span are the MDM's."""

    prefix = "objective."

    kind: str = option("mdm", "mdm (bidirectional) or arm (causal)", one_of=("mdm", "arm"))
    masking: str = option(
        "bernoulli",
        "bernoulli (the paper), or fixed: an exact count, the same bound with less variance",
        one_of=MASKING,
    )
    schedule: str = option(
        "linear",
        "which levels are visited, linear, cosine, quadratic or square-root; the bound is the same",
        one_of=SCHEDULES,
    )
    epsilon: float = option(
        1e-3, "the lowest mask probability with Bernoulli masks, whatever the schedule", least=0, below=1
    )
    weighting: str = option("nelbo", "nelbo, or ce: unweighted cross-entropy, NOT a bound", one_of=("nelbo", "ce"))
    random_length: float = option(0.01, "share of sequences cut to a length uniform on 1..context", least=0, most=1)
    span: int = option(1, "neighbouring tokens that are masked together, or none of them; 1: each by itself", least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind == "mdm" and self.masking == "bernoulli" and self.weighting == "nelbo" and self.epsilon == 0:
            raise UserError(
                "objective.epsilon 0 gives Bernoulli masks infinite variance; set it to 1e-3, or masking: fixed",
                field="objective.epsilon",
            )

    @property
    def is_bound(self) -> bool:
        """Whether the loss bounds (MDM) or is (ARM) the negative log-likelihood, up to epsilon."""
        return self.kind == "arm" or self.weighting == "nelbo"

    def head_share(self, context: int) -> float:
        """Expected share of tokens the head is computed for."""
        import numpy as np

        if self.kind == "arm":
            return 1.0
        t = (np.arange(4096) + 0.5) / 4096
        spans = -(-(context + np.arange(self.span)) // self.span)  # by how many places the first lacks
        return float(np.mean(self._mask_probability(t[:, None], spans)))

    def _mask_probability(self, t: np.ndarray, length: int | np.ndarray) -> np.ndarray:
        from unmask.diffusion.schedule import SCHEDULES, counts

        schedule = SCHEDULES[self.schedule]
        if self.masking == "fixed":
            return counts(schedule.mask_probability(t), length) / length
        return schedule.levels(t, self.epsilon)[0]
