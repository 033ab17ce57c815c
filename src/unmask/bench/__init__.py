"""Side-by-side measurements behind `unmask bench`, one module a subject."""

from __future__ import annotations

# subject: (module, its options, its measurement); each module also has `in_words(result)`
SUBJECTS = {
    "train": ("unmask.bench.train.measure", "BenchOptions", "bench_train"),
    "losses": ("unmask.bench.train.losses", "LossBenchOptions", "bench_losses"),
    "score": ("unmask.bench.score", "ScoreBenchOptions", "bench_score"),
    "estimators": ("unmask.bench.estimators", "StudyOptions", "study"),
    "decode": ("unmask.bench.decode.measure", "DecodeBenchOptions", "bench_decode"),
    "engine": ("unmask.bench.engine", "EngineBenchOptions", "bench_engine"),
    "llama": ("unmask.bench.llama", "LlamaBenchOptions", "bench_llama"),
}
