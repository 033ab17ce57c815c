"""How long predictions have held still, as the KLASS quota asks."""

from __future__ import annotations

from unmask.decoding import generate


def test_klass_commits_at_once_what_holds_still(mdm) -> None:
    """With a bound that any step satisfies, two comparisons are needed before several may go: three passes."""
    (g,) = generate(mdm, [[1]], length=12, order="confidence", quota="klass:threshold=1e-9,kl=1e9,history=2")
    counts = [g.steps.count(step) for step in sorted(set(g.steps))]
    assert counts == [1, 1, 10]
