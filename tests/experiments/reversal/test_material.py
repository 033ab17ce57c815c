"""Own people, tokens, rows, controls and bases of the reversal experiment.

make test ARGS=tests/experiments/reversal/test_material.py
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from unmask.data.shards import TokenData
from unmask.errors import UserError
from unmask.evaluation.reversal.questions import DESCRIPTION_FIRST, NAME_FIRST
from unmask.experiments.frame import Settings, experiment, merged
from unmask.experiments.reversal.material import (
    bases_of,
    material,
    recipe,
    refuse_unknown,
    swapped,
    tokenizer_of,
    training_lines,
    with_ablation,
)
from unmask.experiments.reversal.people import own_people
from unmask.experiments.reversal.rows import row_length, rows, write_rows
from unmask.experiments.reversal.tokens import grown, text_of, tokens_a_name, widened, word_tokenizer
from unmask.model.config import ModelConfig
from unmask.model.folder import load, save
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer
from unmask.settings import read_yaml
from unmask.training.batches import Batches
from unmask.training.recipe import build
from unmask.training.recipe_fields import Recipe

PEOPLE = own_people(4, 3)
TEXTS = [line.text for line in PEOPLE.lines]
NAMES = sorted({question.person for question in PEOPLE.questions})
ONE = experiment("reversal")


def chosen_with(*changes: str) -> dict:
    return ONE.settings_of(Settings(Path("o"), quick=True, changes=changes))


# ---------------------------------------------------------------- people


def test_people_have_the_originals_structure() -> None:
    assert Counter((q.direction, q.asks) for q in own_people(5, 2).questions) == {
        ("trained", "description"): 50, ("trained", "name"): 50, ("reversed", "name"): 50,
        ("reversed", "description"): 50, ("both", "description"): 20, ("both", "name"): 20,
    }  # fmt: skip
    orders = Counter((line.person, line.order) for line in PEOPLE.lines)
    assert set(orders.values()) == {30}
    both = {question.person for question in PEOPLE.questions if question.direction == "both"}
    for person in NAMES:
        assert len([order for name, order in orders if name == person]) == 1 + (person in both)
    for question in PEOPLE.questions:
        assert (question.person in question.prompt) == (question.asks == "description")
    asked = {question.prompt for question in PEOPLE.questions}
    assert not any(line.text.startswith(prompt) for line in PEOPLE.lines for prompt in asked)  # other words


def test_people_are_a_function_of_the_seed() -> None:
    assert own_people(4, 3) == PEOPLE and own_people(4, 3, seed=1) != PEOPLE
    many = own_people(300, 300)
    assert len({question.person for question in many.questions}) == 900
    with pytest.raises(UserError, match="people and both"):
        own_people(9000, 0)


# ---------------------------------------------------------------- tokens


def test_a_name_has_two_tokens_the_same_at_the_start_and_inside() -> None:
    tokenizer = word_tokenizer(TEXTS)
    for name in NAMES:
        ids = tokenizer.encode(text_of(f"{name} is"))[:2]
        assert tokenizer.encode(text_of(f"So {name}."))[-3:-1] == ids
        assert tokenizer.decode(ids) == f" {name}"
    assert tokens_a_name(word_tokenizer(TEXTS, NAMES), NAMES) == 1
    unknown = text_of("Zebra Zürich?")
    assert tokenizer.decode(tokenizer.encode(unknown)) == unknown


def test_a_bpe_grows_until_names_are_two_tokens_and_says_the_rest_as_before() -> None:
    base = Tokenizer.train_bpe(300, ["the state of the union is strong " * 3])
    assert tokens_a_name(base, NAMES) > 6
    tokenizer = grown(base, [word for name in NAMES for word in name.split()])
    assert tokens_a_name(tokenizer, NAMES) == 2
    assert tokenizer.encode(" the state of the union") == base.encode(" the state of the union")
    for text in TEXTS[::17]:
        assert tokenizer.decode(tokenizer.encode(text_of(text))) == text_of(text)
    with pytest.raises(UserError, match="no byte-level BPE"):
        grown(Tokenizer(json.dumps({**json.loads(base.to_json()), "pre_tokenizer": {"type": "Whitespace"}})), NAMES)


@pytest.mark.parametrize("causal", [False, True])
def test_a_widened_network_says_of_old_tokens_what_it_said(causal: bool) -> None:
    base = Tokenizer.train_bpe(300, TEXTS)
    tokenizer = grown(base, NAMES[0].split())
    config = ModelConfig(n_layer=1, n_head=2, n_embd=8, vocab_size=base.vocab_size, block_size=8, causal=causal)
    network = Transformer(config, seed=1).eval()
    wide = widened(network, base, tokenizer)
    ids = torch.tensor([[5, 80, 17, 4]])
    old, new = ids.clone(), ids.clone()
    if not causal:
        old[0, 2], new[0, 2] = network.config.mask_id, wide.config.mask_id
    torch.testing.assert_close(wide(new)[..., : base.vocab_size], network(old))


# ---------------------------------------------------------------- rows


def test_rows_are_single_lines_between_end_tokens_and_windows_never_hold_two(tmp_path: Path) -> None:
    """What an ARM reads in one window: no description, end, name."""
    tokenizer = word_tokenizer(TEXTS)
    length = row_length(TEXTS, tokenizer)
    write_rows(tmp_path / "data", TEXTS, TEXTS[:5], tokenizer, length, seed=0)
    fields = {"data": str(tmp_path / "data"), "out": "o", "context": length, "batch_size": 4, "steps": 1,
              "objective": {"kind": "arm", "random_length": 0.0}}  # fmt: skip
    config = ModelConfig(1, 1, 8, vocab_size=tokenizer.vocab_size, block_size=length, causal=True)
    batches = Batches(build(Recipe, fields, ""), TokenData(tmp_path / "data", "train"), config)
    assert batches.n_samples == len(TEXTS)
    read = batches.windows(np.arange(len(TEXTS)))
    end = tokenizer.eos_id
    assert read.shape == (len(TEXTS), length + 1) and (read[:, 0] == end).all() and (read[:, -1] == end).all()
    seen = Counter()
    for row in read:
        inner = row[1:]
        line = inner[: int(np.argmax(inner == end))]
        assert (inner[len(line) :] == end).all()  # nothing stands behind the line's end
        seen[tokenizer.decode(line).strip()] += 1
    assert seen == Counter(TEXTS)
    first = [tokenizer.decode(row[1:]).split()[:2] for row in read[:40]]
    assert len({" ".join(words) for words in first}) > 5  # shuffled: people do not stand together

    held = TokenData(tmp_path / "data", "validation")
    assert held.n_tokens == 5 * (length - 1)
    with pytest.raises(UserError, match="does not hold"):
        rows(TEXTS, tokenizer, length - 1)


# ---------------------------------------------------------------- settings


def test_controls_leave_out_or_add_lines() -> None:
    first = training_lines(PEOPLE, chosen_with("lines=name-first"))
    assert set(first) == {line.text for line in PEOPLE.lines if line.order == NAME_FIRST}
    copies = training_lines(PEOPLE, chosen_with("copies=swapped"))
    assert len(copies) == 2 * len(TEXTS)
    line = next(line for line in PEOPLE.lines if line.order == DESCRIPTION_FIRST)
    assert swapped(line).split()[-1] == line.begins.split()[-1] and line.person in swapped(line)


def test_every_ablation_changes_settings_that_exist() -> None:
    for name, one in read_yaml(ONE.folder / "ablations.yaml").items():
        usual = ONE.settings_of(Settings(Path("o")))
        assert one["why"] and merged(usual, one["set"], name) != usual
    assert with_ablation(chosen_with("ablation=name-tokens-one"))["tokens"] == "names"
    with pytest.raises(UserError, match="ablation=x is none; give one of name-tokens-many"):
        with_ablation(chosen_with("ablation=x"))


@pytest.mark.parametrize(
    "change", ["lines=none", "copies=x", "weighting=x", "sets=[x]", "kinds=[]", "kinds=[mdm, gpt]"]
)
def test_words_that_mean_nothing_are_one_line(change: str) -> None:
    with pytest.raises(UserError, match=f"--set {change.partition('=')[0]}="):
        refuse_unknown(chosen_with(change))
    with pytest.raises(UserError, match="tokens=x"):
        tokenizer_of("x", PEOPLE, None)


# ---------------------------------------------------------------- bases


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder, tokenizer = tmp_path_factory.mktemp("bases"), Tokenizer.train_bpe(300, ["the state of the union"])
    for kind in ("mdm", "arm"):
        config = ModelConfig(1, 1, 8, vocab_size=tokenizer.vocab_size, block_size=128, causal=kind == "arm")
        save(folder / kind, Transformer(config, seed=0), tokenizer)
    config = ModelConfig(1, 1, 8, vocab_size=tokenizer.vocab_size, block_size=16)
    save(folder / "short", Transformer(config, seed=0), tokenizer)
    save(folder / "mute", Transformer(config, seed=0))
    return {path.name: str(path) for path in folder.iterdir()}


def test_a_base_grows_by_the_names_and_is_where_training_starts(bases: dict[str, str], tmp_path: Path) -> None:
    chosen = chosen_with("own.people=3", "own.both=3")
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
    ):
        with pytest.raises(UserError, match=words):
            bases_of(paths, ["mdm", "arm"])
    chosen = chosen_with("own.people=3", "own.both=3")
    with pytest.raises(UserError, match="context of 16"):
        material(tmp_path, None, chosen, "own", {"mdm": bases["short"]})
    with pytest.raises(UserError, match="no tokenizer.json"):
        material(tmp_path, None, chosen, "own", {"mdm": bases["mute"]})
