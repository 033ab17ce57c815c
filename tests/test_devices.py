"""Nothing is left on the CPU: training, decoding and likelihood on a pretend GPU, with the results of the CPU.

make test ARGS=tests/test_devices.py
UNMASK_TEST_DEVICE=cuda make test ARGS=tests/test_devices.py      (on a real GPU too)
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import unmask
from pretend_device import OnDevice, Strayed, pretend_device
from unmask.decoding import generate
from unmask.diffusion.objective import Objective
from unmask.diffusion.objective_config import ObjectiveConfig
from unmask.likelihood import corpus_bound, rolling
from unmask.model.config import ModelConfig
from unmask.model.folder import Model
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer
from unmask.model.visibility import keys, restarting_positions, segments
from unmask.training.distribution import Ranks
from unmask.training.optimizer import build_optimizer
from unmask.training.recipe_fields import OptimizerFields
from unmask.training.step import Engine

CONFIG = ModelConfig(n_layer=2, n_head=2, n_embd=16, vocab_size=257, block_size=48, eos_id=0)
NETWORKS = {kind: Transformer(replace(CONFIG, causal=kind == "arm"), seed=1) for kind in ("mdm", "arm")}
for network in NETWORKS.values():
    for weight in network.parameters():
        weight.data.mul_(2.5 if weight.ndim == 2 else 1.0)

RULES: list[dict[str, Any]] = [
    {"order": "ancestral", "steps": 5},
    {"order": "confidence", "quota": "threshold:0.4", "guidance": 0.7, "temperature": 0.8},
    {"order": "margin", "steps": 4, "top_k": 20, "top_p": [0.9, None], "guidance": [0.5, 0.0]},
    {"order": "entropy", "quota": "entropy-bounded:2", "block": 5, "cache": "dual:3"},
    {"order": "confidence", "quota": "klass:threshold=0.2,kl=0.5,history=1", "cache": "prefix", "block": 6},
    {"order": "confidence", "steps": 6, "revise": "p2:1", "cache": "reuse", "guidance": 1.0, "guidance_mode": "drop"},
    {"order": "confidence", "steps": 6, "revise": "edit:0.3", "order_noise": 0.5},
    {"order": "ancestral", "steps": 6, "revise": "remdm-conf", "eos": "stop", "negative": "No"},
    {"order": "confidence", "steps": 6, "pattern": "[a-f]+", "banned": [97], "temperature": 0.0},
]


def model(kind: str, dtype: torch.dtype = torch.float32) -> Model:
    return Model(copy.deepcopy(NETWORKS[kind]).hold(dtype).eval(), Tokenizer.plain_bytes())


def moved(found: Model) -> Model:
    return Model(found.network.to("cuda"), found.tokenizer)


@contextmanager
def real_device() -> Iterator[torch.device]:
    yield torch.device("cuda", 0)


Elsewhere = Callable[[], AbstractContextManager[torch.device]]
NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="UNMASK_TEST_DEVICE=cuda runs it on a GPU")


@pytest.fixture(params=[pytest.param(pretend_device, id="pretend"), pytest.param(real_device, id="gpu", marks=NO_GPU)])
def elsewhere(request: pytest.FixtureRequest) -> Elsewhere:
    return request.param


def test_the_pretend_device_tells_strayed_tensors_and_allows_what_cuda_allows() -> None:
    with pretend_device() as device:
        here, there = torch.ones(3), torch.ones(3, device=device)
        assert isinstance(there, OnDevice) and there.device == device and there.is_cuda and not here.is_cuda
        for mixed in (
            lambda: here + there,
            lambda: there.index_select(0, torch.zeros(1, dtype=torch.int64)),
            lambda: torch.cat([here, there]),
            lambda: here[there > 0],
            lambda: torch.where(here > 0, there, there),
            lambda: there.masked_fill(here > 0, 0.0),
        ):
            with pytest.raises(Strayed, match="a tensor of the CPU, .*, meets one of the device"):
                mixed()
        with pytest.raises(TypeError, match="numpy"):
            there.numpy()
        assert (there * torch.tensor(2.0)).cpu().tolist() == [2.0, 2.0, 2.0]
        assert there[torch.tensor([0, 2])].tolist() == [1.0, 1.0]
        assert float(there.sum()) == 3.0 and torch.equal(here.copy_(there).to(device), there)
        there[here > 0] = 5.0
        assert there.tolist() == [5.0] * 3 and torch.tensor([1, 2], device=device).tolist() == [1, 2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("rules", RULES, ids=lambda rules: "-".join(map(str, rules.values()))[:40])
def test_decoding_stays_on_the_device(rules: dict[str, Any], dtype: torch.dtype, elsewhere: Elsewhere) -> None:
    prompts, how = ["ab", "A longer one"], {"length": [11, 7], "seed": 3, **rules}
    if "negative" in how:
        how["guidance"] = 0.5
    here = generate(model("mdm", dtype), prompts, **how)
    with elsewhere():
        there = generate(moved(model("mdm", dtype)), prompts, **how)
    if dtype == torch.float32:
        assert [row.tokens for row in there] == [row.tokens for row in here]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_twin_stays_on_the_device(dtype: torch.dtype, elsewhere: Elsewhere) -> None:
    how: dict[str, Any] = {"length": [9, 3, 30, 5], "seed": 3, "temperature": [1.0, 0.0, 0.7, 1.3], "top_k": 30}
    prompts = ["ab", "A longer one", "", "x"]
    here = generate(model("arm", dtype), prompts, **how, pattern=["[a-z]+", None, None, None])
    with elsewhere():
        there = generate(moved(model("arm", dtype)), prompts, **how, pattern=["[a-z]+", None, None, None])
    if dtype == torch.float32:
        assert [row.tokens for row in there] == [row.tokens for row in here]


PAIRS = [("The state of ", "the Union"), ("The state of ", "play"), ("", "We"), ("Some ", "x")]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", ["mdm", "arm"])
def test_likelihood_stays_on_the_device(kind: str, dtype: torch.dtype, elsewhere: Elsewhere) -> None:
    windows = np.random.default_rng(0).integers(0, 257, (3, 20))

    def everything(found: Model) -> list[float]:
        guided = {} if kind == "arm" else {"guidance": 0.7}
        scores = [*unmask.score(found, PAIRS, draws=8, greedy=True, **guided)]
        scores += unmask.score(found, PAIRS, method="chain-rule")
        scores += unmask.score(found, PAIRS[1:2], until_se=3.0, max_draws=64) if kind == "mdm" else []
        numbers = [score.logprob for score in scores]
        numbers += [score.logprob for score in rolling(found, ["A text that is longer than the window. " * 2], 32, 4)]
        numbers += [corpus_bound(found, windows, draws=2).nats]
        return numbers + [float(one.matches) for one in unmask.greedy(found, PAIRS, whole=kind == "mdm")]

    here = everything(model(kind, dtype))
    with elsewhere():
        there = everything(moved(model(kind, dtype)))
    assert there == pytest.approx(here, rel=1e-5 if dtype == torch.float32 else 2e-2)


def packed(found: Model, tokens_BT: torch.Tensor, segments_BT: torch.Tensor) -> dict[str, Any]:
    sees = found.network.sees & segments(segments_BT) & keys(tokens_BT > 2)
    return {"positions_BT": restarting_positions(segments_BT), "sees": sees}


@pytest.mark.parametrize("kind", ["mdm", "arm"])
def test_packed_rows_stay_on_the_device(kind: str, elsewhere: Elsewhere) -> None:
    tokens_BT = torch.arange(24).view(2, 12)
    segments_BT = torch.tensor([[0] * 5 + [1] * 7, [0] * 12])
    found = model(kind)
    with torch.no_grad():
        here = found.network(tokens_BT, **packed(found, tokens_BT, segments_BT))
        with elsewhere() as device:
            placed = [x.to(device) for x in (tokens_BT, segments_BT)]
            there = moved(found).network(placed[0], **packed(found, *placed)).cpu()
    close = {"rtol": 1e-3, "atol": 1e-4} if elsewhere is real_device else {}  # another order of sums
    torch.testing.assert_close(there, here, **close)


@pytest.mark.parametrize("autocast", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("kind", ["mdm", "arm"])
def test_a_training_step_stays_on_the_device(kind: str, autocast: bool, elsewhere: Elsewhere) -> None:
    config = replace(NETWORKS[kind].config, block_size=12)
    tokens = np.random.default_rng(0).integers(0, 257, (8, 13))

    def step(device: torch.device) -> tuple[float, list[float]]:
        network = Transformer(config, seed=3).to(device)
        objective = Objective(ObjectiveConfig(kind=kind, random_length=0.5))
        parts = [objective.prepare(tokens[k], 7, k, config.mask_id) for k in np.arange(8).reshape(2, 4)]
        divisor = float(sum(part.n_tokens for part in parts))
        cast = torch.autocast(device.type, dtype=torch.bfloat16) if autocast else None
        optimizer = build_optimizer(network, OptimizerFields(lr=1e-2))
        engine = Engine(network, objective, optimizer, Ranks(device), autocast=cast)
        losses = []
        for _ in range(2):
            losses.append(engine.forward_backward([part.to(device) for part in parts], divisor).loss)
            losses.append(engine.update(1e-2))
        assert all(weight.device.type == device.type for weight in network.parameters())
        return losses[0], losses

    here = step(torch.device("cpu"))
    with elsewhere() as device:
        there = step(device)
    assert there[1] == pytest.approx(here[1], rel=2e-2 if autocast else 1e-4)
