"""Evaluation: one protocol for both kinds of model, baselines, the demo and its report."""
