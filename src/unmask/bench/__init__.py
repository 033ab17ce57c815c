"""Side-by-side measurements behind `unmask bench`, one module a subject."""

# subject: (module, its options, its measurement); each module also has `in_words(result)`
SUBJECTS = {
    "score": ("unmask.bench.score", "ScoreBenchOptions", "bench_score"),
    "estimators": ("unmask.bench.estimators", "StudyOptions", "study"),
    "llama": ("unmask.bench.llama", "LlamaBenchOptions", "bench_llama"),
}
