"""From a recipe to what a run needs: device, model, task, budget.

    setup = prepare(recipe, device, ranks)
    setup.network, setup.task, setup.steps

All of it is checked here, before the run folder is made.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from unmask.data.manifest import Manifest
from unmask.data.shards import TokenData
from unmask.errors import UserError
from unmask.files import file_sha256
from unmask.model.config import ModelConfig
from unmask.model.flops import StepCost, training_flops_per_token
from unmask.model.folder import WEIGHTS, Model, load
from unmask.model.lora import adapter_flops_per_token, add_adapters
from unmask.model.presets import preset, training_steps
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Block, Transformer
from unmask.training.batches import Batches
from unmask.training.compiling import compile_whole, fits, keep_compiled
from unmask.training.distribution import Ranks, share_of
from unmask.training.finetune import FineTuning
from unmask.training.fork import FORK, begins, fork_record
from unmask.training.recipe import SCHEMA_VERSION, SHAPE, refuse_contradictions
from unmask.training.recipe_fields import ModelFields, Recipe
from unmask.training.record import INIT, Lengths, lengths_of, read_record, refuse_other_base
from unmask.training.run_folder import TOKENIZER_SUM
from unmask.training.task import Task


@dataclass
class Setup:
    """What a run needs beside its state."""

    network: Transformer  # on the device, not yet shared out over ranks
    task: Task
    tokenizer: Tokenizer | None
    steps: int
    lengths: Lengths  # what a run that is made longer keeps
    flops_per_token: float
    share: Callable[[np.ndarray], list[np.ndarray]]  # a batch's ordered sample indices to this rank's micro-batches
    cost: StepCost  # what a step really computes, whatever the budget counts
    records: dict[str, Any] = field(default_factory=dict)  # files of the run folder that tell what it starts from
    lines: list[str] = field(default_factory=list)  # to be said at the start

    @property
    def config(self) -> ModelConfig:
        return self.network.config


def prepare(recipe: Recipe, device: torch.device, ranks: Ranks, resume: bool = False, weights: bool = True) -> Setup:
    """Raises `UserError` where data, model and recipe do not go together, or not with the run that is resumed.

    weights: False makes a network without weights, only to be looked at.
    """
    record = read_record(Path(recipe.out)) if resume else None
    if record is None:
        refuse_contradictions(recipe)
    start = start_model(recipe)
    records: dict[str, Any] = {}
    lines: list[str] = []
    task: Task
    if recipe.sft is not None and start is not None:
        config, network, tokenizer = start.config, start.network.train(), start.tokenizer
        task = examples = FineTuning.open(recipe, start)
        records["sft.json"], lines = examples.report, examples.lines
        records["sft.json"][TOKENIZER_SUM] = tokenizer.hash if tokenizer else None
    else:
        data = TokenData(recipe.data, "train")
        tokenizer = data.tokenizer()
        records["data.json"] = data_record(data.manifest)
        if start is None:
            config = model_config(recipe, data.vocab_size, data.eos_id)
            with nullcontext() if weights else torch.device("meta"):
                network = Transformer(config, seed=recipe.seed if weights else None)
        else:
            config, network = start.config, start.network.train()
            if data.vocab_size != config.vocab_size or (start.tokenizer and start.tokenizer.hash != tokenizer.hash):
                raise UserError(
                    f"data {recipe.data} was prepared with another tokenizer than init {recipe.init}'s; "
                    f"prepare it with --tokenizer {start.path}"
                )
        task = Batches(recipe, data, config)
    base = None if start is None or start.path is None else file_sha256(start.path / WEIGHTS)
    if base is not None:
        records[INIT] = {"schema_version": SCHEMA_VERSION, "weights": base}
    if recipe.lora is not None and base is not None:
        records["lora.json"] = {"schema_version": SCHEMA_VERSION, "base_sha256": base, **vars(recipe.lora)}
        add_adapters(network, recipe.lora, recipe.seed)
        trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
        lines.append(f"{trained:,} trained parameters: adapters of rank {recipe.lora.rank} on {recipe.lora.targets}")
    if record is not None:
        refuse_other_base(recipe, record, config, base)
    lengths = lengths_of(recipe, record, lambda some: planned_steps(some, config, task)[0])
    steps, flops_per_token = planned_steps(recipe, config, task)
    if begins(recipe, record):
        records[FORK] = fork_record(recipe, config, steps, records)
    share = partial(share_of, ranks=ranks, micro_batch=recipe.micro_batch)
    share(np.arange(recipe.batch_size))  # raises where it does not divide
    network.recompute = recipe.activation_checkpointing
    network.drop(recipe.dropout)
    adapters = (0, ()) if recipe.lora is None else (recipe.lora.rank, recipe.lora.names)
    cost = StepCost(config, recipe.activation_checkpointing, *adapters)
    network = network.to(device) if weights else network
    return Setup(network, task, tokenizer, steps, lengths, flops_per_token, share, cost, records, lines)


def data_record(manifest: Manifest) -> dict[str, Any]:
    """What tells prepared data from other data: the tokenizer's hash and the shards' sums, as `prepare` made them."""
    splits = {
        name: {"tokens": split.tokens, "sha256": [shard.sha256 for shard in split.shards]}
        for name, split in manifest.splits.items()
    }
    named = {"vocab_size": manifest.vocab_size, TOKENIZER_SUM: manifest.tokenizer_hash}
    return {"schema_version": SCHEMA_VERSION, **named, **splits}


def start_model(recipe: Recipe) -> Model | None:
    """The model of `init`, checked against the recipe; None where training starts from random weights."""
    if recipe.init is None:
        return None
    model = load(recipe.init)
    if model.kind != recipe.objective.kind:
        raise UserError(f"objective.kind is {recipe.objective.kind}, but init {recipe.init} is an {model.kind}")
    if recipe.context > model.config.block_size:
        raise UserError(f"context {recipe.context} exceeds that of init {recipe.init}, {model.config.block_size}")
    if recipe.model != ModelFields():
        raise UserError(f"model is given beside init {recipe.init}, which has its own sizes; leave out the model group")
    return model


def model_config(recipe: Recipe, vocab_size: int, eos_id: int | None) -> ModelConfig:
    """The model of a recipe over the vocabulary of its data."""
    fields = recipe.model
    shared = {"block_size": recipe.context, "eos_id": eos_id, "rope_base": fields.rope_base}
    shared |= {"norm_eps": fields.norm_eps, "tie_embeddings": fields.tie_embeddings}
    given = {name: size for name in SHAPE if (size := getattr(fields, name))}
    causal = recipe.objective.kind == "arm"
    if missing := [name for name in ("n_layer", "n_head", "n_embd") if fields.size is None and name not in given]:
        raise UserError(f"model.{missing[0]} is missing; give model.n_layer, n_head and n_embd, or model.size")
    if fields.size is not None:
        return preset(fields.size, vocab_size=vocab_size, causal=causal, **shared, **given)
    return ModelConfig.from_dict({**shared, **given, "vocab_size": vocab_size, "causal": causal})


def planned_steps(recipe: Recipe, config: ModelConfig, task: Task) -> tuple[int, float]:
    """Steps that spend the budget, and the FLOPs of one trained token by the recipe's rule."""
    length = task.mean_tokens
    if recipe.lora is None:
        per_token = training_flops_per_token(config, task.length, task.head_share, recipe.flops_rule)
    else:
        per_token = adapter_flops_per_token(config, recipe.lora, task.length, task.head_share, recipe.flops_rule)
    if recipe.steps:
        return recipe.steps, per_token
    if recipe.epochs:
        return max(1, int(recipe.epochs * task.n_samples / recipe.batch_size)), per_token
    if recipe.tokens:
        return max(1, int(recipe.tokens / (recipe.batch_size * length))), per_token
    return training_steps(recipe.flops, per_token / 6, recipe.batch_size, length), per_token


def compile_layers(network: Transformer, say: Callable[[str], None]) -> None:
    """`torch.compile` on the layers, or on a small network's all at once. The last one ends at scored positions alone,
    whose number changes every step: that half is compiled for any number, so nothing is compiled anew as masks change.
    The head is chunked and stays eager.
    """
    if shutil.which("g++") is None and shutil.which("clang++") is None and not torch.cuda.is_available():
        say("warning: no C++ compiler found, so compile: true runs eagerly")
        return
    keep_compiled()
    # By default a layer keeps what feeds its matrix products (normalised inputs, the SwiGLU's product) for the backward
    # pass. Making it again costs at most 3% of a step and saves a tenth of the memory (docs/performance.md).
    from torch._functorch import config as partitioner  # only with a compiler: it costs seconds to import

    partitioner.ban_recompute_materialized_backward = False
    if fits(network):
        compile_whole(network)
        return
    for layer in network.layers[:-1]:
        layer.compile()
    last = cast(Block, network.layers[-1])
    # Set on the instance, over the methods of the class.
    vars(last).update(mix=torch.compile(last.mix), finish=torch.compile(last.finish, dynamic=True))
