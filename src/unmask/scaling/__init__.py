"""Scaling laws behind `unmask scale`: plan a sweep, run it, fit laws with intervals, report and predict."""

from __future__ import annotations

# verb: (module, its options, its function); each module also has `in_words(result)`
VERBS = {
    "fit": ("unmask.scaling.fit", "FitOptions", "scale_fit"),
    "report": ("unmask.scaling.report", "ReportOptions", "scale_report"),
    "predict": ("unmask.scaling.predict", "PredictOptions", "scale_predict"),
}
