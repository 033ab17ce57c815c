"""All that a pass tells of some logits, for tests: tokens, probabilities, and statistics by name.

    found = told(logits_NV, draws, ["entropy"]); found.tokens_N, found.probability_N, found.entropy_N
"""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace

import torch

from unmask.decoding.passes.propose import Draws, propose
from unmask.decoding.rules.law import Law
from unmask.decoding.rules.statistics import Statistics
from unmask.decoding.state.table import Table


def told(
    logits_NV: torch.Tensor, draws: Draws, names: Iterable[str], given_N: torch.Tensor | None = None
) -> SimpleNamespace:
    count, vocab_size = logits_NV.shape
    made = Statistics(Table(max(1, count), 1), vocab_size, logits_NV.device)
    statistics = {name: made[name] for name in names}
    slopes = any(statistic.slopes for statistic in statistics.values())
    law = Law(logits_NV, torch.arange(count), torch.zeros(count, dtype=torch.int64), given_N, slopes)
    found = propose(logits_NV, draws, law)
    more = {f"{name}_N": statistic.of(law).cpu() for name, statistic in statistics.items()}
    logp_NV = law.log_probabilities(slice(None))
    return SimpleNamespace(tokens_N=found.tokens_N, probability_N=found.probability_N, logp_NV=logp_NV, **more)
