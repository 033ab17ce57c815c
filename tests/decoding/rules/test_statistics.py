"""Statistics: what they are, that rows which do not read them cost nothing, and one of the test's own."""

from __future__ import annotations

import pytest
import torch

from decoding.oracle import SHARP, oracle
from unmask.decoding import ORDERS, generate
from unmask.decoding.rules.answers import Answers
from unmask.decoding.rules.law import Law
from unmask.decoding.rules.orders import Judged
from unmask.decoding.rules.statistics import STATISTICS, Drift, Statistic, Statistics
from unmask.decoding.state.table import Table
from unmask.decoding.state.turn import Turn
from unmask.errors import UserError

MODEL = oracle(SHARP, context=64)


def test_drift_is_the_divergence_from_the_rows_own_pass_before() -> None:
    table = Table(3, 4)
    drift = Statistics(table, 5, torch.device("cpu"))["drift"]
    assert isinstance(drift, Drift)
    table.join(3)
    drift.join(torch.tensor([0, 2]))
    logits = 2 * torch.randn(3, 2, 5, generator=torch.Generator().manual_seed(1))
    logits[:, :, 4] = -torch.inf  # a token that is banned

    def see(rows: list[int], positions: list[int], logits_NV: torch.Tensor) -> list[float]:
        drift.begin(torch.tensor(sorted(set(rows))))
        row_N, position_N = torch.tensor(rows), torch.tensor(positions)
        drift.take(drift.sends(row_N, position_N))
        found = []
        for part in (slice(0, 1), slice(1, 2)):  # as where logits are made in pieces
            found += drift.of(Law(logits_NV[part], row_N[part], position_N[part], start=part.start)).tolist()
        drift.end()
        return found

    assert see([0, 2], [1, 3], logits[0]) == [float("inf")] * 2
    assert see([0, 1], [1, 1], logits[1])[1] == float("inf")  # row 1 reads it not; row 2 sits out
    found = see([0, 2], [2, 3], logits[2])
    assert found[0] == float("inf"), "another position of row 0"
    now, then = (logits[at, 1, :4].log_softmax(-1) for at in (2, 0))
    assert found[1] == pytest.approx(float((now.exp() * (now - then)).sum()), rel=1e-4)
    assert drift.before.values.shape == (2, 4, 5), "room for those alone that read it"


def test_klass_commits_at_once_what_holds_still(mdm) -> None:
    """With a bound that any step satisfies, two comparisons are needed before several may go: three passes."""
    (g,) = generate(mdm, [[1]], length=12, order="confidence", quota="klass:threshold=1e-9,kl=1e9,history=2")
    assert [g.steps.count(step) for step in sorted(set(g.steps))] == [1, 1, 10]


def test_it_is_computed_where_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    for name, made in STATISTICS.items():
        of = made.of
        monkeypatch.setattr(made, "of", lambda self, law, n=name, of=of: (asked.append(n), of(self, law))[1])
    for order, quota, names in (
        ("ancestral", None, set()),
        ("confidence", "even", set()),
        ("margin", "even", {"margin"}),
        ("left-to-right", "entropy-bounded", {"entropy"}),
        ("confidence", "klass", {"best", "drift"}),
    ):
        asked.clear()
        generate(MODEL, [[1]], length=6, order=order, quota=quota)
        assert set(asked) == names, (order, quota)


class TopId(Statistic):
    """The id of the likeliest token."""

    def of(self, law: Law) -> torch.Tensor:
        return law.logits_NV.argmax(1).double()


class LowIds(Judged):
    reads = ("top-id",)

    def priority(self, turn: Turn, answers: Answers | None) -> torch.Tensor:
        assert answers is not None
        return -answers["top-id"]


def test_a_rule_with_a_statistic_of_its_own() -> None:
    STATISTICS.register("top-id")(TopId)
    ORDERS.register("low-ids")(LowIds)
    try:
        (g,) = generate(MODEL, [[1]], length=8, order="low-ids", quota="even", temperature=0)
        assert g.nfe == 8 and MODEL.mask_id not in g.canvas
        assert g.tokens != generate(MODEL, [[1]], length=8, order="confidence", quota="even", temperature=0)[0].tokens
    finally:
        del STATISTICS["top-id"], ORDERS["low-ids"]


def test_names_are_taken_once_and_must_exist() -> None:
    with pytest.raises(UserError, match="statistic 'margin' is registered twice"):
        STATISTICS.register("margin")(TopId)
    with pytest.raises(UserError, match="statistic 'tokens' is registered twice"):
        STATISTICS.register("tokens")(TopId)
    with pytest.raises(UserError, match="statistic 'entropi' is unknown.*did you mean 'entropy'"):
        Statistics(Table(1, 1), 5, torch.device("cpu"))["entropi"]
    with pytest.raises(UserError, match="order 'margin' is registered twice"):
        ORDERS.register("margin")(LowIds)
