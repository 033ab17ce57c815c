"""Weights & Biases without a network, the trace of a run, and the metrics people expect."""

from __future__ import annotations

import json
import shutil
import sys

import pytest

from unmask.errors import UserError
from unmask.training.loop import train
from unmask.training.tracking import ID_FILE, TRACE_FILE


def wandb_records(folder):
    """(run id, step) of each record of all offline runs in a run folder, oldest first, and the names in them."""
    datastore = pytest.importorskip("wandb.sdk.internal.datastore")
    from wandb.proto import wandb_internal_pb2

    found: list[tuple[str, int]] = []
    names: set[str] = set()
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        store, run_id = datastore.DataStore(), ""
        store.open_for_scan(str(path))
        while (data := store.scan_data()) is not None:
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            if record.WhichOneof("record_type") == "run":
                run_id = record.run.run_id
            elif record.WhichOneof("record_type") == "history":
                items = {"/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
                names |= items.keys()
                found.append((run_id, record.history.step.num))
    return found, names


def test_wandb_offline_writes_the_records_and_resumes_the_same_run(lab, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    recipe = lab.file("tracked", wandb="offline", log_every=2, steps=8, validation__every=8)
    run = lab.folder / "tracked"
    assert lab.run("train", recipe).returncode == 0  # a process of its own: at its end all is on disk
    run_id = (run / ID_FILE).read_text().strip()
    found, names = wandb_records(run)
    assert found == [(run_id, step) for step in (2, 4, 6, 8)]
    assert {"train/loss", "train/grad_norm", "train/param_norm", "train/tokens", "train/epoch"} <= names
    assert {"train/flops", "train/memory", "validation/loss"} <= names
    assert any(name.startswith("train/loss_by_level/") for name in names)

    for newest in run.glob("checkpoints/step-00000008"):
        shutil.rmtree(newest)
    resumed = lab.run("train", recipe, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert (run / ID_FILE).read_text().strip() == run_id
    found, _ = wandb_records(run)
    assert len(found) > 4 and {name for name, _ in found} == {run_id}


def test_wandb_that_is_not_installed_is_said_before_anything_is_written(lab, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'unmask\[wandb\]'"):
        train(lab.recipe("none", wandb="offline"))
    assert not (lab.folder / "none").exists()


def test_profile_traces_a_run(lab):
    train(lab.recipe("traced", profile=2, steps=6))
    names = [event.get("name") for event in json.loads((lab.folder / "traced" / TRACE_FILE).read_text())["traceEvents"]]
    assert names.count("Optimizer.step#AdamW.step") == 2
    assert "aten::mm" in names


def test_metrics_file_has_what_people_expect(lab):
    recipe = lab.recipe("metered", log_every=4, objective__random_length=0.0)
    train(recipe)
    lines = [json.loads(line) for line in (lab.folder / "metered" / "metrics.jsonl").read_text().splitlines()]
    lines = [line for line in lines if line["kind"] == "train"]
    assert [line["tokens"] for line in lines] == [4 * 4 * 16, 8 * 4 * 16, 12 * 4 * 16]
    for line in lines:
        assert any(value is not None for value in line["loss_by_level"])
        for name in ("loss", "grad_norm", "param_norm", "tokens", "epoch", "flops", "memory", "seconds"):
            assert line[name] > 0, name
