"""The parts of a metrics line."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from unmask.diffusion.objective import Objective
from unmask.diffusion.objective_config import ObjectiveConfig
from unmask.training.distribution import Ranks
from unmask.training.loop import executed_flops, train
from unmask.training.metrics import LEVEL_BUCKETS, Clock, add_by_level, level_means, peak_memory
from unmask.training.setup import prepare


def test_losses_are_gathered_by_the_share_of_masks() -> None:
    total, count = [0.0] * LEVEL_BUCKETS, [0] * LEVEL_BUCKETS
    level_B = torch.tensor([0.0, 0.05, 0.31, 0.39, 0.999, 1.0, 0.7])
    ce_B = torch.tensor([1.0, 3.0, 2.0, 4.0, 5.0, 7.0, math.nan])  # nan: a sequence without a mask
    add_by_level(total, count, level_B, ce_B)
    assert count == [2, 0, 0, 2, 0, 0, 0, 0, 0, 2]
    assert level_means(total, count) == [2.0, None, None, 3.0, None, None, None, None, None, 6.0]


def test_time_left_is_that_of_the_whole_run_and_not_of_the_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is held up for a while moves the estimate by no more than what was lost."""
    now = [0.0]
    monkeypatch.setattr("unmask.training.metrics.time.monotonic", lambda: now[0])
    told, clock, steps = [], Clock(), 300
    for step in range(1, steps + 1):
        seconds = 60.0 if step == 1 else 14.0 if 150 < step <= 160 else 1.0  # it compiles; it is held up
        now[0] += seconds
        clock.step(seconds, 64, 1e6)
        if step % 10 == 0:
            assert (clock.tokens, clock.flops) == (640, 1e7)
            told.append(clock.left(steps - step))
            with clock.paused():  # a validation
                now[0] += 100
            assert clock.seconds == {10: 69.0, 160: 140.0}.get(step, 10.0), "without the pause"
            clock.restart()
    assert told[:15] == [steps - 10.0 * i for i in range(1, 16)], "exact while nothing happens, compilation left out"
    assert told[15] == pytest.approx(140 * (149 + 140) / 159), "the stall weighs what it took: 4:14 and not 32:40"
    assert all(b < a for a, b in zip(told[15:], told[16:], strict=False)) and told[-1] == 0


def test_the_first_step_tells_while_there_is_no_other() -> None:
    clock = Clock()
    assert clock.left(10) == 0
    clock.step(2.0, 1, 1.0)
    assert clock.left(10) == 20


def test_peak_memory_is_the_process_s_own_and_not_that_of_its_parent() -> None:
    ballast = torch.ones(100 << 20)  # 400 MiB here
    code = "import torch; from unmask.training.metrics import peak_memory; print(peak_memory(torch.device('cpu')))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    own = peak_memory(torch.device("cpu"))
    assert own > ballast.nbytes and int(found.stdout) < own - ballast.nbytes / 2


def shares(lab: Any, name: str, peak: float, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> list[float]:
    monkeypatch.setattr("unmask.training.loop.matmul_peak", lambda device, dtype: peak)
    run = Path(train(lab.recipe(name, log_every=1, **changes)).run)
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [record["matmul_peak_share"] for record in records if record["kind"] == "train"]


def test_no_share_of_the_peak_is_above_one(lab: Any, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    """The peak was measured while the machine was busy: the best seen since takes its place."""
    found = shares(lab, "busy", 1.0, monkeypatch)
    assert len(found) == 12 and max(found) == 1.0 and min(found) > 0
    assert " 100% of matmul peak" in capfd.readouterr().err


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_share_is_of_what_is_executed_and_the_budget_of_what_is_counted(
    lab: Any, monkeypatch: pytest.MonkeyPatch, checkpointing: bool
) -> None:
    """Padding of short samples is computed and not counted; the budget does not know of recomputation."""
    told: list[float] = []

    def tell(cost: Any, batch: Any) -> float:
        told.append(executed_flops(cost, batch))
        return told[-1]

    monkeypatch.setattr("unmask.training.loop.executed_flops", tell)
    changes = {"objective": {"masking": "fixed", "random_length": 0.5}, "activation_checkpointing": checkpointing}
    shares(lab, "run", 1e15, monkeypatch, **changes)
    setup = prepare(lab.recipe("other", **changes), torch.device("cpu"), Ranks(torch.device("cpu")))
    for step, flops in enumerate(told):
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            for part in map(setup.task.inputs, setup.share(setup.task.order(np.arange(4 * step, 4 * step + 4)))):
                Objective(ObjectiveConfig()).loss(setup.network, part).loss_sum.backward()
        assert flops == counter.get_total_flops()
