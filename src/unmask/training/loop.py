"""The training loop, readable top to bottom.

    unmask train recipes/demo-mdm.yaml --out runs/mdm
    unmask train recipes/demo-mdm.yaml --out runs/mdm --resume

Sample k of a run, its noise and its length are functions of (seed, k), so stopping (SIGTERM, Ctrl-C, kill -9) and
resuming gives the same weights, bit for bit, at the same threads, micro-batch and compile setting. The loss of a step
is the sum over its batch divided by the batch's target tokens, whatever the micro-batch.
"""

from __future__ import annotations

import math
import shutil
import signal
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

from unmask.data.shards import TokenData
from unmask.diffusion.objective import Objective
from unmask.errors import UserError
from unmask.model.config import ModelConfig
from unmask.model.flops import training_flops_per_token
from unmask.model.folder import Model
from unmask.model.presets import mean_length, preset, training_steps
from unmask.model.transformer import Transformer
from unmask.training.batches import Batches
from unmask.training.checkpoint import TrainState, newest_checkpoint, save_checkpoint
from unmask.training.metrics import LEVEL_BUCKETS, Metrics, add_by_level, level_means, matmul_peak, peak_memory
from unmask.training.optimizer import (
    build_optimizer,
    gradient_norm,
    learning_rate,
    set_learning_rate,
    update_average,
)
from unmask.training.recipe import Recipe
from unmask.training.run_folder import RunFolder
from unmask.training.validation import validate, validation_windows


@dataclass
class Result:
    """What a call of `train` did."""

    run: str
    step: int
    steps: int
    tokens: int
    flops: float
    seconds: float
    skipped: int
    validation: dict[str, Any] | None
    signal: int = 0  # the signal that stopped it early

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


def model_config(recipe: Recipe, vocab_size: int, eos_id: int | None) -> ModelConfig:
    """The model of a recipe over the vocabulary of its data."""
    fields = recipe.model
    shared = {"block_size": recipe.context, "eos_id": eos_id, "rope_base": fields.rope_base}
    shared |= {"norm_eps": fields.norm_eps, "tie_embeddings": fields.tie_embeddings}
    given = {
        name: getattr(fields, name)
        for name in ("n_layer", "n_head", "n_embd", "n_kv_head", "intermediate_size")
        if getattr(fields, name)
    }
    causal = recipe.objective.kind == "arm"
    if fields.size is not None:
        return preset(fields.size, vocab_size=vocab_size, causal=causal, **shared, **given)
    return ModelConfig.from_dict({**shared, **given, "vocab_size": vocab_size, "causal": causal})


def planned_steps(recipe: Recipe, config: ModelConfig) -> tuple[int, float]:
    """Steps that spend the budget, and the FLOPs of one trained token by the recipe's rule."""
    share = recipe.objective.head_share(recipe.context)
    per_token = training_flops_per_token(config, recipe.context, share, recipe.flops_rule)
    length = mean_length(recipe.context, recipe.objective.random_length)
    if recipe.steps:
        return recipe.steps, per_token
    if recipe.tokens:
        return max(1, int(recipe.tokens / (recipe.batch_size * length))), per_token
    return training_steps(recipe.flops, per_token / 6, recipe.batch_size, length), per_token


def train(recipe: Recipe, resume: bool = False) -> Result:
    """Runs a recipe to its budget, or until SIGTERM or SIGINT, which saves a checkpoint first."""
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    device = choose_device(recipe.device)
    data, held_out = TokenData(recipe.data, "train"), TokenData(recipe.data, "validation")
    config = model_config(recipe, data.vocab_size, data.eos_id)
    batches = Batches(recipe, data, config)
    windows_NT = validation_windows(held_out, recipe.context, recipe.validation.windows)
    tokenizer = data.tokenizer()
    steps, flops_per_token = planned_steps(recipe, config)

    with RunFolder.open(recipe, resume) as run, StopSignals() as stop:
        network = Transformer(config, seed=recipe.seed).to(device)
        average = {k: v.clone() for k, v in network.state_dict().items()} if recipe.ema else None
        state = TrainState(network, build_optimizer(network, recipe.optimizer), average=average)
        if resume and (checkpoint := newest_checkpoint(run.path)) is not None:
            state.restore(checkpoint)
        metrics = Metrics(run.path, steps, state.progress.step)
        try:
            describe(metrics, recipe, config, batches, state, steps, flops_per_token)
            validation = _run(
                recipe, run.path, state, batches, windows_NT, tokenizer, metrics, stop, steps, flops_per_token
            )
        finally:
            metrics.close()
    done = state.progress
    return Result(
        str(run.path), done.step, steps, done.tokens, done.flops, done.seconds, done.skipped, validation, stop.signal
    )


def _run(
    recipe: Recipe,
    run: Path,
    state: TrainState,
    batches: Batches,
    windows_NT: np.ndarray,
    tokenizer: Any,
    metrics: Metrics,
    stop: StopSignals,
    steps: int,
    flops_per_token: float,
) -> dict[str, Any] | None:
    """Steps from where `state` is to the last; returns the last validation."""
    network, optimizer, progress = state.network, state.optimizer, state.progress
    device = network.embedding.weight.device
    objective, autocast = Objective(recipe.objective), autocast_for(recipe.precision, device)
    peak = matmul_peak(device, torch.bfloat16 if isinstance(autocast, torch.autocast) else torch.float32)
    validate_every = recipe.validation.every or max(1, steps // 10)
    save_every = recipe.checkpoint.every or max(1, steps // 10)
    micro = recipe.micro_batch or recipe.batch_size
    if recipe.compile:
        compile_hidden(network, metrics)
    validation: dict[str, Any] | None = None
    timed_tokens, timed_from = 0, time.monotonic()
    saved = progress.step

    while progress.step < steps and not stop.signal:
        started = time.monotonic()
        k = np.arange(progress.step * recipe.batch_size, (progress.step + 1) * recipe.batch_size)
        parts = [batches.inputs(part).to(device) for part in k.reshape(-1, micro)]
        n_tokens = sum(part.n_tokens for part in parts)
        rate = learning_rate(progress.step, steps, recipe.optimizer)
        set_learning_rate(optimizer, rate)

        loss = 0.0
        for inputs in parts:
            with autocast:
                outcome = objective.loss(network, inputs)
            (outcome.loss_sum / n_tokens).backward()
            loss += float(outcome.loss_sum.detach()) / n_tokens
            add_by_level(progress.level_total, progress.level_count, inputs.level_B, outcome.ce_B)
        norm = gradient_norm(network, recipe.optimizer.clip)
        if math.isfinite(norm) and math.isfinite(loss):
            optimizer.step()
            progress.skipped_in_a_row = 0
            progress.window_loss += loss * n_tokens
            progress.window_tokens += n_tokens
            if state.average is not None:
                update_average(state.average, network, recipe.ema, progress.step)
        else:
            progress.skipped += 1
            progress.skipped_in_a_row += 1
        optimizer.zero_grad(set_to_none=True)

        progress.step += 1
        progress.tokens += n_tokens
        progress.flops += n_tokens * flops_per_token
        progress.seconds += time.monotonic() - started
        timed_tokens += n_tokens
        if progress.skipped_in_a_row >= recipe.max_skipped:
            last = newest_checkpoint(run)
            raise UserError(
                f"the gradient was not finite for {progress.skipped_in_a_row} steps in a row (step {progress.step}, "
                f"optimizer.lr {recipe.optimizer.lr}); lower optimizer.lr; last good checkpoint: {last or 'none yet'}"
            )

        last_step = progress.step == steps
        if progress.step % recipe.log_every == 0 or last_step:
            per_second = timed_tokens / max(1e-9, time.monotonic() - timed_from)
            mean_loss = progress.window_loss / progress.window_tokens if progress.window_tokens else None
            share = per_second * flops_per_token / peak if recipe.flops_rule == "exact" else None
            metrics.write(
                "train",
                step=progress.step,
                loss=mean_loss,
                loss_by_level=(
                    level_means(progress.level_total, progress.level_count) if recipe.objective.kind == "mdm" else None
                ),
                lr=rate,
                grad_norm=norm if math.isfinite(norm) else None,
                tokens=progress.tokens,
                epoch=(progress.step * recipe.batch_size) / batches.n_windows,
                flops=progress.flops,
                skipped=progress.skipped,
                seconds=round(progress.seconds, 3),
                tokens_per_second=round(per_second, 1),
                matmul_peak_share=share and round(share, 4),
                memory=peak_memory(device),
            )
            left = (steps - progress.step) * recipe.batch_size * recipe.context / per_second
            metrics.line(progress.step, mean_loss, per_second, share, left, progress.skipped)
            progress.window_loss, progress.window_tokens = 0.0, 0
            progress.level_total, progress.level_count = [0.0] * LEVEL_BUCKETS, [0] * LEVEL_BUCKETS
            timed_tokens, timed_from = 0, time.monotonic()
        if progress.step % validate_every == 0 or last_step:
            paused = time.monotonic()
            validation = validate_now(state, windows_NT, recipe)
            metrics.write(
                "validation", step=progress.step, seconds=round(progress.seconds, 3), flops=progress.flops, **validation
            )
            metrics.say(
                f"step {progress.step} | validation {validation['loss']:.4f} nats/token (se {validation['se']:.4f})"
            )
            timed_from += time.monotonic() - paused
        if progress.step % save_every == 0 or last_step:
            paused = time.monotonic()
            save_checkpoint(run, state, tokenizer, recipe.checkpoint.keep)
            saved = progress.step
            timed_from += time.monotonic() - paused
    if stop.signal:
        if saved != progress.step:
            save_checkpoint(run, state, tokenizer, recipe.checkpoint.keep)
        metrics.say(f"stopped by signal {stop.signal} after step {progress.step}; saved, go on with --resume")
    return validation


def validate_now(state: TrainState, windows_NT: np.ndarray, recipe: Recipe) -> dict[str, Any]:
    """Validation of the weights a checkpoint would hold."""
    network = state.network
    raw = None
    if state.average is not None:
        raw = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        network.load_state_dict(state.average)
    network.eval()
    try:
        return validate(Model(network), windows_NT, recipe.validation)
    finally:
        network.train()
        if raw is not None:
            network.load_state_dict(raw)


def describe(
    metrics: Metrics,
    recipe: Recipe,
    config: ModelConfig,
    batches: Batches,
    state: TrainState,
    steps: int,
    per_token: float,
) -> None:
    """What is about to run, before the first step."""
    tokens = steps * recipe.batch_size * recipe.context
    bound = "" if recipe.objective.is_bound else ", loss is unweighted cross-entropy: not a bound"
    metrics.say(
        f"{config.kind} of {config.n_params_non_embedding:,} non-embedding parameters ({config.n_params:,} in all), "
        f"{steps} steps of {recipe.batch_size} x {recipe.context} tokens, {tokens * per_token:.3g} FLOPs "
        f"({recipe.flops_rule}), {steps * recipe.batch_size / batches.n_windows:.2f} epochs{bound}"
    )
    if state.progress.step >= steps:
        metrics.say(f"{recipe.out} is already at step {state.progress.step} of {steps}; nothing to do")
    elif state.progress.step:
        metrics.say(f"resumed at step {state.progress.step}")


def choose_device(name: str) -> torch.device:
    """The device of a recipe; `auto` takes CUDA where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"device is {name!r}; give auto, cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError("device is cuda, but PyTorch sees no CUDA device; give cpu or auto")
    return device


def autocast_for(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """bf16 autocast where asked for or, by default, on CUDA: bf16 on most CPUs is many times slower than fp32."""
    if precision == "bf16" or (precision == "auto" and device.type == "cuda"):
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def compile_hidden(network: Transformer, metrics: Metrics) -> None:
    """`torch.compile` on the layers; the head's row count changes every step and stays eager."""
    if shutil.which("g++") is None and shutil.which("clang++") is None and not torch.cuda.is_available():
        metrics.say("warning: no C++ compiler found, so compile: true runs eagerly")
        return
    for layer in network.layers:
        layer.compile()


class StopSignals:
    """While open, SIGTERM and SIGINT ask the loop to stop after its step; a second one of a kind acts at once."""

    def __init__(self) -> None:
        self.signal = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        signal.signal(number, self._before[number])
        print("stopping after this step", file=sys.stderr, flush=True)

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
