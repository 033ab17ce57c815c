"""Scaling laws behind `unmask scale`: text for a sweep, its plan, runs and scores; laws, report and predictions."""

from __future__ import annotations

# verb: (module, its options, its function); each module also has `in_words(result)`
VERBS = {
    "plan": ("unmask.scaling.plan", "PlanOptions", "plan"),
    "run": ("unmask.scaling.run", "RunOptions", "run"),
    "status": ("unmask.scaling.status", "StatusOptions", "status"),
    "fit": ("unmask.scaling.fit", "FitOptions", "scale_fit"),
    "report": ("unmask.scaling.report", "ReportOptions", "scale_report"),
    "predict": ("unmask.scaling.predict", "PredictOptions", "scale_predict"),
}
