"""Learning rate and batch of a run, by stated rules whose constants stand in the plan.

    LearningRate().of(params=0.33e6, batch_tokens=512)      # 4.0e-3: at_1m * (N / 1e6)^n * (batch / 512)^b
    Batch().of(tokens=2.7e6, context=128)                   # 2 sequences: 256 tokens at 2.5M, growing as D^0.8

An exponent measured at rates or batches that are off by a factor which changes with size is an artefact: the plan's
tuning parts try rates and batches about the rules at two sizes an objective, and their constants are set by that. The
starting values are those of the demo (docs/LOG.md) at its size.
"""

from __future__ import annotations

from dataclasses import dataclass

OBJECTIVES = ("mdm", "arm")
REFERENCE_BATCH = 512.0  # tokens, of `at_1m`


@dataclass(frozen=True)
class LearningRate:
    """The peak rate by non-embedding parameters N and tokens a step."""

    at_1m: float = 3e-3  # of N = 1e6 at a batch of 512 tokens
    n_exponent: float = -0.25
    batch_exponent: float = 0.25
    most: float = 1e-2

    def of(self, params: float, batch_tokens: float) -> float:
        """Rounded to three digits, so that a plan reads well and says all of it."""
        scaled = (params / 1e6) ** self.n_exponent * (batch_tokens / REFERENCE_BATCH) ** self.batch_exponent
        return float(f"{min(self.most, self.at_1m * scaled):.3g}")


@dataclass(frozen=True)
class Batch:
    """Tokens a step by the tokens D of the run: the best batch grows as a power of D near 0.8."""

    tokens: float = 256.0  # at D = `at`, and never fewer
    at: float = 2.5e6
    exponent: float = 0.8

    def of(self, tokens: float, context: int) -> int:
        """Whole sequences, at least one."""
        wanted = self.tokens * max(1.0, tokens / self.at) ** self.exponent
        return max(1, round(wanted / context))
