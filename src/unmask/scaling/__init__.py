"""Scaling laws: plan a sweep, run it, score it, say where it stands, fit it; one module a verb of `unmask scale`."""

# verb: (module, its options, its function); each module also has `in_words(result)`
VERBS = {
    "plan": ("unmask.scaling.plan", "PlanOptions", "plan"),
    "run": ("unmask.scaling.run", "RunOptions", "run"),
    "status": ("unmask.scaling.status", "StatusOptions", "status"),
}
