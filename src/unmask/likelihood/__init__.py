"""How likely a model finds a text: bounds with their standard error, exact numbers where there are any."""

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
