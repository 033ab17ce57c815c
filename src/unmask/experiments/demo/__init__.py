"""The demo, from nothing to a report: no finding of the paper, but both kinds of model at a first look."""

from __future__ import annotations

# What the list of experiments says of it.
ABOUT = "no finding of the paper, a first look: trains an MDM and an ARM side by side, compares them, writes a report"
TIME = "about 10 minutes on two threads"
