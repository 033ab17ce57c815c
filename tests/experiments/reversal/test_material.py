"""Controls, ablations and bases of the reversal experiment.

make test ARGS=tests/experiments/reversal/test_material.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from experiments.reversal.folk import PEOPLE, TEXTS
from unmask.diffusion.objective import Objective
from unmask.errors import UserError
from unmask.evaluation.reversal.questions import DESCRIPTION_FIRST, NAME_FIRST
from unmask.experiments.frame import Settings, experiment
from unmask.experiments.reversal.material import (
    HOME,
    bases_of,
    material,
    people_of,
    recipe,
    refuse_unknown,
    swapped,
    tokenizer_of,
    training_lines,
    with_ablation,
)
from unmask.model.config import ModelConfig
from unmask.model.folder import load, save
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer
from unmask.settings import read_yaml
from unmask.training.recipe import build
from unmask.training.recipe_fields import Recipe

ONE = experiment("reversal")
FEW = ("own.people=3", "own.both=3")


def chosen_with(*changes: str) -> dict:
    return ONE.settings_of(Settings(Path("o"), quick=True, changes=changes))


# ---------------------------------------------------------------- settings


def test_controls_leave_out_or_add_lines() -> None:
    chosen = chosen_with(*FEW, "lines=name-first")
    people = people_of("own", None, chosen)
    first = training_lines(people, chosen)
    everyone = people_of("own", None, chosen_with(*FEW))
    assert set(first) == {line.text for line in everyone.lines if line.order == NAME_FIRST}
    assert {q.person for q in people.questions} == {line.person for line in people.lines}
    assert people.of("trained", "description") and people.of("reversed", "name") and not people.of("both", "name")
    copies = training_lines(PEOPLE, chosen_with("copies=swapped"))
    assert len(copies) == 2 * len(TEXTS)
    line = next(line for line in PEOPLE.lines if line.order == DESCRIPTION_FIRST)
    assert swapped(line).split()[-1] == line.begins.split()[-1] and line.person in swapped(line)


def ablated(*changes: str, quick: bool = True) -> dict:
    return with_ablation(Settings(Path("o"), quick=quick, changes=changes))


def test_every_ablation_changes_settings_that_exist() -> None:
    known = read_yaml(HOME / "ablations.yaml")
    usual = ablated("ablation=reference", quick=False)
    assert (usual["sets"], usual["kinds"], usual["own"]["both"]) == (["own"], ["mdm"], 60)
    for name, one in known["ablations"].items():
        changed = {**ablated(f"ablation={name}", quick=False), "ablation": "reference"}
        assert one["why"] and (changed != usual or name == "reference")
        people, both = changed["own"]["people"], changed["own"]["both"]
        lines = 60 * (people + both) if changed["lines"] == "all" else 30 * (people + both)
        if not name.startswith("epochs") and changed["kinds"] == ["mdm"]:
            assert lines * changed["epochs"]["own"]["mdm"] / changed["batch"] == 6_000, name
    assert ablated("ablation=name-tokens-one", "own.people=7", quick=False)["own"]["people"] == 7
    assert ablated("ablation=name-tokens-one")["own"]["people"] == 12  # quick as it is
    assert ablated("ablation=padding-unscored")["padding"] == "seen"
    with pytest.raises(UserError, match="ablation=x is none; give one of reference"):
        ablated("ablation=x")


def test_training_is_compiled_and_as_precise_as_told(tmp_path: Path) -> None:
    told = ("precision=bf16", "compile=true", "beta2=0.98", "model.rope_base=100")
    for padding, compiled in (("scored", True), ("ignore", False)):
        chosen = chosen_with(*FEW, *told, f"padding={padding}")
        made = recipe(material(tmp_path, None, chosen, "own"), chosen, "mdm", seed=0)
        assert (made["precision"], made["compile"], made["optimizer"]["beta2"]) == ("bf16", compiled, 0.98)
        assert padding != "scored" or made["model"]["rope_base"] == 100
    assert (chosen_with()["compile"], chosen_with()["precision"]) == (False, "fp32")


@pytest.mark.parametrize(
    "change",
    ["lines=none", "copies=x", "weighting=x", "padding=x", "sets=[x]", "kinds=[]", "kinds=[mdm, gpt]",
     "blind=x", "each.own=0", "ranked.own=0", "grid.each.own=0", "grid.guidance=[]", "grid.order=[]", "checkpoints=0"],
)
def test_words_that_mean_nothing_are_one_line(change: str) -> None:
    with pytest.raises(UserError, match=f"--set {change.partition('=')[0]}="):
        refuse_unknown(chosen_with(change))
    with pytest.raises(UserError, match="tokens=x"):
        tokenizer_of("x", PEOPLE, None)


def test_spans_hide_whole_names_of_many_tokens_while_most_is_seen(tmp_path: Path) -> None:
    chosen = ablated(*FEW, "ablation=name-spans")
    assert {**chosen, "span": 1} == ablated(*FEW, "ablation=name-tokens-many") | {
        "ablation": "name-spans"
    }, "one setting is all that differs"
    chosen["tokens"] = "bpe:300"  # so few people's names are soon whole
    one = material(tmp_path, None, chosen, "own")
    tokenizer = Tokenizer.from_file(one.data)
    assert one.name_tokens > 4
    assert "span" not in recipe(one, chosen, "arm", seed=0)["objective"]
    line = one.people.lines[0]
    ids, name = tokenizer.encode(" " + line.text), tokenizer.encode(" " + line.person)
    begins = next(i for i in range(len(ids)) if ids[i : i + len(name)] == name)
    share = {}
    for span in (1, 8):
        made = build(Recipe, {**recipe(one, {**chosen, "span": span}, "mdm", seed=0), "out": "o"}, "")
        lengths_B = np.full(4000, len(ids))
        mask_BT, _, p_B = Objective(made.objective).masks(0, np.arange(4000), lengths_B, len(ids))
        share[span] = float((mask_BT[:, begins : begins + len(name)].all(axis=1) & (p_B < 0.5)).mean())
    assert share[8] > 5 * share[1]


# ---------------------------------------------------------------- bases


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder, tokenizer = tmp_path_factory.mktemp("bases"), Tokenizer.train_bpe(300, ["the state of the union"])
    for kind in ("mdm", "arm"):
        config = ModelConfig(1, 1, 8, vocab_size=tokenizer.vocab_size, block_size=128, causal=kind == "arm")
        save(folder / kind, Transformer(config, seed=0), tokenizer)
    config = ModelConfig(1, 1, 8, vocab_size=tokenizer.vocab_size, block_size=16)
    save(folder / "short", Transformer(config, seed=0), tokenizer)
    wide = ModelConfig(1, 1, 16, vocab_size=tokenizer.vocab_size, block_size=128)
    save(folder / "wide", Transformer(wide, seed=0), tokenizer)
    save(folder / "mute", Transformer(config, seed=0))
    return {path.name: str(path) for path in folder.iterdir()}


def test_a_base_grows_by_the_names_and_is_where_training_starts(bases: dict[str, str], tmp_path: Path) -> None:
    chosen = chosen_with(*FEW)
    found = bases_of((bases["arm"], bases["mdm"]), ["mdm", "arm"])
    one = material(tmp_path, None, chosen, "own", found)
    assert one.name_tokens == 2 and one.set == "own" and one.name == "own-base"
    fields = recipe(one, chosen, "arm", seed=4)
    assert load(fields["init"]).kind == "arm" and "model" not in fields and fields["seed"] == 4
    assert fields["optimizer"]["lr"] == chosen["base_lr"] and fields["context"] == one.length
    again = material(tmp_path, None, chosen, "own", found)
    assert again.init == one.init and again.data == one.data


def test_bases_that_cannot_serve_are_refused(bases: dict[str, str], tmp_path: Path) -> None:
    for paths, words in (
        ((bases["mdm"],), "names no arm"),
        ((bases["mdm"], bases["mdm"]), "is an mdm, as"),
        ((bases["mute"], bases["arm"]), "different tokenizers"),
        ((bases["wide"], bases["arm"]), "differ in n_layer, n_head, n_embd: .*wide has 1/1/16, "),
    ):
        with pytest.raises(UserError, match=words):
            bases_of(paths, ["mdm", "arm"])
    chosen = chosen_with(*FEW)
    with pytest.raises(UserError, match="context of 16"):
        material(tmp_path, None, chosen, "own", {"mdm": bases["short"]})
    with pytest.raises(UserError, match="no tokenizer.json"):
        material(tmp_path, None, chosen, "own", {"mdm": bases["mute"]})
