"""One arm of a benchmark in a process of its own, alive until told to end, so that its peak memory is its own.

    python -m unmask.bench.train.worker '{"arm": "ours", "recipe": {...}}'

Takes ``{"steps": 3}`` lines on stdin and answers each with one JSON line on stdout: seconds, tokens, FLOPs needed,
seconds waited for data, the losses, this machine's matmul peak just before (or that alone: ``{"peak": true}``), peak
memory. A later version of `unmask bench train` may ask an earlier one's worker. Under RANK and WORLD_SIZE it
is one of several that train together.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import ExitStack
from typing import Any

import torch

from unmask.bench.train.arms import Arm, Tally, build_arm, exactness_seconds
from unmask.bench.train.profile import phases, profile
from unmask.errors import UserError
from unmask.model.fp32_products import WIDE, quick_products
from unmask.model.placement import choose_device
from unmask.terminal import say
from unmask.training.distribution import Ranks
from unmask.training.metrics import matmul_peak, peak_memory
from unmask.training.recipe import build
from unmask.training.recipe_fields import Recipe
from unmask.training.trial import answers_alone


def turn(arm: Arm, first: int, steps: int) -> dict[str, Any]:
    """Runs steps first .. first + steps - 1 and says what they took."""
    peak = peak_of(arm)
    arm.tally = Tally()
    started = time.perf_counter()
    losses = [arm.step(first + index) for index in range(steps)]
    if arm.device.type == "cuda":
        torch.cuda.synchronize(arm.device)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, **vars(arm.tally), "losses": losses, "peak": peak, "memory": peak_memory(arm.device)}


def peak_of(arm: Arm) -> float:
    """FLOP/s of products in the arm's type, now."""
    return matmul_peak(arm.device, torch.bfloat16 if isinstance(arm.autocast, torch.autocast) else torch.float32)


def main() -> None:
    answer = answers_alone()
    spec = json.loads(sys.argv[1])
    try:
        recipe: Recipe = build(Recipe, spec["recipe"], "")
        torch.set_num_threads(recipe.threads)
        device = choose_device(recipe.device, int(os.environ.get("LOCAL_RANK", 0)))
        bare = peak_memory(device)
        with Ranks(device) as ranks, ExitStack() as settings:
            arm = build_arm(spec["arm"], recipe, device, ranks, say)
            ours = spec["arm"] == "ours" and device.type == "cpu"
            settings.enter_context(quick_products(ours and arm.config.n_embd >= WIDE))
            answer(bare=bare, exactness=exactness_seconds(arm), parameters=arm.config.n_params, device=str(device))
            step = 0
            for line in sys.stdin:
                asked = json.loads(line)
                if "peak" in asked:
                    answer(peak=peak_of(arm))
                elif "profile" in asked:
                    answer(phases=phases(arm, step), **profile(arm, step, asked["profile"]))
                else:
                    answer(**turn(arm, step, asked["steps"]))
                    step += asked["steps"]
            arm.close()
    except UserError as error:
        answer(error=str(error))


if __name__ == "__main__":
    main()
