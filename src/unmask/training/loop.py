"""The training loop, readable top to bottom.

    unmask train demo-mdm --data data/sotu --out runs/mdm
    unmask train runs/mdm --resume
    torchrun --nproc-per-node 2 -m unmask train demo-mdm --data data/sotu --out runs/mdm

Sample k of a run, its noise and its length are functions of (seed, k), so stopping (SIGTERM, Ctrl-C, kill -9) and
resuming gives the same weights, bit for bit, at the same ranks, threads, micro-batch and compile setting, and the same
samples at any others. The loss of a step is the sum over its batch divided by the batch's target tokens.
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

from unmask.diffusion.objective import Objective
from unmask.errors import UserError
from unmask.files import NO_ROOM, REFUSED
from unmask.model.flops import StepCost
from unmask.model.folder import Model
from unmask.model.fp32_products import WIDE, quick_products
from unmask.model.lora import adapter_metadata, merged_weights
from unmask.model.placement import choose_device
from unmask.statistics import ci_text
from unmask.terminal import say, terminals
from unmask.training.checkpoint import TrainState, Writer, newest_checkpoint, restore
from unmask.training.compiling import eagerly
from unmask.training.distribution import LAUNCHER_GONE, Ranks, reshard, shard
from unmask.training.fork import FORK, refuse_damage, take_up
from unmask.training.metrics import LEVEL_BUCKETS, Clock, Metrics, Silence, level_means, matmul_peak, peak_memory
from unmask.training.optimizer import build_optimizer, learning_rate, parameter_norm, update_average
from unmask.training.precision import PRECISION, Choice, as_record, autocast_for, choice_of, keep_choice
from unmask.training.recipe_fields import Recipe
from unmask.training.record import keep, refuse_extension
from unmask.training.run_folder import RunFolder
from unmask.training.setup import Setup, compile_layers, prepare
from unmask.training.step import SIGNALS, Engine
from unmask.training.task import Ahead, Batch
from unmask.training.tracking import Trace, WandbRun, require_wandb

# A mean cross-entropy of so many times that of guessing: the weights have been thrown out, and do not come back.
DIVERGED = 3.0


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
    ranks: int = 1
    rank: int = 0  # of this process; the first one speaks
    signal: int = 0  # the signal that stopped it early

    def to_dict(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "rank"}


def train(recipe: Recipe, resume: bool = False) -> Result:
    """Runs a recipe to its budget, or until SIGTERM, SIGINT or SIGHUP, which saves a checkpoint first.

    Under `torchrun` every process calls it. Raises `UserError` for bad input, a full disk, a diverging run, and a rank
    that died.
    """
    try:
        return _train(recipe, resume)
    except OSError as error:  # of whoever does not say it in one line
        if error.errno not in (*NO_ROOM, *REFUSED):
            raise
        what, mend = error.filename or "a file", "free space and check who may write there, then go on with --resume"
        raise UserError(f"{what} cannot be written: {error.strerror}; {mend}") from error


def _train(recipe: Recipe, resume: bool) -> Result:
    require_wandb(recipe.wandb)
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    device = choose_device(recipe.device, int(os.environ.get("LOCAL_RANK", 0)))
    with Ranks(device) as ranks, ranks.watched():
        setup = ranks.together(lambda: prepare(recipe, device, ranks, resume))
        with quick_products(device.type == "cpu" and setup.config.n_embd >= WIDE):
            return _run(recipe, resume, setup, device, ranks)


def _run(recipe: Recipe, resume: bool, setup: Setup, device: torch.device, ranks: Ranks) -> Result:
    choice = choice_of(recipe, setup.config, device, ranks, resume)
    setup.records[PRECISION] = as_record(choice, recipe.precision)
    if FORK in setup.records:
        refuse_damage(recipe, ranks)
    run = ranks.together(lambda: RunFolder.open(recipe, resume, setup.records) if ranks.first else None)
    try:
        # Watched inside: the launcher sends SIGTERM to those that are left while they look who died.
        with StopSignals(speaks=ranks.size == 1) as stop, ranks.watched():
            return Run(recipe, setup, choice, ranks, stop, run).go(resume)
    finally:
        if run is not None:
            run.close()


class Run:
    """One call of `train`, its parts at hand."""

    def __init__(
        self, recipe: Recipe, setup: Setup, choice: Choice, ranks: Ranks, stop: StopSignals, folder: RunFolder | None
    ) -> None:
        """`folder`: of the rank that writes."""
        self.recipe, self.setup, self.ranks, self.stop, self.folder = recipe, setup, ranks, stop, folder
        self.choice = choice  # of the number type
        self.path = Path(recipe.out)
        self.device = setup.network.device
        self.validation: dict[str, Any] | None = None

    def go(self, resume: bool) -> Result:
        """State, metrics and writer around the steps."""
        recipe, setup, ranks = self.recipe, self.setup, self.ranks
        network = setup.network
        sharded = ranks.together(lambda: shard(network, recipe.parallel, ranks))
        average = {k: v.clone() for k, v in network.state_dict().items()} if recipe.ema else None
        self.state = TrainState(network, build_optimizer(network, recipe.optimizer), average=average)
        if recipe.lora is not None:
            self.state.merge, self.state.adapter = merged_weights, adapter_metadata(recipe.lora)
        speak = say if ranks.first else Silence().say
        for line in self.folder.lines if self.folder is not None else ():
            speak(line)
        full = recipe.checkpoint.verify == "full"
        restored = restore(self.state, self.path, ranks, speak, full) if resume else None
        if forks := recipe.fork is not None and restored is None:
            take_up(self.state, recipe, ranks)
            speak(f"forked off {recipe.fork}")
        elif resume and restored is None:
            speak(f"{self.path} has no checkpoint yet, so this starts at step 0")
        if resume:
            ranks.together(lambda: self._lengthen(speak))
        background = self.device.type == "cuda" or sharded
        run_id = None if self.folder is None else self.folder.id
        named = recipe.checkpoint.at
        self.writer = Writer(self.path, ranks, recipe.checkpoint.keep, background, run_id, restored, full, named)
        self.saved = -1 if forks else self.state.progress.step  # the step of the newest checkpoint of its own
        self.metrics: Metrics | Silence = Silence()
        self.metrics = ranks.together(self._open_metrics)
        autocast = autocast_for(self.choice.name, self.device)
        dtype = torch.bfloat16 if isinstance(autocast, torch.autocast) else torch.float32
        # Of all ranks; raised where a step is found to do more, since other work may have slowed this measurement.
        self.peak = float(ranks.sum(np.array([matmul_peak(self.device, dtype)]))[0])
        try:
            self._describe()
            if recipe.compile:
                compile_layers(network, self.metrics.say)
            objective = Objective(recipe.objective)
            clip = recipe.optimizer.clip
            engine = Engine(network, objective, self.state.optimizer, ranks, sharded, autocast, clip)
            traced = recipe.profile if ranks.first else 0
            ahead = Ahead(setup.task, recipe.batch_size, setup.share, self.device)
            with ahead, Trace(self.path, traced) as trace:
                stopped = self._steps(engine, ahead, trace)
            self.writer.finish()
        finally:
            self.metrics.close()
        done = self.state.progress
        return Result(
            str(self.path), done.step, setup.steps, done.tokens, done.flops, done.seconds, done.skipped,
            self.validation, ranks.size, ranks.rank, stopped,
        )  # fmt: skip

    def _lengthen(self, speak: Callable[[str], None]) -> None:
        """Looks whether a resumed run may have its new budget, and records that and its number type."""
        recipe, lengths, step = self.recipe, self.setup.lengths, self.state.progress.step
        refuse_extension(recipe, lengths, step)
        if not self.ranks.first:
            return
        if line := keep(self.path, recipe, lengths, step):
            speak(line)
        keep_choice(self.path, self.choice, recipe.precision, step)

    def _open_metrics(self) -> Metrics | Silence:
        if not self.ranks.first:
            return Silence()
        recipe, wandb = self.recipe, None
        if recipe.wandb != "off":
            wandb = WandbRun(self.path, recipe.wandb, recipe.to_dict())
        return Metrics(self.path, self.setup.steps, self.state.progress.step, wandb)

    def _steps(self, engine: Engine, ahead: Ahead, trace: Trace) -> int:
        """Steps from where the state is to the last; returns the signal that ended them early, or 0."""
        recipe, setup, state, ranks = self.recipe, self.setup, self.state, self.ranks
        progress, steps = state.progress, setup.steps
        tenth = max(1, setup.lengths.first // 10)
        validate_every, save_every = recipe.validation.every or tenth, recipe.checkpoint.every or tenth
        clock = Clock()
        stop = self.stop.signal if ranks.size == 1 else 0

        if recipe.init is not None and not progress.step:
            with clock.paused():
                self._validate()  # what training starts from
        while progress.step < steps and not stop:
            started = time.monotonic()
            batch = ahead.step(progress.step, last=progress.step + 1 == steps)
            clock.waited += time.monotonic() - started
            rate = learning_rate(progress.step, steps, recipe.optimizer, setup.lengths.first, recipe.forked_at)

            outcome = engine.forward_backward(batch.parts, batch.divisor, lambda: self.stop.signal)
            norm = engine.update(rate, apply=outcome.finite)
            stop = outcome.stop or (self.stop.signal if ranks.size == 1 else 0)
            if outcome.finite and math.isfinite(norm):
                progress.skipped_in_a_row = 0
                progress.window_loss += outcome.loss * batch.n_tokens
                progress.window_tokens += batch.n_tokens
                if state.average is not None:
                    update_average(state.average, state.network, recipe.ema, progress.step)
            else:
                progress.skipped += 1
                progress.skipped_in_a_row += 1
            progress.level_total = [a + b for a, b in zip(progress.level_total, outcome.level_total, strict=True)]
            progress.level_count = [a + b for a, b in zip(progress.level_count, outcome.level_count, strict=True)]

            ranks.together(trace.step) if recipe.profile else trace.step()
            progress.step += 1
            progress.tokens += batch.n_tokens
            progress.flops += batch.n_tokens * setup.flops_per_token
            seconds = time.monotonic() - started
            progress.seconds += seconds
            clock.step(seconds, batch.n_tokens, executed_flops(setup.cost, batch))
            self._refuse_divergence()
            last_step = progress.step == steps
            if progress.step % recipe.log_every == 0 or last_step:
                self._log(rate, norm, clock)
            if progress.step % validate_every == 0 or last_step:
                with clock.paused():
                    self._validate()
            if progress.step % save_every == 0 or last_step or progress.step in recipe.checkpoint.at:
                with clock.paused():
                    self.writer.save(state, setup.tokenizer)
                self.saved = progress.step
        if stop:
            if self.saved != progress.step:
                self.writer.save(state, setup.tokenizer)
            self.writer.finish()  # only what is on disk is saved
            where = f"after step {progress.step}; saved, go on with --resume"
            if not progress.step:
                where = "before the first step; there was nothing to save, and --resume starts at step 0"
            why = f"stopped by signal {stop}" if stop != LAUNCHER_GONE else "launcher or terminal is gone: stopped"
            self.metrics.say(f"{why} {where}")
        return stop if stop != LAUNCHER_GONE else signal.SIGTERM

    def _refuse_divergence(self) -> None:
        """Stops a run that has been lost to its learning rate, naming what to go back to."""
        progress, recipe = self.state.progress, self.recipe
        where = f"step {progress.step}, optimizer.lr {recipe.optimizer.lr}"
        count = sum(progress.level_count)
        if progress.skipped_in_a_row >= recipe.max_skipped:
            what = f"the gradient was not finite for {progress.skipped_in_a_row} steps in a row ({where})"
        elif count and progress.step % recipe.log_every == 0 and (
            (mean := sum(progress.level_total) / count) > DIVERGED * math.log(self.setup.config.vocab_size)
        ):  # fmt: skip
            what = f"training has diverged ({where}): cross-entropy {mean:.1f} where guessing gives "
            what += f"{math.log(self.setup.config.vocab_size):.1f}"
        else:
            return
        self.writer.finish()
        last = newest_checkpoint(self.path)
        self.ranks.together(lambda: _fail(f"{what}; lower optimizer.lr; last good checkpoint: {last or 'none yet'}"))

    def _log(self, rate: float, norm: float, clock: Clock) -> None:
        """Writes the window's record and line, and begins a new window."""
        recipe, progress, setup = self.recipe, self.state.progress, self.setup
        seconds = max(1e-9, clock.seconds)
        per_second = clock.tokens / seconds
        loss = progress.window_loss / progress.window_tokens if progress.window_tokens else None
        # What is really computed, whatever the budget's rule: the peak is one of real arithmetic.
        executed = float(self.ranks.sum(np.array([clock.flops]))[0]) / seconds
        self.peak = max(self.peak, executed)
        share = executed / self.peak
        levels = level_means(progress.level_total, progress.level_count)
        self._write(
            "train",
            step=progress.step,
            loss=loss,
            loss_by_level=levels if recipe.objective.kind == "mdm" else None,
            lr=rate,
            grad_norm=norm if math.isfinite(norm) else None,
            param_norm=parameter_norm(self.state.network),
            tokens=progress.tokens,
            epoch=progress.step * recipe.batch_size / setup.task.n_samples,
            flops=progress.flops,
            skipped=progress.skipped,
            seconds=round(progress.seconds, 3),
            tokens_per_second=round(per_second, 1),
            matmul_peak_share=round(share, 4),
            data_wait_share=round(clock.waited / seconds, 5),
            memory=peak_memory(self.device),
        )
        left = clock.left(setup.steps - progress.step)
        self.metrics.line(progress.step, loss, per_second, share, left, progress.skipped)
        progress.window_loss, progress.window_tokens = 0.0, 0
        progress.level_total, progress.level_count = [0.0] * LEVEL_BUCKETS, [0] * LEVEL_BUCKETS
        clock.restart()

    def _write(self, kind: str, **values: Any) -> None:
        """A record of the first rank; where it cannot be written all stop."""
        self.ranks.together(lambda: self.metrics.write(kind, **values))

    def _validate(self) -> None:
        """Validation of the weights a checkpoint would hold. Every rank does all of it: shards need all to gather."""
        network, average, raw = self.state.network, self.state.average, None
        if average is not None:
            raw = {name: tensor.clone() for name, tensor in network.state_dict().items()}
            network.load_state_dict(average)
        network.eval()
        try:
            with eagerly(self.recipe.compile):
                self.validation = self.setup.task.validate(Model(network, self.setup.tokenizer))
        finally:
            network.train()
            reshard(network)
            if raw is not None:
                network.load_state_dict(raw)
        progress = self.state.progress
        spent = {"step": progress.step, "seconds": round(progress.seconds, 3), "flops": progress.flops}
        self._write("validation", **spent, **self.validation)
        loss, se = self.validation["loss"], self.validation["se"]
        within = ci_text(self.validation["interval"])
        self.metrics.say(f"step {progress.step} | validation {loss:.4f} nats/token (se {se:.4f}){within}")

    def _describe(self) -> None:
        """What is about to run, before the first step."""
        recipe, setup, ranks, step = self.recipe, self.setup, self.ranks, self.state.progress.step
        config, steps, tokens = setup.config, setup.steps, setup.task.mean_tokens
        bound = "" if recipe.objective.is_bound else ", loss is unweighted cross-entropy: not a bound"
        over = f", {ranks.size} ranks ({'fsdp' if recipe.parallel.kind == 'fsdp' else 'ddp'})" if ranks.size > 1 else ""
        flops = steps * recipe.batch_size * tokens * setup.flops_per_token
        epochs = steps * recipe.batch_size / setup.task.n_samples
        self.metrics.say(
            f"{config.kind} of {config.n_params_non_embedding:,} non-embedding parameters ({config.n_params:,} in all),"
            f" {steps} steps of {recipe.batch_size} x {setup.task.length} tokens, {flops:.3g} FLOPs "
            f"({recipe.flops_rule}), {epochs:.2f} epochs{over}{bound}; {self.choice}"
        )
        for line in setup.lines:
            self.metrics.say(line)
        if step >= steps:
            self.metrics.say(f"{recipe.out} is already at step {step} of {steps}; nothing to do")
        elif step and self.saved == step:
            self.metrics.say(f"resumed at step {step}")


def executed_flops(cost: StepCost, batch: Batch) -> float:
    """Of this rank's part of a step."""
    total = 0.0
    for part in batch.parts:
        rows, length = part.tokens_BT.shape
        total += cost.of(rows, length, len(part.positions_N), masked=part.segments_BT is not None)
    return total


def _fail(text: str) -> None:
    raise UserError(text)


class StopSignals:
    """While open, SIGTERM, SIGINT, SIGHUP ask the loop to stop after its step; a second one of a kind acts at once."""

    def __init__(self, speaks: bool = True) -> None:
        self.signal, self._speaks = 0, speaks
        self._before: dict[int, Any] = {}
        self._terminals = terminals()

    def __enter__(self) -> StopSignals:
        for number in SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) == signal.SIG_DFL:  # not under nohup
                self._before[number] = signal.signal(number, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        signal.signal(number, self._before[number])
        if number == signal.SIGHUP:  # what is written to a terminal that is gone would end the run before it is saved
            for terminal in self._terminals:
                os.dup2(os.open(os.devnull, os.O_WRONLY), terminal)
        if self._speaks:
            say("stopping after this step")

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
