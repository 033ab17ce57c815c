"""Evaluation: one protocol for both kinds of model, baselines, tasks of our own."""

from __future__ import annotations

# Tasks that the harness does not know: (module, its options, the function (model, store, options) -> a task's entry);
# each module also has `in_words(name, entry)`.
OWN = {
    "generation": ("unmask.evaluation.generation", "GenerationOptions", "generation_task"),
    "reversal": ("unmask.evaluation.reversal.task", "ReversalOptions", "reversal_task"),
    "temporal": ("unmask.evaluation.temporal", "TemporalOptions", "temporal_task"),
}
