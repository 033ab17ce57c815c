"""Compiling once, and keeping it."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters

from unmask.diffusion.objective import Objective
from unmask.diffusion.objective_config import ObjectiveConfig
from unmask.model.config import ModelConfig
from unmask.model.transformer import Transformer
from unmask.training import compiling
from unmask.training.setup import compile_layers

CONFIG = ModelConfig(n_layer=3, n_head=2, n_embd=16, vocab_size=50, block_size=24)


@pytest.fixture
def fresh_compiler() -> object:
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
@pytest.mark.parametrize("widest", [pytest.param(96, id="whole"), pytest.param(0, id="layer by layer")])
def test_nothing_is_compiled_anew_as_masks_change(
    fresh_compiler: object, widest: int, backend: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Twelve steps, each with another number of masks: the graphs of the first three are enough for the rest.

    Which graphs there are is the same whatever makes code of them: `aot_eager` makes none, and is quick.
    """
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    monkeypatch.setattr(compiling, "WIDEST", widest)
    monkeypatch.delenv(compiling.VARIABLE, raising=False)
    monkeypatch.setenv("UNMASK_CACHE", str(tmp_path))
    eager, network = Transformer(CONFIG, seed=0), Transformer(CONFIG, seed=0)
    said: list[str] = []
    compile_layers(network, said.append)
    if said:
        pytest.skip(said[0])
    objective = Objective(ObjectiveConfig(masking="fixed", random_length=0.0))
    windows = np.random.default_rng(0).integers(0, 50, (4, 25))
    counts, graphs = [], []
    for step in range(12):
        inputs = objective.prepare(windows, 0, np.arange(4 * step, 4 * step + 4), CONFIG.mask_id)
        for model in (network, eager):
            model.zero_grad()
            objective.loss(model, inputs, 1 / 96).loss_sum.backward()
        for ours, theirs in zip(network.parameters(), eager.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-5, rtol=1e-4)
        counts.append(len(inputs.positions_N))
        graphs.append(counters["stats"]["unique_graphs"])
    assert len(set(counts)) > 4
    assert graphs[0] > 0, "nothing was compiled"
    assert graphs[-1] == graphs[2]
    assert not counters["graph_break"]
    assert os.environ[compiling.VARIABLE] == str(tmp_path / "compiled")
    assert any((tmp_path / "compiled").iterdir()) or backend != "inductor"
    assert compiling.fits(network) == bool(widest)
    with torch.no_grad():  # as it is
        torch.testing.assert_close(network(inputs.tokens_BT), eager(inputs.tokens_BT))
    assert counters["stats"]["unique_graphs"] == graphs[-1] or not widest


def test_a_run_that_compiles_nothing_imports_no_compiler(lab: Any) -> None:
    """Nor what shards: each takes longer to import than such a run to train."""
    code = "import sys; from unmask.cli import run; run(sys.argv[1:]); "
    code += "print(*{'torch._dynamo', 'torch.distributed.tensor', 'torch.distributed.checkpoint'} & set(sys.modules))"
    words = ["train", str(lab.file("light", steps=2, ema=0.9)), "--json"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "", done.stdout + done.stderr


def test_a_folder_that_cannot_be_written_leaves_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(compiling.VARIABLE, raising=False)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("UNMASK_CACHE", str(tmp_path / "file" / "folder"))
    assert compiling.keep_compiled() is None and compiling.VARIABLE not in os.environ
    monkeypatch.setenv(compiling.VARIABLE, str(tmp_path))
    assert compiling.keep_compiled() == tmp_path
