"""Plans: sizes, tokens and steps by arithmetic of one's own, identities that last, what is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from scaling.conftest import Bench, part
from unmask.errors import UserError
from unmask.scaling.parts import Spec, spec_of
from unmask.scaling.plan import PlanOptions, in_words, plan
from unmask.scaling.plan_file import read_plan
from unmask.scaling.rules import Batch, LearningRate
from unmask.scaling.runs import Facts, planned_runs
from unmask.scaling.shapes import family, shape_of, shapes_of
from unmask.training.dry_run import dry_run


def made(bench: Bench, *parts: dict, **changes: object) -> dict:
    return plan(PlanOptions(plan=str(bench.settings(*parts, **changes)), out=str(bench.plan)))


def refused(bench: Bench, *parts: dict, **changes: object) -> str:
    with pytest.raises(UserError) as caught:
        made(bench, *parts, **changes)
    assert "\n" not in str(caught.value)
    assert not bench.plan.exists()
    return str(caught.value)


def test_the_family_has_constant_aspect_and_heads_of_16():
    names = [shape.name for shape in family(32, 192)]
    assert names == ["32x2", "48x2", "64x2", "80x3", "96x3", "112x4", "128x4", "160x5", "192x6"]
    assert all(shape.n_embd == 16 * shape.n_head for shape in family(32, 512))
    assert shape_of("96/3") == shape_of("96x3")
    assert shape_of("75M").intermediate_size == 1600
    with pytest.raises(UserError, match="96x3 is given twice"):
        shapes_of(["family:32-192", "96/3"])
    for wrong in ("97x3", "96", "7M", "family:33-40"):
        with pytest.raises(UserError, match="size|family"):
            shapes_of([wrong])


def test_rules_are_what_they_say():
    assert Batch().of(2.5e6, 128) == 2
    assert Batch().of(2.5e6 * 2**5, 128) == round(256 * 2 ** (5 * 0.8) / 128)
    assert Batch().of(1.0, 1024) == 1
    assert LearningRate().of(1e6, 512) == 3e-3
    assert LearningRate().of(16e6, 512) == 1.5e-3
    assert LearningRate(most=1e-3).of(1e3, 512) == 1e-3


@pytest.mark.parametrize("rule", ["exact", "6nd"])
@pytest.mark.parametrize("objective", ["mdm", "arm"])
def test_tokens_and_steps_follow_from_the_budget(rule, objective):
    """Multiplications counted by hand: layers, attention, head; three times a forward pass."""
    width, layers, context, vocab, budget = 96, 3, 128, 1024, 1.6e13
    parts = [{"part": "p", "objective": objective, "flops": [budget], "sizes": ["96x3"]}]
    (run,) = planned_runs(spec_of({"vocab": vocab, "flops_rule": rule, "parts": parts}, "x"), Facts(vocab))
    matrices = layers * 16 * width**2
    assert run.params == matrices + (2 * layers + 1) * width
    pairs = context if objective == "mdm" else (context + 1) / 2
    head = (context + 1) / (2 * context) if objective == "mdm" else 1.0
    exact = 6 * (matrices + 2 * layers * width * pairs + head * width * vocab)
    assert run.flops_per_token == pytest.approx(exact, rel=1e-4 if objective == "arm" else 1e-3)
    per_token = run.flops_per_token if rule == "exact" else 6 * run.params
    assert run.steps == int(budget / per_token / run.batch_tokens)
    assert run.tokens == run.steps * run.batch * context
    assert run.batch == Batch().of(budget / per_token, context)
    assert run.flops == pytest.approx(run.tokens * run.flops_per_token)
    assert run.flops_6nd == pytest.approx(6 * run.params * run.tokens)
    assert {"exact": run.flops, "6nd": run.flops_6nd}[rule] == pytest.approx(budget, rel=1e-3)
    assert run.warmup == round(0.05 * run.steps)
    assert run.name == f"{objective}-96x3-1.6e13-s0"


def test_training_counts_a_planned_run_the_same(bench):
    found = made(bench, part(flops=[1e9], tokens=None), part("m", objective="mdm", flops=[1e9], tokens=None))
    spec = read_plan(bench.plan)
    for run in spec.runs:
        recipe = run.recipe_for(str(bench.data), str(bench.folder / "unused"))
        budget = dataclasses.replace(recipe, steps=0, flops=1e9, flops_rule="exact")
        assert dry_run(budget).plan["steps"] == run.steps
    assert [run["epochs"] for run in found["runs"]] == [run.epochs for run in spec.runs]
    assert spec.runs[0].epochs == pytest.approx(spec.runs[0].tokens / spec.facts.tokens)


def test_a_plan_reads_back_as_it_was_and_is_shown(bench):
    parts = (part(seeds=[0, 1]), part("m", objective="mdm", sizes=["16x2", "32x1"], lr_factors=[0.5, 1]))
    found = made(bench, *parts)
    again = read_plan(bench.plan)
    assert [run.to_dict() for run in again.runs] == found["runs"]
    assert [run.name for run in again.runs][:2] == ["arm-16x2-512t-s0", "arm-16x2-512t-s1"]
    assert [run.fitted for run in again.runs] == [True] * 2 + [False] * 4
    text = in_words(found)
    assert all(run["name"] in text for run in found["runs"])
    assert "not fitted" in text
    json.dumps(found)


def test_an_extension_leaves_every_run_as_it_was(bench):
    first = made(bench, part())
    before = read_plan(bench.plan).digests()
    for more in (
        part(seeds=[0, 1]),
        part(sizes=["16x2", "32x1"]),
        part(tokens=[512, 1024]),
        part("b", objective="mdm"),
    ):
        parts = [more] if more["part"] == "a" else [part(), more]
        made(bench, *parts)
        after = read_plan(bench.plan)
        assert len(after.runs) > len(first["runs"])
        assert {name: after.digests()[name] for name in before} == before


def test_options_add_a_part_to_a_plan(bench):
    made(bench, part())
    options = {"objective": ["mdm"], "flops": ["1e9,2e9"], "size": ["16x2"], "seeds": 2}
    found = plan(PlanOptions(plan=str(bench.plan), out=str(bench.plan), **options))
    assert [p["part"] for p in found["parts"]] == ["a", "mdm"]
    assert len(found["runs"]) == 5
    found = plan(PlanOptions(plan=str(bench.plan), out=str(bench.plan), **{**options, "flops": ["4e9"]}))
    assert [p["part"] for p in found["parts"]] == ["a", "mdm", "mdm-2"]


def test_times_of_known_runs_stay_when_a_plan_is_made_anew(bench):
    made(bench, part())
    text = bench.plan.read_text().replace("seconds: null", "seconds: 12.5")
    bench.plan.write_text(text)
    found = plan(PlanOptions(plan=str(bench.plan), objective=["mdm"], flops=["1e9"], size=["16x2"]))
    assert [run["seconds"] for run in found["runs"]] == [12.5, None]
    assert found["hours"] is None


def test_what_decides_a_run_is_in_its_digest(bench):
    changes = [
        *({"seeds": [1]}, {"lr": [1e-3]}, {"lr": [2e-3]}, {"batch": [8]}, {"precision": "bf16"}, {"tokens": [1024]}),
        *(
            {"unique_tokens": 256},
            {"recipe": {"optimizer.weight_decay": 1.0}},
            {"objective": "mdm"},
            {"sizes": ["32x2"]},
        ),
    ]
    digests = set()
    for change in [{}, *changes]:
        made(bench, part(**change))
        (digest,) = read_plan(bench.plan).digests().values()
        digests.add(digest)
    assert len(digests) == len(changes) + 1
    (run,) = read_plan(bench.plan).runs
    assert run.digest("x") != run.digest("y")
    assert dataclasses.replace(run, compile=True, seconds=3.0).digest("x") == run.digest("x")


def test_a_plan_on_a_vocabulary_alone_has_no_epochs(bench):
    found = plan(PlanOptions(vocab=1024, objective=["mdm"], flops=["1e12"], size=["32/2"], out=str(bench.plan)))
    assert found["runs"][0]["epochs"] is None
    with pytest.raises(UserError, match="planned without data"):
        read_plan(bench.plan)


def test_repeated_data_is_marked(bench):
    found = made(bench, part(tokens=None, epochs=[0.5, 3], unique_tokens=256, subsets=[0, 1]))
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


def test_a_file_that_lists_no_runs_is_no_plan_yet(bench):
    with pytest.raises(UserError, match="lists no runs yet"):
        read_plan(bench.settings(part()))
    with pytest.raises(UserError, match="does not exist"):
        read_plan(bench.folder / "none.yaml")
    assert spec_of({"vocab": 5}, "x") == Spec(vocab=5)


def test_data_that_changed_is_refused(bench, tmp_path: Path):
    made(bench, part())
    text = bench.plan.read_text()
    bench.plan.write_text(text.replace('data_sum: "', 'data_sum: "0'))
    with pytest.raises(UserError, match="is not the data"):
        read_plan(bench.plan)
    bench.plan.write_text(text.replace("batch: 4,", "bach: 4,"))
    with pytest.raises(UserError, match="damaged"):
        read_plan(bench.plan)
