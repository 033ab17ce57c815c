"""What a run is set up with: compiled layers that stay compiled as masks change."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters

from unmask.diffusion.objective import Objective, ObjectiveConfig
from unmask.model.config import ModelConfig
from unmask.model.transformer import Transformer
from unmask.training.setup import compile_layers

CONFIG = ModelConfig(n_layer=3, n_head=2, n_embd=16, vocab_size=50, block_size=24)


@pytest.fixture
def fresh_compiler() -> object:
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def test_nothing_is_compiled_anew_as_masks_change(fresh_compiler: object) -> None:
    """Twelve steps, each with another number of masks: the graphs of the first three are enough for the rest."""
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
