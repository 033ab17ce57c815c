"""A run of `unmask train` as what is laid over a prediction: its size, FLOPs by either rule, and validations."""

import json
import shutil
from pathlib import Path

import pytest

from unmask.data.options import PrepareOptions
from unmask.data.prepare import prepare
from unmask.errors import UserError
from unmask.model.flops import training_flops_per_token
from unmask.model.folder import load
from unmask.scaling.later import read_later
from unmask.training.loop import train
from unmask.training.recipe import build
from unmask.training.recipe_fields import Recipe

TEXT = "In the beginning there was the word, and the word was masked. All men are created equal. "


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    for i in range(20):
        (folder / f"{i:02d}.txt").write_text(f"Chapter {i}. " + TEXT * (1 + i % 3), encoding="utf-8")
    out = folder.parent / "later-data"
    prepare(PrepareOptions(sources=[str(folder)], out=out, tokenizer="bytes", split="random:0.3", workers=1))
    return out


@pytest.fixture(scope="module", params=["exact", "6nd"])
def run(request, data, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / f"large-{request.param}"
    fields = {
        **{"data": str(data), "out": str(out), "context": 16, "batch_size": 4, "steps": 6, "threads": 1},
        **{"model": {"n_layer": 1, "n_head": 2, "n_embd": 16}, "flops_rule": request.param, "log_every": 3},
        **{"validation": {"windows": 4, "draws": 2, "every": 3}, "objective": {"random_length": 0.0}},
    }
    recipe: Recipe = build(Recipe, fields, "")
    train(recipe)
    return out


def test_flops_are_counted_by_the_rule_that_the_fit_has(run):
    config = load(run).config
    exact, six = read_later(run, "exact"), read_later(run, "6nd")
    assert exact["params"] == six["params"] == config.n_params_non_embedding
    assert exact["tokens"] == six["tokens"] == 6 * 4 * 16
    assert six["flops"] == pytest.approx(6 * config.n_params_non_embedding * 384)
    assert exact["flops"] == pytest.approx(training_flops_per_token(config, 16, 0.5) * 384, rel=0.05)
    assert exact["loss"] == six["loss"] and exact["objective"] == "mdm"


def test_the_curve_is_that_of_the_validations(run):
    found = read_later(run, "exact")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    scored = [line for line in lines if line["kind"] == "validation"]
    assert found["curve"]["loss"] == [line["loss"] for line in scored] and len(scored) == 2
    assert found["step"] == 6 and found["loss"] == scored[-1]["loss"]
    assert found["curve"]["flops"][-1] == pytest.approx(found["flops"])


def test_folders_that_are_no_run_or_have_no_validation_are_named(run, tmp_path):
    with pytest.raises(UserError, match="is no run: it has no recipe.yaml"):
        read_later(tmp_path, "exact")
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    lines = (copy / "metrics.jsonl").read_text().splitlines()
    (copy / "metrics.jsonl").write_text("\n".join(line for line in lines if '"train"' in line))
    with pytest.raises(UserError, match="has no validation yet"):
        read_later(copy, "exact")


def test_a_run_that_began_from_other_weights_is_refused(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    recipe = copy / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("init: null", "init: elsewhere"))
    with pytest.raises(UserError, match="began from other weights"):
        read_later(copy, "exact")
