"""How likely a model finds a text: bounds with their standard error, exact numbers where there are any."""

from unmask.likelihood.corpus import CorpusScore, corpus_bound
from unmask.likelihood.estimators import METHODS
from unmask.likelihood.scoring import Score, score

__all__ = ["METHODS", "CorpusScore", "Score", "corpus_bound", "score"]
