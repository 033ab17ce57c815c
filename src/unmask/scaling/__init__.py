"""Scaling laws behind `unmask scale`: text for a sweep, its plan, its runs and their scores; laws fitted to them."""

from __future__ import annotations

# verb: (module, its options, its function); each module also has `in_words(result)`
VERBS = {
    "plan": ("unmask.scaling.plan", "PlanOptions", "plan"),
    "run": ("unmask.scaling.run", "RunOptions", "run"),
    "status": ("unmask.scaling.status", "StatusOptions", "status"),
    "fit": ("unmask.scaling.fit", "FitOptions", "scale_fit"),
}
