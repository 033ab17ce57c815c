"""Temporal shift: how much worse models get on text written after what they were trained on."""
