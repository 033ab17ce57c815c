"""Scaling laws behind `unmask scale`: text for a sweep, its plan, runs and scores; laws, report and predictions."""
