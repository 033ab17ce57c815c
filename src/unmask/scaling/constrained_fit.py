"""The laws of repeated data fitted to a sweep: R_D of Muennighoff's form, and Quokka's, with intervals.

    laws, draws = constrained_of(sweep, repeated, resamples=1000, seed=0)
    laws["mdm"]                                   # {"muennighoff": {"R_D": ...}, "quokka": {"p_e": ..., ...}}
    draws["mdm"]                                  # Quokka's coefficients of every resample, for predictions

E, A, B, α and β are those of approach 3 on the runs that repeat nothing; a table of enough sizes and amounts of unique
tokens gives all ten coefficients of Quokka's law. Resamples draw runs, whole trunks where there are any.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from unmask.scaling.bootstrap import count_clusters, run_weights
from unmask.scaling.constrained import QUOKKA_FIELDS, Quokka, fit_muennighoff, fit_quokka
from unmask.scaling.estimates import estimate, nothing
from unmask.scaling.law import FIELDS, Law
from unmask.scaling.sweep_fit import ObjectiveFit, SweepFit
from unmask.scaling.table import Runs, together

QUOKKA_RESAMPLES = 100  # each is a fit of its own
FEWEST = 3  # trunks, or runs of none: one or two show no scatter, so there is no interval


def constrained_of(
    sweep: SweepFit, repeated: Runs, resamples: int, seed: int
) -> tuple[dict[str, Any] | None, dict[str, list[Quokka]]]:
    """(laws, Quokka's of the resamples) by objective; (None, {}) where no run repeats its tokens."""
    if not len(repeated):
        return None, {}
    made = {name: _of(sweep.objectives.get(name), repeated.of(name), resamples, seed) for name in repeated.names}
    return {name: laws for name, (laws, _) in made.items()}, {name: drawn for name, (_, drawn) in made.items()}


def _of(
    fit: ObjectiveFit | None, runs: Runs, resamples: int, seed: int
) -> tuple[dict[str, Any], list[Quokka]]:
    base = fit.laws.get("own") if fit is not None else None
    if fit is None or base is None:
        why = "there is no law of runs that repeat nothing, which E, A, B, α and β come from"
        return {"muennighoff": {"R_D": nothing(why)}, "quokka": dict.fromkeys(QUOKKA_FIELDS, nothing(why))}, []
    weights_SR = run_weights(runs, resamples, np.random.default_rng([seed, 99]))
    if count_clusters(runs) < FEWEST:
        weights_SR = weights_SR[:0]
    fields = (runs.params, runs.tokens, runs.unique, runs.loss)
    law, drawn_S, why_none = fit_muennighoff(base, *fields, weights_SR)
    r_data = nothing(str(why_none)) if law is None else estimate(law.r_data, drawn_S)
    held = {name: float(getattr(base, name)) for name in FIELDS}
    words = "one size, or sizes that are small for their tokens, tell nothing of R_N"
    quokka, drawn = _quokka(fit, base, runs, weights_SR[:QUOKKA_RESAMPLES])
    return {"muennighoff": {"R_D": r_data, "R_N": nothing(words), "held": held}, "quokka": quokka}, drawn


def _quokka(
    fit: ObjectiveFit, base: Law, runs: Runs, weights_SR: np.ndarray
) -> tuple[dict[str, Any], list[Quokka]]:
    own = replace(fit.runs, unique=fit.runs.tokens)
    both = together(own, runs)

    def law_of(table: Runs, start: Quokka | None = None) -> tuple[Quokka | None, list[str], str | None]:
        return fit_quokka(base, table.params, table.tokens, table.unique, table.loss, start)

    law, held, why = law_of(both)
    if law is None:
        return {name: nothing(str(why)) for name in QUOKKA_FIELDS} | {"why": why}, []
    kept = []
    for weights_R in weights_SR:
        rows = np.concatenate([np.arange(len(own)), len(own) + np.repeat(np.arange(len(runs)), weights_R.astype(int))])
        if (refit := law_of(both.take(rows), law)[0]) is not None:
            kept.append(refit)
    result = {n: estimate(getattr(law, n), [getattr(d, n) for d in kept]) for n in QUOKKA_FIELDS if n not in held}
    if not held:
        result |= {n: estimate(getattr(law.base, n), [getattr(d.base, n) for d in kept]) for n in FIELDS}
    repeated = (float(np.median(runs.params)), float(np.median(runs.unique)))
    best = [d.best_epochs(*repeated) for d in kept]
    result["best_epochs"] = estimate(law.best_epochs(*repeated), best)
    return result | {"held": held, "n_resamples": len(kept)}, kept
