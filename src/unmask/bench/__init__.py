"""Side-by-side measurements behind `unmask bench`: what a user asks of his machine and his model.

Proofs of what this project says of itself are in benchmarks/, at the root of the repository.
"""

from __future__ import annotations

from collections.abc import Sequence

from unmask.errors import UserError

MOVED = {"engine": "engine", "score": "likelihood", "estimators": "estimators", "llama": "llama"}  # old subject: module


def refuse_moved(words: Sequence[str]) -> None:
    """Raises `UserError` where a command line asks for a subject of before, saying where it is now."""
    if tuple(words[:1]) == ("bench",) and (new := MOVED.get("".join(words[1:2]))):
        raise UserError(
            f"bench {words[1]} is now python -m benchmarks.{new}, with the same options, in a checkout of the "
            "repository; unmask bench measures train, losses and decode"
        )
