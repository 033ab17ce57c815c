"""Weights & Biases without a network, the trace of a run, and the metrics people expect."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
import types

import pytest

from unmask.errors import UserError
from unmask.training.loop import train
from unmask.training.metrics import Metrics
from unmask.training.tracking import ID_FILE, TRACE_FILE, WandbRun


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


@pytest.mark.slow
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


FULL = """
import sys, builtins
from unmask.cli import main
from unmask.training import tracking
# A disk that is full for one file alone, from its third record on.
write, counts = tracking.Appending.write, {}
class Full:
    def __init__(self, file): self.file = file
    def write(self, data): raise OSError(28, "No space left on device")
    def close(self): self.file.close()
def third(self, record):
    name = self._path.name
    counts[name] = counts.get(name, 0) + 1
    if sys.argv[1] in name and counts[name] == 3:
        self._file = Full(self._file)
    write(self, record)
tracking.Appending.write = third
main(sys.argv[2:])
"""


@pytest.mark.parametrize("what", ["metrics.jsonl", "tfevents"])
def test_a_disk_that_is_full_while_it_trains_is_one_line(lab, what):
    script = lab.folder / "full.py"
    script.write_text(FULL)
    command = [*lab.command()[:1], str(script), what, "train", str(lab.file("run", log_every=1))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    told = [line for line in done.stderr.splitlines() if "cannot be written" in line]
    assert done.returncode == 2 and len(told) == 1 and "Traceback" not in done.stderr, done.stderr
    assert told[0].startswith("unmask: error: ") and what in told[0]
    assert told[0].endswith(": No space left on device; free space, then go on with --resume")
    train(lab.recipe("run", log_every=1), resume=True)
    lines = [json.loads(line) for line in (lab.folder / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "train"] == list(range(1, 13))


def test_a_real_limit_in_a_real_process_is_one_line(lab):
    """Files of at most 40 kB: metrics and TensorBoard grow into it, and from Python it is a `UserError` as well."""
    wide = {"log_every": 1, "steps": 400, "checkpoint__every": 400, "validation__every": 400}
    done = lab.run("train", lab.file("run", **wide), largest_file=40_000)
    assert done.returncode == 2 and "Traceback" not in done.stderr and "Exception" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("unmask: error: ") and "File too large" in done.stderr


@pytest.mark.parametrize("break_it", ["metrics.jsonl", "tensorboard", "trace.json"])
def test_what_cannot_be_opened_is_a_user_error(lab, break_it):
    recipe = lab.recipe("run", profile=1, steps=6)
    train(lab.recipe("run", profile=0, steps=6))
    for folder in (lab.folder / "run" / "checkpoints").iterdir():
        shutil.rmtree(folder)
    place = lab.folder / "run" / break_it
    if place.is_dir():
        shutil.rmtree(place)
        place.write_text("")
    else:
        place.unlink(missing_ok=True)
        place.mkdir()
    with pytest.raises(UserError, match=f"{place}.*(cannot be|is a folder)"):
        train(recipe, resume=True)


def test_any_other_full_disk_is_a_user_error_from_python(lab, monkeypatch):
    def full(text):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Metrics, "say", lambda self, text: full(text))  # stderr goes into a file
    with pytest.raises(UserError, match="a file cannot be written: No space left on device; free space"):
        train(lab.recipe("run"))


def test_a_trace_that_had_no_room_is_not_left_half_written(lab):
    done = lab.run("train", lab.file("run", profile=2, steps=6, checkpoint__every=6), largest_file=30_000)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("unmask: error: ")]
    assert len(told) == 1 and "trace.json cannot be written" in told[0], done.stderr
    assert not [p.name for p in (lab.folder / "run").iterdir() if "trace" in p.name]


def test_tensorboard_reads_what_was_written(lab):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train(lab.recipe("run", log_every=2, steps=8, checkpoint__every=4))
    shutil.rmtree(lab.folder / "run" / "checkpoints" / "step-00000008")
    train(lab.recipe("run", log_every=2, steps=8, checkpoint__every=4), resume=True)
    found = event_accumulator.EventAccumulator(str(lab.folder / "run" / "tensorboard"))
    found.Reload()
    assert [event.step for event in found.Scalars("train/loss")] == [2, 4, 6, 8]
    lines = [json.loads(line) for line in (lab.folder / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    assert [event.value for event in found.Scalars("train/loss")] == pytest.approx(losses, rel=1e-6)
    assert [event.step for event in found.Scalars("validation/se")] == list(range(1, 9))


def test_the_id_of_a_wandb_run_that_was_cut_short_is_made_anew(lab, monkeypatch):
    asked = []

    class Fake(types.ModuleType):
        class errors:
            Error = RuntimeError

        @staticmethod
        def Settings(**_):
            return None

        @staticmethod
        def init(**fields):
            asked.append(fields["id"])

    monkeypatch.setitem(sys.modules, "wandb", Fake("wandb"))
    for text in (None, "", "\n", "abcd1234\n"):
        if text is not None:
            (lab.folder / ID_FILE).write_text(text)
        WandbRun(lab.folder, "offline", {})
        assert (lab.folder / ID_FILE).read_text().strip() == asked[-1] and len(asked[-1]) == 8
    assert asked[-1] == "abcd1234" and len({*asked}) == 4
