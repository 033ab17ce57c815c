"""The paper's 30 sizes, to the last parameter, and its step rule (arXiv 2410.18514 and its public code)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from unmask.errors import UserError
from unmask.model.presets import PRESETS, mean_length, preset, training_steps, warmup_steps
from unmask.model.transformer import Transformer

# Non-embedding parameters in millions, as published.
PUBLISHED = {
    **{"6M": 6.294784, "19M": 18.880896, "34M": 33.563136, "48M": 47.786688, "66M": 65.54944, "85M": 85.21408},
    **{"75M": 75.38752, "113M": 113.265408, "142M": 141.581568, "170M": 169.897728, "180M": 179.856768},
    **{"206M": 205.550464, "231M": 231.24416, "268M": 268.469248, "302M": 302.027776, "336M": 335.586304},
    **{"472M": 471.90656, "551M": 550.55744, "571M": 571.001728, "629M": 629.20832, "666M": 666.168448},
    **{"717M": 717.285888, "761M": 761.335168, "831M": 830.541312, "944M": 943.796736, "1028M": 1027.677952},
    **{"1233M": 1233.213184, "1476M": 1476.487168, "1678M": 1677.826048, "2121M": 2121.39328},
}


def test_presets_are_the_thirty_of_the_paper() -> None:
    assert len(PRESETS) == 30 and set(PRESETS) == set(PUBLISHED)


@pytest.mark.parametrize("causal", [False, True], ids=["mdm", "arm"])
@pytest.mark.parametrize("name", PUBLISHED)
def test_presets_have_the_published_counts(name: str, causal: bool) -> None:
    """The formula and a real module (on the meta device) agree with the published count."""
    config = preset(name, causal=causal)
    assert config.n_params_non_embedding == round(PUBLISHED[name] * 1e6)
    rows = 2 * config.vocab_size + (0 if causal else 1)
    assert config.n_params == config.n_params_non_embedding + rows * config.n_embd
    with torch.device("meta"):
        network = Transformer(config)
    counts = {name: weight.numel() for name, weight in network.named_parameters()}
    assert sum(counts.values()) == config.n_params
    assert config.n_params - counts["embedding.weight"] - counts["output.weight"] == config.n_params_non_embedding
    assert (config.vocab_size, config.block_size, config.mask_id) == (32000, 2048, None if causal else 32000)
    assert config.head_dim == (80 if name == "75M" else 128 if config.n_params_non_embedding > 400e6 else 64)


@pytest.mark.parametrize(
    ("name", "flops", "batch", "random_length", "steps", "warmup"),
    [
        ("170M", 10e18, 256, 0.0, 18710, 187),
        ("1028M", 100e18, 256, 0.0, 30932, 309),
        ("170M", 60e18, 256, 0.01, 112828, 1128),
        ("1028M", 3300e18, 1024, 0.01, 256478, 2564),
    ],
)
def test_presets_golden_step_counts(
    name: str, flops: float, batch: int, random_length: float, steps: int, warmup: int
) -> None:
    length = mean_length(2048, random_length)
    assert training_steps(flops, preset(name).n_params_non_embedding, batch, length) == steps
    assert warmup_steps(steps) == warmup


def test_short_runs() -> None:
    assert training_steps(1.0, 1e9, 256) == 1
    assert warmup_steps(50) == 100
    assert mean_length(2048, 0.01) == pytest.approx(2048 * 0.99 + 1024.5 * 0.01)


def test_presets_take_fields_and_know_their_names() -> None:
    config = preset("6M", vocab_size=300, block_size=64, n_layer=2, tie_embeddings=True)
    assert (config.n_layer, config.n_head, config.n_embd, config.vocab_size) == (2, 4, 256, 300)
    with pytest.raises(UserError, match=r"'7M' is not a preset.*presets: 6M, 19M"):
        preset("7M")
    with pytest.raises(UserError, match=r"model.n_layers is not a field of the model \(did you mean 'n_layer'"):
        preset("6M", n_layers=2)


def test_presets_stand_in_the_docs(root: Path) -> None:
    rows = re.findall(r"^\| `(\d+M)` \| (.+) \|$", (root / "docs" / "models.md").read_text(), re.M)
    assert [name for name, _ in rows] == list(PRESETS)
    for name, cells in rows:
        mdm, arm = preset(name), preset(name, causal=True)
        shape = [mdm.n_layer, mdm.n_head, mdm.n_embd, mdm.intermediate_size]
        counts = [mdm.n_params_non_embedding, mdm.n_params, arm.n_params]
        assert [int(cell.replace(",", "")) for cell in cells.split(" | ")] == shape + counts
