"""The demo, from nothing to a report: no finding of the paper, but both kinds of model at a first look."""
