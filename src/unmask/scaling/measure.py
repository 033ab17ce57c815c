"""How fast a shape trains here: real steps of its recipe for some seconds, nothing written.

tokens_per_second(recipe, seconds=5.0)
"""

from __future__ import annotations

import time

import torch

from unmask.diffusion.objective import Objective
from unmask.terminal import say
from unmask.training.distribution import Ranks
from unmask.training.optimizer import build_optimizer
from unmask.training.recipe import Recipe
from unmask.training.setup import autocast_for, choose_device, compile_layers, prepare
from unmask.training.step import Engine
from unmask.training.task import Ahead

WARM = 3  # steps before the clock starts


def tokens_per_second(recipe: Recipe, seconds: float) -> float:
    """Raises `UserError` as training would."""
    before = torch.get_num_threads()
    torch.set_num_threads(recipe.threads or before)
    try:
        device = choose_device(recipe.device)
        with Ranks(device) as ranks:
            setup = prepare(recipe, device, ranks)
            if recipe.compile:
                compile_layers(setup.network, say)
            engine = Engine(
                setup.network, Objective(recipe.objective), build_optimizer(setup.network, recipe.optimizer), ranks,
                autocast=autocast_for(recipe.precision, device), clip=recipe.optimizer.clip,
            )  # fmt: skip
            with Ahead(setup.task, recipe.batch_size, setup.share, device) as ahead:
                return _timed(engine, ahead, seconds)
    finally:
        torch.set_num_threads(before)


def _timed(engine: Engine, ahead: Ahead, seconds: float) -> float:
    step, tokens, began = 0, 0, 0.0
    while True:
        batch = ahead.step(step)
        engine.forward_backward(batch.parts, batch.divisor)
        engine.update(0.0)
        step += 1
        if step == WARM:
            began = time.perf_counter()
        elif step > WARM:
            tokens += batch.n_tokens
            if (spent := time.perf_counter() - began) >= seconds:
                return tokens / spent
