"""Plans: sizes, tokens and steps by arithmetic of one's own, identities that last, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from scaling.conftest import Bench, part
from unmask.errors import UserError
from unmask.scaling.options import PlanOptions
from unmask.scaling.plan import in_words, plan
from unmask.scaling.plan_file import read_plan


def refused(bench: Bench, *parts: dict, **changes: object) -> str:
    with pytest.raises(UserError) as caught:
        bench.made(*parts, **changes)
    assert "\n" not in str(caught.value)
    assert not bench.plan.exists()
    return str(caught.value)


def test_options_add_a_part_to_a_plan(bench):
    bench.made(part())
    options = {"objective": ["mdm"], "flops": ["1e9,2e9"], "size": ["16x2"], "seeds": 2}
    found = plan(PlanOptions(plan=str(bench.plan), out=str(bench.plan), **options))
    assert [p["part"] for p in found["parts"]] == ["a", "mdm"]
    assert len(found["runs"]) == 5
    found = plan(PlanOptions(plan=str(bench.plan), out=str(bench.plan), **{**options, "flops": ["4e9"]}))
    assert [p["part"] for p in found["parts"]] == ["a", "mdm", "mdm-2"]


def test_times_of_known_runs_stay_when_a_plan_is_made_anew(bench):
    bench.made(part())
    text = bench.plan.read_text().replace("seconds: null", "seconds: 12.5")
    bench.plan.write_text(text)
    found = plan(PlanOptions(plan=str(bench.plan), objective=["mdm"], flops=["1e9"], size=["16x2"]))
    assert [run["seconds"] for run in found["runs"]] == [12.5, None]
    assert found["hours"] is None


def test_repeated_data_is_marked(bench):
    found = bench.made(part(tokens=None, epochs=[0.5, 3], unique_tokens=256, subsets=[0, 1]))
    assert [run["epochs"] for run in found["runs"]] == [0.5, 0.5, 3, 3]
    assert len(found["repeating"]) == 2
    assert "3.00*" in in_words(found)


@pytest.mark.parametrize(
    ("parts", "changes", "words"),
    [
        ([part(tokens=[10**8])], {}, "epochs of"),
        ([part(unique_tokens=10**6)], {}, "give more text, or fewer unique_tokens"),
        ([part(), part("b")], {}, "is the same run in parts a and b"),
        ([part(), part("b", recipe={"optimizer.beta2": 0.99})], {}, "give one part a tag"),
        ([part(), part()], {}, "two parts are called a"),
        ([part(objective="gpt")], {}, "objective is 'gpt'"),
        ([part(flops=[1e9])], {}, "exactly one of flops, tokens and epochs"),
        ([part(tokens=[])], {}, "not none"),
        ([part(tokens=[-1])], {}, "more than 0"),
        ([part(sizes=["17x2"])], {}, "size 17x2"),
        ([part(seeds=[0, 0])], {}, "seeds holds 0 twice"),
        ([part(lr=[1e-3], lr_factors=[2])], {}, "lr and lr_factors are both given"),
        ([part(subsets=[1])], {}, "subsets are of unique_tokens"),
        ([part(sise=["16x2"])], {}, "did you mean 'sizes'?"),
        ([part(sizes=None)], {}, "sizes is missing"),
        ([part(recipe={"optimiser.lr": 1})], {}, "optimiser"),
        ([part(tokens=[8])], {}, "less than one step"),
        ([part()], {"scoring": {"sequences": 4000}}, "hold out more text"),
        ([part()], {"scoring": {"draws": 1}}, "at least 2"),
        ([part()], {"precision": "fp16"}, "precision is 'fp16'"),
        ([part()], {"precision": "auto"}, "add --seconds"),
        ([part()], {"vocab": 77}, "vocab is 77"),
        ([part()], {"contxt": 16}, "did you mean 'context'?"),
        ([part()], {"data": "no-such-folder"}, "does not exist"),
        ([part()], {"data": ""}, "--vocab"),
        ([part()], {"schema_version": 9}, "schema_version is 9"),
        ([], {}, "no parts"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(bench, parts, changes, words):
    assert words in refused(bench, *parts, **changes)


def test_options_are_checked():
    for wrong in ({"seeds": 0}, {"seconds": -1.0}, {"objective": ["arm"]}, {"flops": ["1e9"], "size": ["16x2"]}):
        with pytest.raises(UserError):
            PlanOptions(**wrong)


def test_data_that_changed_is_refused(bench, tmp_path: Path):
    bench.made(part())
    text = bench.plan.read_text()
    bench.plan.write_text(text.replace('data_sum: "', 'data_sum: "0'))
    with pytest.raises(UserError, match="is not the data"):
        read_plan(bench.plan)
    bench.plan.write_text(text.replace("batch: 4,", "bach: 4,"))
    with pytest.raises(UserError, match="damaged"):
        read_plan(bench.plan)
