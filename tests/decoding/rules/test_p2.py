"""P2: a pass judges committed tokens and proposals alike."""

from __future__ import annotations

from unmask.decoding import generate
from unmask.model.folder import Model


def test_p2_keeps_as_many_as_the_quota_wants(mdm: Model) -> None:
    (g,) = generate(mdm, [[1]], length=16, steps=8, order="confidence", quota="even", revise="p2")
    written: set[int] = set()
    for step in range(8):
        for event in g.trace:
            if event["step"] == step:
                (written.discard if event["token"] == 7 else written.add)(event["position"])
        assert len(written) == 2 * (step + 1)
    assert any(event["token"] == 7 for event in g.trace)


def test_p2_with_eta_0_takes_nothing_back(mdm: Model) -> None:
    """Committed tokens then have the highest score there is."""
    plain, planned = (
        generate(mdm, [[1]], length=16, steps=8, order="confidence", quota="even", revise=revise)[0]
        for revise in (None, "p2:0")
    )
    assert planned.tokens == plain.tokens and len(planned.trace) == 16
