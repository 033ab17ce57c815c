"""The command lines of all benchmarks: bad input is one line, a type or a device is asked for as `unmask` does."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.command import begin
from unmask.bench import MOVED
from unmask.model.folder import Model
from unmask.options import Options, parser

ROOT = Path(__file__).resolve().parents[2]
ASKED = {"engine": [], "likelihood": ["RUN"], "estimators": ["RUN", "--data", "RUN"], "llama": ["RUN"]}


def options(name: str) -> type[Options]:
    if name == "llama":
        pytest.importorskip("lm_eval")
    module = importlib.import_module(f"benchmarks.{name}")
    (found,) = [cls for cls in vars(module).values() if isinstance(cls, type) and cls.__module__ == module.__name__
                and issubclass(cls, Options)]  # fmt: skip
    return found


def refused(name: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        begin(options(name), name, words)
    shown = capsys.readouterr()
    lines = [line for line in shown.err.splitlines() if line.startswith("unmask: error: ")]
    assert ended.value.code == 2 and shown.out == "" and len(lines) == 1
    return lines[0]


def test_what_moved_is_there_and_is_told_of() -> None:
    assert set(MOVED.values()) == set(ASKED)
    told = (ROOT / "benchmarks" / "README.md").read_text()
    assert all(f"python -m benchmarks.{name}" in told for name in ASKED)


@pytest.mark.parametrize("name", ASKED)
def test_help_says_something_of_every_option(name: str) -> None:
    made = parser(options(name), f"python -m benchmarks.{name}")
    assert not re.search(r"\(default: (True|False|None|\[\]|)\)", made.format_help())
    assert options(name).__doc__ and all(action.help for action in made._actions)


@pytest.mark.parametrize("name", ASKED)
def test_a_device_or_a_type_that_is_not_there_is_one_line(
    name: str, model: Model, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    words = [word.replace("RUN", str(model.path)) for word in ASKED[name]]
    why = "device is cuda:7, but PyTorch sees no CUDA device; give cpu or auto"
    assert why in refused(name, [*words, "--device", "cuda:7"], capsys)
    assert "dtype is 'bf61' (did you mean 'bf16'?)" in refused(name, [*words, "--dtype", "bf61"], capsys)


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("engine", ["--size", "7M"], "--size 7M is neither a preset"),
        ("engine", ["--raunds", "3"], "unknown argument --raunds (did you mean '--rounds'?)"),
        ("likelihood", [], "the following arguments are required: RUN"),
        ("likelihood", ["nowhere"], "nowhere does not exist"),
        ("estimators", ["nowhere", "--data", "x", "--length", "30"], "length is 30; give 2 to 12"),
        ("llama", ["nowhere", "--items", "1"], "items is 1 and rounds 4"),
    ],
)
def test_bad_input(name: str, words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in refused(name, words, capsys)


def test_a_benchmark_is_a_process(tmp_path: Path) -> None:
    """As its command: results on stdout, the file beside them."""
    words = "--size 1x2x16 --vocab 50 --length 8 --steps 4 --rounds 1 --no-grid --threads 1 --json"
    command = [sys.executable, "-m", "benchmarks.engine", *words.split(), "--out", str(tmp_path / "e.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    assert result["kind"] == "unmask-bench-engine" and [row["steps"] for row in result["samplers"]] == [4, 4]
    assert json.loads((tmp_path / "e.json").read_text()) == result
    assert "round 1 of 1" in done.stderr
