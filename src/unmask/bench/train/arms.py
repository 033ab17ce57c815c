"""What a training benchmark compares: this library's step, and the same model trained in two plainer ways.

    arm = build_arm("ours", recipe, device, Ranks(device))
    arm.step(0), arm.step(1)        # trains samples 0 .. 2 * batch_size - 1; the losses

- `ours`: the very objects of `unmask train`: `Batches`, `Ahead`, `Objective`, `Engine`; compiled if the recipe is.
- `plain`: the same network and noise trained the way the paper's code does it: logits at all positions, the masked ones
  picked from them, eager, AdamW as PyTorch makes it.
- `transformers`: the same with a Hugging Face Llama of the same shape, its attention bidirectional for an MDM.

All start from the same weights, so that their losses must agree step by step.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from unmask.bench.train.options import ARMS
from unmask.data.order import WindowSampler
from unmask.data.shards import TokenData
from unmask.diffusion.noise import sample_lengths
from unmask.diffusion.objective import Inputs, Objective
from unmask.errors import UserError
from unmask.interop.layout import apart
from unmask.interop.llama import FIELDS, layout
from unmask.model.config import ModelConfig
from unmask.model.flops import StepCost
from unmask.model.transformer import Transformer
from unmask.training.batches import Batches
from unmask.training.distribution import Ranks, share_of
from unmask.training.optimizer import build_optimizer, gradient_norm, learning_rate
from unmask.training.precision import autocast_for
from unmask.training.recipe_fields import Recipe
from unmask.training.setup import compile_layers, model_config
from unmask.training.step import Engine
from unmask.training.task import Ahead


@dataclass
class Tally:
    """What a number of steps took and did, on this rank."""

    tokens: int = 0
    flops: float = 0.0  # that were needed: forward and backward, the head at scored positions
    waited: float = 0.0  # seconds for data


class Arm(ABC):
    """Samples ahead of the step, whichever way it then trains."""

    def __init__(self, recipe: Recipe, device: torch.device, ranks: Ranks) -> None:
        data = TokenData(recipe.data, "train")
        self.recipe, self.device, self.ranks = recipe, device, ranks
        self.config = model_config(recipe, data.vocab_size, data.eos_id)
        self.batches = Batches(recipe, data, self.config)
        self.ahead = Ahead(self.batches, recipe.batch_size, self.share, device)
        self.autocast = autocast_for(recipe.precision, device)
        self.cost, self.tally = StepCost(self.config), Tally()

    def samples(self, step: int) -> np.ndarray:
        return np.arange(step * self.recipe.batch_size, (step + 1) * self.recipe.batch_size)

    def share(self, k: np.ndarray) -> list[np.ndarray]:
        return share_of(k, self.ranks, self.recipe.micro_batch)

    def step(self, step: int) -> float:
        """Trains on a step's samples; its loss, over all ranks."""
        started = time.perf_counter()
        batch = self.ahead.step(step)
        self.tally.waited += time.perf_counter() - started
        for inputs in batch.parts:
            self._count(inputs)
        return self._train(batch.parts, batch.divisor, learning_rate(step, self.recipe.steps, self.recipe.optimizer))

    @abstractmethod
    def _train(self, parts: list[Inputs], divisor: float, rate: float) -> float:
        """One update on a step's micro-batches; the loss, over all ranks."""

    def _count(self, inputs: Inputs) -> None:
        scored_B = torch.bincount(inputs.rows_N.cpu(), minlength=len(inputs.lengths_B))
        for length, scored in zip(inputs.lengths_B.tolist(), scored_B.tolist(), strict=True):
            self.tally.tokens += length
            self.tally.flops += self.cost.of(1, length, scored)

    def close(self) -> None:
        self.ahead.__exit__(None, None, None)


class Ours(Arm):
    """The step of `unmask train`."""

    def __init__(self, recipe: Recipe, device: torch.device, ranks: Ranks, say: Callable[[str], None]) -> None:
        super().__init__(recipe, device, ranks)
        self.network = Transformer(self.config, seed=recipe.seed).drop(recipe.dropout).to(device)
        self.network.recompute = recipe.activation_checkpointing
        if recipe.compile:
            compile_layers(self.network, say)
        self.objective = Objective(recipe.objective)
        optimizer = build_optimizer(self.network, recipe.optimizer)
        clip = recipe.optimizer.clip
        self.engine = Engine(self.network, self.objective, optimizer, ranks, False, self.autocast, clip)

    def _train(self, parts: list[Inputs], divisor: float, rate: float) -> float:
        outcome = self.engine.forward_backward(parts, divisor)
        self.engine.update(rate, apply=outcome.finite)
        return outcome.loss


class Plain(Arm):
    """All-position logits, no compilation, AdamW by PyTorch's defaults. One process only."""

    def __init__(self, recipe: Recipe, device: torch.device, ranks: Ranks, say: Callable[[str], None]) -> None:
        super().__init__(recipe, device, ranks)
        self.network = self._network().to(device).train()
        fields = recipe.optimizer
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=fields.lr, betas=(fields.beta1, fields.beta2), eps=fields.eps,
            weight_decay=fields.weight_decay,
        )  # fmt: skip

    def _network(self) -> nn.Module:
        return Transformer(self.config, seed=self.recipe.seed)

    def _logits(self, inputs: Inputs) -> torch.Tensor:
        network = cast(Transformer, self.network)
        logits_BTV: torch.Tensor = network(inputs.tokens_BT, sees=inputs.sees(network.sees))
        return logits_BTV

    def _train(self, parts: list[Inputs], divisor: float, rate: float) -> float:
        loss = 0.0
        for inputs in parts:
            with self.autocast:
                logits_NV = self._logits(inputs).flatten(0, 1)[inputs.positions_N]
                ce_N = F.cross_entropy(logits_NV, inputs.targets_N, reduction="none")
                part = (ce_N * inputs.weight_B[inputs.rows_N]).sum() / divisor
            part.backward()
            loss += float(part.detach())
            del logits_NV, ce_N, part  # else they would still stand there in the next forward pass
        gradient_norm(self.network.parameters(), self.recipe.optimizer.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss


class Transformers(Plain):
    """`Plain` with Hugging Face's Llama in the place of our network."""

    def _network(self) -> nn.Module:
        return llama(self.config, Transformer(self.config, seed=self.recipe.seed))

    def _logits(self, inputs: Inputs) -> torch.Tensor:
        mask = None if inputs.key_mask_BT is None else inputs.key_mask_BT.long()
        logits_BTV: torch.Tensor = self.network(inputs.tokens_BT, attention_mask=mask, use_cache=False).logits
        return logits_BTV


def build_arm(name: str, recipe: Recipe, device: torch.device, ranks: Ranks, say: Callable[[str], None]) -> Arm:
    """Raises `UserError` for a name that is no arm, and where `transformers` is not installed."""
    kinds: dict[str, type[Ours] | type[Plain]] = {"ours": Ours, "plain": Plain, "transformers": Transformers}
    if name not in kinds:
        raise UserError(f"--against {name} is not known; give one of {', '.join(ARMS[1:])}")
    return kinds[name](recipe, device, ranks, say)


def llama(config: ModelConfig, network: Transformer) -> nn.Module:
    """A Hugging Face `LlamaForCausalLM` with the shape, the weights and the direction of `network`.

    Bidirectional by `is_causal`, which transformers reads in the config (for the mask) and in each attention (for the
    kernel). Its head has V rows as ours, its embedding V + 1. Raises `UserError` without transformers.
    """
    try:
        from transformers import LlamaConfig, LlamaForCausalLM
    except ImportError as error:
        raise UserError("--against transformers needs that package; pip install 'unmask[eval]'") from error
    shape = {theirs: getattr(config, ours) for theirs, (ours, _) in FIELDS.items()}
    shape |= {"vocab_size": config.embedding_rows, "tie_word_embeddings": False}
    rope = {"rope_type": "default", "rope_theta": config.rope_base}
    direction: dict[str, Any] = {"attn_implementation": "sdpa", "is_causal": config.causal}
    made = LlamaForCausalLM(LlamaConfig(**shape, rope_parameters=rope, **direction))
    made.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
    for layer in made.model.layers:
        cast(Any, layer).self_attn.is_causal = config.causal
    made.load_state_dict(apart(layout(config), network.state_dict()))
    return made


def exactness_seconds(arm: Arm, steps: int = 20) -> float:
    """Seconds a step spends on order, lengths, levels and masks as functions of (seed, k): the cost of exact resume.

    Measured alone on this thread, though in training it overlaps with the step before. A loop that draws from a
    generator's state would pay a part of it too.
    """
    recipe, objective = arm.recipe, Objective(arm.recipe.objective)
    sampler = WindowSampler(arm.batches.n_samples, recipe.seed)
    started = time.perf_counter()
    for step in range(steps):
        k = arm.samples(step)
        sampler.windows(k)
        lengths = sample_lengths(recipe.seed, k, recipe.context, recipe.objective.random_length)
        if recipe.objective.kind == "mdm":
            objective.masks(recipe.seed, k, lengths, recipe.context)
        arm.batches.divisor(k)
    return (time.perf_counter() - started) / steps
