"""Proofs of what this project says of its own speed and exactness, run from a checkout: `python -m benchmarks.engine`.

Not in the wheel. What a user asks of his machine and his model is `unmask bench`. README.md says what each proves.
"""
