"""`duel`: exact likelihood of a decoder whose positions follow from what stands in the row (DUEL, arXiv 2603.01367).

    unmask score RUN TEXT --method duel --order margin --decode 'quota: threshold:0.9'
    score(model, pairs, method="duel", order="entropy", decode={"quota": "even", "steps": 16, "temperature": 0.7})

Where order, quota and eligibility say which positions come next without looking at a token that is drawn there, a text
has one way to be written: its decoder's positions, step by step, with the text's tokens. Those of one step are drawn
apart, so that log p is the sum over all steps of log p of the tokens written, each given what stood there then: exact,
neither a bound nor an estimate; p of all texts adds up to 1. Rules are options of `generate` with its defaults, but for
the quota, which is "even" unless told: with as many steps as tokens (up to 128 by default) one a step. A decoder that
draws positions, ranks them by the token drawn (`confidence`) or takes tokens back writes a text in many ways: refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from unmask.errors import UserError
from unmask.likelihood.method import FIRST, Method
from unmask.likelihood.pairs import Pair
from unmask.likelihood.replay import replay, settled
from unmask.model.folder import Model


class Duel(Method):
    orders = ()  # any of decoding's that is settled
    decodes = True

    def target(self, order: str) -> str:
        return "chain"

    def check(self, order: str, decode: Mapping[str, Any]) -> dict[str, Any]:
        if order not in (FIRST, decode.get("order", order)):
            raise UserError(f"order is '{order}', in decode it is '{decode['order']}'; leave out one", field="order")
        given = {"order": order, "temperature": 1.0, **decode}
        if "threshold" not in given:
            given = {"quota": "even", **given}
        settled(given)
        return given

    def run(
        self, model: Model, pairs: Sequence[Pair], decode: Mapping[str, Any], guidance: float, batch_tokens: int | None
    ) -> Iterator[tuple[int, float]]:
        for item, replayed in replay(model, pairs, {"guidance": guidance, **decode}, batch_tokens):
            yield item, float(replayed.nats_L.sum())


METHOD = Duel()
