"""How likely a model finds a text: bounds with their standard error, exact numbers where there are any."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unmask.lazy import lazily

if TYPE_CHECKING:
    from unmask.likelihood.corpus import CorpusScore, corpus_bound
    from unmask.likelihood.estimators import METHODS, ORDERS
    from unmask.likelihood.greedy import Greedy, greedy
    from unmask.likelihood.rolling import RollingScore, rolling
    from unmask.likelihood.scoring import Score, score

__all__ = [
    "METHODS",
    "ORDERS",
    "CorpusScore",
    "Greedy",
    "RollingScore",
    "Score",
    "corpus_bound",
    "greedy",
    "rolling",
    "score",
]

lazily(
    __name__,
    {
        **dict.fromkeys(("CorpusScore", "corpus_bound"), "unmask.likelihood.corpus"),
        **dict.fromkeys(("METHODS", "ORDERS"), "unmask.likelihood.estimators"),
        **dict.fromkeys(("Greedy", "greedy"), "unmask.likelihood.greedy"),
        **dict.fromkeys(("RollingScore", "rolling"), "unmask.likelihood.rolling"),
        **dict.fromkeys(("Score", "score"), "unmask.likelihood.scoring"),
    },
)
