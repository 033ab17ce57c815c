"""Evaluation: one protocol for both kinds of model, baselines, tasks of our own."""

from __future__ import annotations

# Tasks that the harness does not know: (module, its options, the function (model, store, options) -> a task's entry);
# each module also has `in_words(name, entry)`.
OWN = {
    "generation": ("unmask.evaluation.generation", "GenerationOptions", "generation_task"),
    "reversal": ("unmask.evaluation.reversal.task", "ReversalOptions", "reversal_task"),
    "temporal": ("unmask.evaluation.temporal", "TemporalOptions", "temporal_task"),
}
# Their options on the command line: (type, what it means).
OPTIONS: dict[str, tuple[type, str]] = {
    "data": (
        str,
        "generation: a prepared folder, or JSON lines with prompt and completion; by default the run's. temporal: "
        "records with text and date. reversal: the folder of the study's files",
    ),
    "judge": (str, "generation: smollm2, the folder of an autoregressive model, or none"),
    "length": (int, "generation: tokens to write; half the context. reversal: tokens of the canvas"),
    "prompt": (int, "generation: tokens of a prompt from a prepared folder; a quarter of the context"),
    "windows": (int, "temporal: windows of a document to score; 12"),
    "decode": (str, "generation, reversal: how, such as 'order: confidence, steps: 32'; see unmask sample --help"),
}
