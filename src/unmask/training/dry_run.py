"""What `unmask train RECIPE --dry-run` shows: every setting resolved, and what the run will take. Nothing is written.

    result = dry_run(recipe)
    result.to_dict()["plan"]["steps"], print(result.in_words())

What `train` checks before its first step is checked here too, but for the run folder's lock, the sums of what a resumed
run began with, and the room on the disk. Memory is on paper, by the formulae of `plan.py`; no weights are drawn.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from unmask.model.config import ModelConfig
from unmask.model.flops import FLOPS_RULES
from unmask.model.placement import choose_device
from unmask.training.checkpoint import newest_checkpoint
from unmask.training.distribution import Ranks
from unmask.training.optimizer import resolved_warmup
from unmask.training.options import PlanOptions
from unmask.training.plan import device_memory
from unmask.training.precision import Choice, choice_of
from unmask.training.recipe_fields import Recipe
from unmask.training.record import absolute, refuse_extension
from unmask.training.run_folder import look
from unmask.training.setup import Setup, planned_steps, prepare
from unmask.training.tracking import require_wandb


@dataclass(frozen=True)
class DryRun:
    """A resolved recipe, with what was automatic in it as `automatic`, and its plan."""

    recipe: Recipe
    config: ModelConfig
    automatic: dict[str, Any]
    plan: dict[str, Any]
    lines: list[str]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; memory in bytes a device."""
        return {
            "schema_version": 1,
            "recipe": absolute(self.recipe.to_dict()),
            "automatic": self.automatic,
            "model": {**self.config.to_dict(), "kind": self.config.kind},
            "parameters": self.config.n_params,
            "non_embedding": self.config.n_params_non_embedding,
            "plan": self.plan,
        }

    def in_words(self) -> str:
        """The same for people: the recipe as YAML, then the plan."""
        plan, config = self.plan, self.config
        automatic = ", ".join(f"{name} {value}" for name, value in self.automatic.items())
        done = f", {plan['done']:,} of them done" if plan["done"] else ""
        flops = ", ".join(f"{plan['flops'][rule]:.4g} {rule}" for rule in FLOPS_RULES)
        memory = [f"  {name:<12}{size / 2**30:>10.3f}" for name, size in plan["memory"].items() if size]
        return "\n".join(
            [
                yaml.safe_dump(absolute(self.recipe.to_dict()), sort_keys=False).rstrip(),
                "",
                f"automatic: {automatic}",
                *self.lines,
                f"{config.kind} of {config.n_params_non_embedding:,} non-embedding parameters ({config.n_params:,})",
                f"{plan['steps']:,} steps{done}, {plan['tokens']:.4g} tokens, {plan['epochs']:.2f} epochs; "
                f"FLOPs {flops}",
                f"memory of each of {plan['ranks']} device(s), GiB (without the process itself):",
                *memory,
                "nothing was written",
            ]
        )


def dry_run(recipe: Recipe, resume: bool = False) -> DryRun | None:
    """Raises `UserError` as `train` would before its first step. None on all ranks but the first."""
    require_wandb(recipe.wandb)
    device = choose_device(recipe.device, int(os.environ.get("LOCAL_RANK", 0)))
    with Ranks(device) as ranks:
        setup = ranks.together(lambda: prepare(recipe, device, ranks, resume, weights=False))
        choice = choice_of(recipe, setup.config, device, ranks, resume)
        there = look(recipe, resume)
        newest = newest_checkpoint(Path(recipe.out)) if there and resume else None
        done = recipe.forked_at if newest is None else int(newest.name.partition("-")[2])
        if there:
            refuse_extension(recipe, setup.lengths, done)
        return described(recipe, setup, choice, done, ranks.size, device.type) if ranks.first else None


def described(recipe: Recipe, setup: Setup, choice: Choice, done: int, ranks: int, device: str) -> DryRun:
    """The plan of a run that `setup` was made for."""
    config, task = setup.config, setup.task
    micro_batch = recipe.micro_batch or max(1, recipe.batch_size // ranks)
    options = PlanOptions(
        size=recipe.model.size or "", tokens=1, gpus=ranks, batch=recipe.batch_size, micro_batch=micro_batch,
        context=task.length, vocab=config.vocab_size, kind=config.kind, precision=choice.name,
        parallel="fsdp" if recipe.parallel.kind == "fsdp" else "ddp", shard=recipe.parallel.shard, device=device,
        activation_checkpointing=recipe.activation_checkpointing,
    )  # fmt: skip
    tokens = setup.steps * recipe.batch_size * task.mean_tokens
    flops = {
        rule: tokens * planned_steps(dataclasses.replace(recipe, flops_rule=rule), config, task)[1]
        for rule in FLOPS_RULES
    }
    memory = device_memory(config, options, micro_batch, recipe.batch_size // (ranks * micro_batch))
    if recipe.ema:
        memory = {**memory, "average": memory["weights"], "total": memory["total"] + memory["weights"]}
    lines = [*setup.lines, f"number type: {choice}"]
    if recipe.lora is not None:
        lines.append("memory is that of training all weights: adapters take less")
    tenth = max(1, setup.lengths.first // 10)
    automatic = {
        "device": device, "precision": options.precision, "parallel.kind": options.parallel, "micro_batch": micro_batch,
        "optimizer.warmup": resolved_warmup(setup.lengths.first, recipe.optimizer),
        "validation.every": recipe.validation.every or tenth, "checkpoint.every": recipe.checkpoint.every or tenth,
    }  # fmt: skip
    plan = {
        "steps": setup.steps, "done": done, "ranks": ranks, "tokens": tokens,
        "epochs": setup.steps * recipe.batch_size / task.n_samples,
        "flops": flops,
        "memory": memory,
    }  # fmt: skip
    return DryRun(recipe, config, automatic, plan, lines)
