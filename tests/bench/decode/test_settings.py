"""The settings of `unmask bench decode`: every rule has one, and every one runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import unmask
from plugged import LAST, write
from unmask.bench.decode import measure
from unmask.bench.decode.arms import Ours
from unmask.bench.decode.measure import bench_decode, in_words
from unmask.bench.decode.options import DecodeBenchOptions
from unmask.bench.decode.settings import Setting, arm_settings, mdm_settings
from unmask.decoding.passes.caches import CACHES
from unmask.decoding.rules.orders import ORDERS
from unmask.decoding.rules.quotas import QUOTAS
from unmask.decoding.rules.revise import REVISIONS
from unmask.errors import UserError

from ..conftest import Twins


def options(twins: Twins, **more: Any) -> DecodeBenchOptions:
    small: dict[str, Any] = {"samples": 4, "rounds": 2, "gaps": 4, "length": [8], "prompt": [4], "batch": [1, 2]}
    small |= {"judge": twins.arm, "only": ["confidence, L/2 steps", "threshold 0.5"], "transformers": False}
    return DecodeBenchOptions(**{"model": twins.mdm, "arm": twins.arm, "data": twins.data, **small, **more})


def test_every_rule_has_a_setting_and_every_setting_runs(twins: Twins) -> None:
    model, settings = unmask.load(twins.mdm), mdm_settings(8, (1.0, 0.5))
    assert len({setting.name for setting in settings}) == len(settings)

    def used(option: str) -> set[str]:
        return {setting.options[option].partition(":")[0] for setting in settings if option in setting.options}

    assert used("order") == set(ORDERS) and used("revise") == set(REVISIONS)
    assert used("cache") | {"none"} == set(CACHES) | {"none"}
    assert used("quota") | {"paper"} == set(QUOTAS), "the published quota is the default"
    for setting in settings:
        (row,) = Ours(model, setting).generate([[5, 6]], 8, seed=0)
        assert len(row.tokens) <= 8 and row.nfe >= 1 and 0 not in row.tokens, setting.name
        if setting.steps_per_token and not setting.options.get("guidance") and "revise" not in setting.options:
            assert row.nfe <= 8 * setting.steps_per_token + 1e-9, setting.name
    assert [s.name for s in arm_settings((1.0, 0.5))] == ["ARM", "ARM, T 0.5"]
    assert Setting("x", {"order": "random"}, 1 / 8).call(20) == {"order": "random", "steps": 3}


@pytest.mark.usefixtures("no_plugins")
def test_a_rule_that_the_table_does_not_name_has_a_setting_too(tmp_path: Path) -> None:
    before = [setting.name for setting in mdm_settings(8)]
    source = LAST + """
@QUOTAS.register("sure")
@dataclass(frozen=True)
class Sure(Adaptive):
    "p > p."

    reads = ("best",)
    p: float = parameter(0.25, 0, 1)

    def admit(self, turn, ranked):
        return ranked["best"] > self.p


@ELIGIBLE.register("odd")
class Odd(Eligibility):
    "Odd places."
"""
    unmask.plugin(write(tmp_path, source))
    new = [setting for setting in mdm_settings(8) if setting.name not in before]
    assert [setting.name for setting in new] == ["last, L/2 steps", "sure:p=0.25", "confidence, L/2 steps, odd"]
    assert new[0].to_dict() == {"options": {"order": "last", "temperature": 1.0}, "steps_per_token": 0.5}
    assert new[1].to_dict()["options"] == {"order": "confidence", "quota": "sure:p=0.25", "temperature": 1.0}
    assert new[1].steps_per_token is None and new[2].options["eligible"] == "odd"


def test_a_users_own_setting(twins: Twins) -> None:
    texts = ["order: margin, quota: threshold:0.5, block: 4", "order: random, steps_per_token: 0.25"]
    result = bench_decode(options(twins, only=[], judge="none", arm=None, gaps=0, setting=texts, temperature=[0.7]))
    rows = {row["setting"]: row for row in result["cells"][0]["rows"]}
    assert list(rows) == texts and result["options"]["setting"] == texts
    assert rows[texts[1]]["speed"]["1"]["nfe"] == 2 and rows[texts[0]]["options"] == {
        **{"temperature": 0.7, "order": "margin", "quota": "threshold:0.5", "block": 4}
    }
    for text, line in (
        ("ordre: margin", "--setting: 'ordre' is unknown .did you mean 'order'.*known: order, quota"),
        ("margin", "--setting: |--setting is "),
        ("order: margin, steps_per_token: 2", r"--setting: steps_per_token is 2; give a number in \(0, 1\]"),
    ):
        with pytest.raises(UserError, match=line):
            bench_decode(options(twins, setting=[text]))


def test_what_a_model_refuses_is_noted(twins: Twins, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = [Setting("odd", {"order": "sideways"}), Setting("even", {"order": "random", "quota": "even"}, 1 / 2)]
    monkeypatch.setattr(measure, "mdm_settings", lambda *a, **k: [s.at(1.0, False) for s in odd])
    result = bench_decode(options(twins, only=[], judge="none", arm=None))
    assert "order 'sideways' is unknown" in result["refused"]["odd"]
    (row,) = result["cells"][0]["rows"]
    assert row["setting"] == "even" and "perplexity" not in row["quality"] and row["speed"]["1"]["over_arm"] is None
    assert "left out: odd" in in_words(result)
