"""Scaling laws: text for a sweep."""
