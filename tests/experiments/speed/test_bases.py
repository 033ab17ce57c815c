"""Bases: found in a sweep, of the right kind and tokenizer, and never trained on what is tested."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from unmask.errors import UserError
from unmask.experiments.frame import Settings
from unmask.experiments.speed.bases import check_kinds, corpus_split, find_bases, given_bases, refuse_exposed
from unmask.experiments.speed.glosses import Gloss
from unmask.experiments.speed.plan import plan_of
from unmask.model.folder import load, resolve, save
from unmask.model.tokenizers import Tokenizer
from unmask.scaling.corpus import held_out

from .conftest import SMALL, quick_plan


def sweep_of(out: Path, folder: Path, *runs: tuple[str, str, str]) -> Path:
    """A sweep as `scale run` leaves it: (name, role of the base, state); final weights lie in the run's own folder."""
    for name, role, state in runs:
        base = out / "runs" / f"base-{role}"
        if state == "finished":
            shutil.copytree(resolve(base), folder / "runs" / name)
        else:
            shutil.copytree(base, folder / "runs" / name)  # with checkpoints, as one in training
        kind, size, flops = name.split("-")[:3]
        row = {"name": name, "state": state, "objective": kind, "size": size, "flops": float(flops), "trunk": None}
        row["seed"] = int(name.split("-s")[1][:1])
        if state != "training":
            with (folder / "results.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
    return folder


def test_a_sweep_is_searched_for_finished_runs_by_kind_size_and_budget(out: Path, tmp_path: Path) -> None:
    plan = plan_of(Settings(tmp_path))
    sweep_of(
        out, tmp_path, ("arm-96x3-1.6e13-s1", "arm", "finished"), ("arm-96x3-1.6e13-s0", "arm", "finished"),
        ("mdm-96x3-1.6e13-s0-lr0.003", "mdm", "finished"), ("mdm-96x3-1.6e13-s0", "mdm", "aside"),
        ("mdm-96x3-1.6e13-s1", "mdm", "finished"), ("mdm-96x3-2.56e14-s0", "mdm", "training"),
        ("arm-96x3-2e12-s0", "arm", "finished"),
    )  # fmt: skip
    given = {"mdm-large": [str(out / "runs" / "base-mdm-large")]}
    found = find_bases(given, str(tmp_path), plan)
    assert {role: path.name for role, path in found.items()} == {
        "arm": "arm-96x3-1.6e13-s0", "mdm": "mdm-96x3-1.6e13-s1", "mdm-large": "base-mdm-large",
        **{f"arm-equal-{number}": "arm-96x3-2e12-s0" for number in range(5)},
    }, "the least seed of the exact name; candidates as many as have finished, for each number of epochs"  # fmt: skip
    with pytest.raises(UserError, match=r"no finished run mdm-96x3-2.56e14-s\*; finished: arm-96x3-1.6e13-s1, arm-"):
        find_bases({}, str(tmp_path), plan)
    shutil.rmtree(tmp_path / "runs" / "arm-96x3-1.6e13-s0")
    assert find_bases(given, str(tmp_path), plan)["arm"].name == "arm-96x3-1.6e13-s1"
    shutil.rmtree(tmp_path / "runs" / "arm-96x3-1.6e13-s1")
    with pytest.raises(UserError, match=r"has the result of arm-96x3-1.6e13-s0 without its weights; train it by .*RO"):
        find_bases(given, str(tmp_path), plan)
    roles = {role: [str(out / "runs" / f"base-{role}")] for role in ("arm", "mdm", "mdm-large")}
    assert list(find_bases(roles, None, plan)) == ["arm", "mdm", "mdm-large"], "nobody need have arm-equal"
    two = [str(out / "runs" / f"base-arm-equal-{i}") for i in (0, 1)]
    assert list(find_bases({**roles, "arm-equal": two}, None, plan))[3:] == [f"arm-equal-{n}" for n in range(10)]
    with pytest.raises(UserError, match="has no runs with their results.jsonl; give the --out of `unmask scale run`"):
        find_bases({}, str(out / "glosses"), plan)
    with pytest.raises(UserError, match=r"--base arm=RUN is missing: give the run of arm 96x3 at 1.6e.?13.*--quick"):
        find_bases({}, None, plan)
    words = [f"arm={out}", str(tmp_path), "mdm-large=x", "arm-equal=y", "arm-equal=z"]
    apart = {"arm": [str(out)], "mdm-large": ["x"], "arm-equal": ["y", "z"]}
    assert given_bases(words, plan) == (apart, str(tmp_path))
    for wrong in (["mdl=x"], ["arm=x", "arm=y"], [str(tmp_path), str(tmp_path)], ["nowhere"]):
        with pytest.raises(UserError, match="is not understood; give arm=RUN, mdm=RUN, mdm-large=RUN, arm"):
            given_bases(wrong, plan)


def test_a_model_of_the_wrong_kind_or_tokenizer(out: Path, tmp_path: Path) -> None:
    plan = quick_plan(*SMALL)
    bases = {role: out / "runs" / f"base-{role}" for role in ("arm", "mdm", "mdm-large", "arm-equal-0")}
    check_kinds(bases, plan)
    with pytest.raises(UserError, match="--base arm=.* is a masked diffusion model; give an autoregressive model"):
        check_kinds({**bases, "arm": bases["mdm"]}, plan)
    with pytest.raises(UserError, match="--base mdm=.* is an autoregressive model; give a masked diffusion model"):
        check_kinds({**bases, "mdm": bases["arm"]}, plan)
    network = load(bases["mdm"]).network
    save(tmp_path / "bare", network)
    with pytest.raises(UserError, match="--base mdm=.*bare has no tokenizer.json"):
        check_kinds({**bases, "mdm": tmp_path / "bare"}, plan)
    save(tmp_path / "other", network, Tokenizer.plain_bytes())
    with pytest.raises(UserError, match="--base mdm=.*other has another tokenizer than .*arm"):
        check_kinds({**bases, "mdm": tmp_path / "other"}, plan)


def run_on(folder: Path, **recipe: Any) -> Path:
    """A folder that says what it was trained on."""
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return folder


def corpus(folder: Path, split: str = "field:split", seed: int = 0, sources: tuple[str, ...] = ("gcide",)) -> Path:
    """Prepared data as its manifest describes it, from a gathered text as its sources.json does."""
    (folder / "text").mkdir(parents=True)
    facts = {"sources": dict.fromkeys(sources, {}), "seed": seed, "held_out_share": 0.04}
    (folder / "text" / "sources.json").write_text(json.dumps(facts))
    (folder / "data").mkdir()
    settings = {"sources": [str(folder / "text" / "*.jsonl")], "split": split}
    (folder / "data" / "manifest.json").write_text(json.dumps({"settings": settings}))
    return folder / "data"


GLOSSES = [Gloss(f"w{i}", f" what w{i} is, and more", (1, 2, 3)) for i in range(500) if held_out([f"word w{i}"], 0.04)]


def test_the_corpus_of_a_base_tells_what_it_has_read(tmp_path: Path) -> None:
    good = run_on(tmp_path / "good", data=str(corpus(tmp_path / "a")))
    assert corpus_split([good]) == (0.04, 0) and refuse_exposed("mdm", good, GLOSSES) == "held out by its corpus"
    other = run_on(tmp_path / "other", data=str(corpus(tmp_path / "b", seed=7)))
    with pytest.raises(UserError, match=r"--base mdm=.*other was trained on text that is tested here \(e.g. 'w\d+'"):
        refuse_exposed("mdm", other, GLOSSES)
    mixed = run_on(tmp_path / "mixed", data=str(corpus(tmp_path / "c", split="random:0.05")))
    with pytest.raises(UserError, match="its split is random:0.05, not field:split"):
        refuse_exposed("mdm", mixed, GLOSSES)
    prose = run_on(tmp_path / "prose", data=str(corpus(tmp_path / "d", split="random:0.05", sources=("sotu",))))
    assert refuse_exposed("arm", prose, GLOSSES) == "held out by its corpus"
    assert "no recipe.yaml" in refuse_exposed("arm", tmp_path, GLOSSES) and corpus_split([tmp_path]) is None


def test_rows_that_a_base_was_fine_tuned_on_are_looked_at(tmp_path: Path) -> None:
    base = run_on(tmp_path / "base", data=str(corpus(tmp_path / "a")))
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"prompt": "x", "completion": "nothing of it"}) + "\n")
    tuned = run_on(tmp_path / "tuned", data=str(rows), sft={"template": "raw"}, init=str(base))
    assert refuse_exposed("arm", tuned, GLOSSES) == "fine-tuned on other rows; held out by its corpus"
    with rows.open("a") as file:
        file.write(json.dumps({"prompt": "x", "completion": GLOSSES[3].text + " at all"}) + "\n")
    long = [Gloss(g.word, g.text + " at all, to be long enough for it", g.ids) for g in GLOSSES]
    assert "other rows" in refuse_exposed("arm", tuned, long)
    with rows.open("a") as file:
        file.write(json.dumps({"prompt": "x", "completion": long[3].text}) + "\n")
    with pytest.raises(UserError, match=f"rows.jsonl holds the gloss of '{GLOSSES[3].word}'"):
        refuse_exposed("arm", tuned, long)


def test_without_a_corpus_the_training_tokens_are_looked_through(out: Path) -> None:
    base, tokenizer = out / "runs" / "base-mdm", Tokenizer.from_file(out / "made-data")
    rows = [json.loads(line) for line in (out / "made-text" / "text.jsonl").read_text().splitlines()]
    lines = [line.partition(":")[2] for row in rows for line in row["text"].split("\n") if ", n.: " in line]
    read = [Gloss(str(i), line, tuple(tokenizer.encode(line)[:30])) for i, line in enumerate(lines[:60])]
    with pytest.raises(UserError, match=r"\d+% of the glosses stand in .*made-data; give another"):
        refuse_exposed("mdm", base, read)
    unread = [Gloss(g.word, g.text, tuple(reversed(g.ids))) for g in read]
    assert refuse_exposed("mdm", base, unread) == "not in its training tokens"
