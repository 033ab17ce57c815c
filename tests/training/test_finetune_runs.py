"""Fine-tuning as whole runs: the same however they are cut or shared; what is refused before anything is written."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

import unmask
from tokenizer_kinds import KINDS
from training.fine_tuning import network
from unmask.errors import UserError
from unmask.model.config import ModelConfig
from unmask.model.folder import Model, save
from unmask.model.lora import load_adapter
from unmask.model.transformer import Transformer
from unmask.training.loop import train

SLOW, OTHERS = pytest.mark.slow, [(True, "ddp"), (False, "fsdp"), (False, "ddp")]


@pytest.mark.parametrize("kind", ["llama-2", "mistral", "gpt-2 prefix"])
@pytest.mark.parametrize("bos", [None, 1])
def test_what_was_learned_is_what_a_prompt_by_text_asks_for(make: Any, tmp_path: Path, kind: str, bos: int) -> None:
    """With tokenizers that put a space before a text the answer has none, in training, in scores and in what is
    written; and a begin token stands before all of them or none."""
    tokenizer = KINDS[kind]()
    shape = {"n_layer": 1, "n_head": 2, "n_embd": 32, "block_size": 32, "causal": True, "eos_id": tokenizer.eos_id}
    config = ModelConfig(**shape, vocab_size=tokenizer.vocab_size, bos=bos)
    save(tmp_path / "base", Transformer(config, seed=1), tokenizer)
    (tmp_path / "rows.jsonl").write_text('{"prompt": "the people:", "completion": "yes."}\n' * 20)
    recipe = make("tuned", "arm", data=str(tmp_path / "rows.jsonl"), init=str(tmp_path / "base"), steps=60, context=32)
    result = train(recipe)
    model = unmask.load(tmp_path / "tuned")
    assert model.config == config and result.validation is not None
    (g,) = unmask.generate(model, "the people:", length=8, temperature=0)
    assert (g.text, g.stopped) == ("yes.", "eos") and (g.canvas[0] == bos or bos is None)
    given = len(model.encode("the people:"))
    ids = [*model.encode("the people:yes."), tokenizer.eos_id]
    assert g.canvas == ids
    (found,) = unmask.score(model, [(ids[:given], ids[given:])])
    assert -found.logprob / found.n_tokens == pytest.approx(result.validation["loss"], rel=1e-4)
    assert result.validation["loss"] < 0.4
    (by_text,) = unmask.score(model, [("the people:", "yes.")])
    assert by_text.n_tokens == found.n_tokens - 1 and found.logprob < by_text.logprob < 0


def losses(run: Path, kind: str = "train") -> list[float]:
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [record["loss"] for record in records if record["kind"] == kind]


@pytest.mark.parametrize("kind", ["mdm", "arm"])
@pytest.mark.parametrize("lora", [False, True])
def test_a_run_learns_resumes_exactly_and_refuses_changed_data(
    make: Any, tmp_path: Path, bases: Path, kind: str, lora: bool
) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_bytes((bases / "rows.jsonl").read_bytes())
    more: dict[str, Any] = {"lora": {"rank": 2, "alpha": 8}} if lora else {"sft__prompt_dropout": 0.2 * (kind == "mdm")}
    changes = {"kind": kind, "data": str(data), "steps": 60, "checkpoint__every": 20, "checkpoint__keep": 9, **more}
    changes |= {"optimizer__lr": 2e-2, "micro_batch": 3}
    train(make("whole", **changes))
    whole = tmp_path / "whole"
    before, *_, after = losses(whole, "validation")
    assert after < before - 0.3, "training lowers the held-out loss"
    report = json.loads((whole / "sft.json").read_text())
    assert report["train"]["examples"] == 18 and report["schema_version"] == 1

    cut = tmp_path / "cut"
    shutil.copytree(whole, cut)
    for step in (40, 60):
        shutil.rmtree(cut / "checkpoints" / f"step-{step:08d}")
    train(make("cut", **changes), resume=True)
    for name in ("model.safetensors", "train_state/optimizer.safetensors"):
        ours, theirs = (load_file(run / "checkpoints" / "step-00000060" / name) for run in (cut, whole))
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)
    assert losses(cut) == losses(whole) and losses(cut, "validation") == losses(whole, "validation")

    if lora:  # the adapters alone, on the base, are the model that the folder holds
        base, newest = unmask.load(bases / kind), whole / "checkpoints" / "step-00000060"
        load_adapter(base.network, newest / "adapter.safetensors")
        tokens = torch.arange(20)[None]
        torch.testing.assert_close(base.network(tokens), unmask.load(whole).network(tokens), atol=1e-4, rtol=1e-4)

    data.write_text('{"prompt": "other", "completion": "rows"}\n' * 9, encoding="utf-8")
    with pytest.raises(UserError, match="has changed.*sft.json"):
        train(make("cut", **changes), resume=True)


@pytest.mark.parametrize(
    ("lora", "kind"), [(True, "fsdp"), *(pytest.param(*way, marks=SLOW) for way in OTHERS)]
)
def test_two_ranks_are_the_same_run(make: Any, tmp_path: Path, lora: bool, kind: str) -> None:
    changes: dict[str, Any] = {"steps": 8, "sft__prompt_dropout": 0.2, "checkpoint__every": 4, "sft__bucket_batches": 2}
    if lora:
        changes["lora"] = {"rank": 2}
    train(make("one", **changes))
    path = tmp_path / "two.yaml"
    path.write_text(yaml.safe_dump(make("two", **changes).to_dict()))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, "-m", "unmask", "train", str(path), "--parallel.kind", kind]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    for what in ("train", "validation"):
        assert losses(tmp_path / "two", what) == pytest.approx(losses(tmp_path / "one", what), rel=2e-4)
    ours, theirs = (load_file(tmp_path / run / "checkpoints/step-00000008/model.safetensors") for run in ("one", "two"))
    for name, tensor in theirs.items():
        torch.testing.assert_close(tensor, ours[name], atol=2e-4, rtol=2e-3, msg=name)
    assert done.stderr.count("examples of 18 rows") == 1, "one rank speaks"


def test_epochs_are_a_budget_and_skipped_rows_are_told(make: Any, bases: Path, capfd: Any) -> None:
    data = bases / "some-bad.jsonl"
    data.write_text((bases / "rows.jsonl").read_text() + '{"prompt": "x", "completion": ""}\n')
    result = train(make(data=str(data), steps=0, epochs=2, sft__validation=str(bases / "rows.jsonl")))
    assert result.steps == 2 * 18 // 6
    assert "train data: 18 examples of 19 rows" in (told := capfd.readouterr().err)
    assert "skipped 1 without an answer (some-bad.jsonl:19)" in told
    report = json.loads((Path(result.run) / "sft.json").read_text())
    assert report["train"]["skipped"] == {"without an answer": {"count": 1, "rows": ["some-bad.jsonl:19"]}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"init": None}, "sft needs a model to start from"),
        ({"context": 8}, "no row to learn from: 1 longer than the context"),
        ({"sft__validation_share": 0.01, "sft__fields": {"prompt": "q"}}, "no row to learn from"),
        ({"lora": {"rank": 0}}, "lora.rank is 0"),
        ({"lora": {"targets": "qkv,oot"}}, "lora.targets names 'oot'.*did you mean 'out'"),
        ({"lora": {}, "ema": 0.9}, "ema averages whole models"),
        ({"sft": {"padding": 3}}, "sft.padding is 3; give text"),
        ({"sft": 3}, "sft is 3; it must be a group"),
    ],
)
def test_what_is_wrong_is_named_before_anything_is_written(
    make: Any, tmp_path: Path, changes: Any, message: str
) -> None:
    if changes.get("context"):
        changes = {**changes, "data": str(write_long(tmp_path))}
    with pytest.raises(UserError, match=message):
        train(make(**changes))
    assert not (tmp_path / "run").exists()


def write_long(folder: Path) -> Path:
    path = folder / "long.jsonl"
    path.write_text('{"prompt": "a long prompt", "completion": "a long answer"}\n')
    return path


def test_a_model_without_a_tokenizer_is_refused(make: Any, tmp_path: Path) -> None:
    save(tmp_path / "bare", network())
    with pytest.raises(UserError, match="has no tokenizer.json, which fine-tuning needs"):
        train(make(init=str(tmp_path / "bare")))
    assert isinstance(unmask.load(tmp_path / "bare"), Model)
