"""Decoding behind `unmask bench decode` and `unmask tune`: speed against quality of every rule, and the one to keep."""
