"""What a training run will take, on paper: memory a device, steps, FLOPs, time.

    unmask plan 170M --tokens 10e9 --gpus 8 --parallel fsdp --precision bf16 --peak 989
    plan(PlanOptions("6M", tokens=1e9)).memory["total"]

Memory of a device, in bytes: P parameters, s ranks that share one copy (1 under DDP), a micro-batch of M tokens:

    weights       4 P / s                   fp32; autocast keeps no second copy beyond a pass
    gradients     4 P / s
    optimizer     8 P / s + 4 a tensor      AdamW's two moments and its step counts
    activations   M * sum over blocks       what they keep for their backward pass, see `block_bytes_per_token`: the
                                            last one's second half only for the share h of tokens that is scored;
                                            with activation checkpointing 4 E a layer, and one block whole
    edges         M * (8 + 16 E h)          token ids; around the last norm and the head: four rows of E
    head          8 C (bf16: 10 C)          one chunk of C logits, and their logarithmic softmax
    casts         2 (P - embedding)         bf16 only: the weights as autocast casts them, until the backward pass
    gathered      4 (root + 2 layers) + 4 (root + 1 layer)   FSDP only: whole weights in use, and gradients on their way

The total is their sum, as it stands when a second micro-batch adds to gradients that are there already; a step of one
micro-batch, whose gradients grow as its activations go, peaks at the larger of the two: `total` knows which. It leaves
out the process itself (PyTorch, CUDA context: 0.3 to 1 GiB), all-reduce buffers and what an allocator cannot use.
Compilation keeps less than the eager blocks counted here. `tests/training/test_plan.py` holds all of it against tensors
and against the resident set of a process.

Time is executed FLOPs, those of the steps as they run (`model.flops.StepCost`) and not of a budget's rule, over `gpus`
times a device's peak times the stated efficiency.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from unmask.diffusion.objective_config import ObjectiveConfig
from unmask.model.config import ModelConfig
from unmask.model.cross_entropy import CHUNK_CPU, CHUNK_GPU
from unmask.model.flops import FLOPS_RULES, StepCost, training_flops_per_token
from unmask.model.presets import mean_length, preset
from unmask.training.options import PlanOptions

# What each part of the memory is, for people.
USES = {
    "weights": "in fp32",
    "gradients": "in fp32",
    "optimizer": "AdamW's two moments",
    "activations": "what the layers keep for their backward pass",
    "edges": "before and behind the layers: token ids, hidden states around the last norm and the head",
    "head": "one chunk of logits and their softmax",
    "casts": "the weights in bf16, as autocast makes them for a pass",
    "gathered": "whole weights and gradients of the layers at work, out of the ranks' shards",
    "total": "at the peak of a step: not all parts stand at once",
}


@dataclass(frozen=True)
class Plan:
    """`memory` in bytes a device, `flops` of the whole run by rule, `seconds` at the stated efficiency."""

    options: PlanOptions
    config: ModelConfig
    micro_batch: int
    accumulation: int
    memory: dict[str, int]
    steps: int
    tokens: float
    flops: dict[str, float]  # by the budgets' rules, exact and 6nd; and `executed`, what the steps really compute
    peak: float  # FLOP/s of a device
    peak_measured: bool
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        fields = {**vars(self), "options": vars(self.options), "config": self.config.to_dict()}
        parameters = {"parameters": self.config.n_params, "non_embedding": self.config.n_params_non_embedding}
        return {"schema_version": 1, **parameters, **fields}


def plan(options: PlanOptions) -> Plan:
    """Raises `UserError` for an unknown size."""
    causal = options.kind == "arm"
    config = preset(options.size, vocab_size=options.vocab, causal=causal, block_size=options.context)
    micro_batch = options.micro_batch or options.batch // options.gpus
    accumulation = options.batch // (options.gpus * micro_batch)
    objective = ObjectiveConfig(kind=options.kind, random_length=options.random_length)
    length, share = mean_length(options.context, options.random_length), objective.head_share(options.context)
    steps = max(1, int(options.tokens / (options.batch * length)))
    tokens = steps * options.batch * length
    flops = {rule: tokens * training_flops_per_token(config, options.context, share, rule) for rule in FLOPS_RULES}
    cost = StepCost(config, recompute=options.activation_checkpointing)
    flops["executed"] = steps * options.batch * cost.of(1, options.context, share * length)
    peak = options.peak * 1e12 if options.peak else measured_peak(options.precision)
    seconds = flops["executed"] / (options.gpus * peak * options.efficiency)
    memory = device_memory(config, options, micro_batch, accumulation)
    return Plan(
        options, config, micro_batch, accumulation, memory, steps, tokens, flops, peak, not options.peak, seconds
    )


def device_memory(config: ModelConfig, options: PlanOptions, micro_batch: int, accumulation: int) -> dict[str, int]:
    """Bytes by use, and `total`; the formulae stand at the head of this file."""
    sharing = (options.shard or options.gpus) if options.parallel == "fsdp" else 1
    bf16, width, n_tokens = options.precision == "bf16", config.n_embd, micro_batch * options.context
    chunk = CHUNK_GPU if options.device == "cuda" else CHUNK_CPU
    layer = config.n_params_per_layer
    root = config.n_params - config.n_layer * layer
    share = 1.0 if config.causal else ObjectiveConfig(kind=options.kind).head_share(options.context)
    mix, finish = block_bytes_per_token(config, options.precision)
    last = mix + share * (finish + (4 * width if share < 1 else 0))  # and the gathered rows
    layers = config.n_layer - 1
    kept = 4 * width * layers + mix + finish if options.activation_checkpointing else layers * (mix + finish) + last
    memory = {
        "weights": 4 * ceil_div(config.n_params, sharing),
        "gradients": 4 * ceil_div(config.n_params, sharing),
        "optimizer": 8 * ceil_div(config.n_params, sharing) + 4 * n_tensors(config),
        "activations": int(n_tokens * kept),
        "edges": int(n_tokens * (8 + 16 * width * share)),
        "head": (10 if bf16 else 8) * min(chunk, int(n_tokens * share) * config.vocab_size),
        "casts": 2 * (config.n_params - config.embedding_rows * width) if bf16 else 0,
        "gathered": 4 * (root + 2 * layer) + 4 * (root + layer) if sharing > 1 else 0,
    }
    passing = memory["activations"] + memory["edges"] + memory["head"]
    if accumulation == 1:
        # Before the backward pass only the head's gradient is there; after it all are, and the activations are gone.
        head_gradient = 4 * config.vocab_size * width // sharing
        changing = max(passing + head_gradient, memory["gradients"])
    else:
        changing = passing + memory["gradients"]
    lasting = ("weights", "optimizer", "casts", "gathered")
    return memory | {"total": sum(memory[name] for name in lasting) + changing}


def block_bytes_per_token(config: ModelConfig, precision: str = "fp32") -> tuple[int, int]:
    """What one eager block keeps of each token until the backward pass, in bytes: its attention, then the rest of it.

    With a = 4 (fp32) or 2 (bf16 autocast) bytes, A = heads x head dimension, F the feed-forward width:

        a norm each     8 E + 4 + a E       input, normalised input, 1/rms in fp32; the scaled result as the next input
        attention       3 A a, V a, 4 H     queries, keys, the result; values, which hold on to the storage of all three
                                            (V = 3 A) unless keys are shared by heads (V = A); the softmax's log-sums
        feed-forward    4 F a               gate and up, silu(gate), the product
    """
    a = 2 if precision == "bf16" else 4
    width, inner = config.n_head * config.head_dim, config.intermediate_size
    values = 3 * width if config.n_kv_head == config.n_head else width
    norm = 8 * config.n_embd + 4 + a * config.n_embd
    return norm + a * (3 * width + values) + 4 * config.n_head, norm + a * 4 * inner


def n_tensors(config: ModelConfig) -> int:
    """Parameters as tensors: six a layer, embedding, last norm, head."""
    return 6 * config.n_layer + 2 + (0 if config.tie_embeddings else 1)


def measured_peak(precision: str) -> float:
    """FLOP/s of this machine's matrix products."""
    import torch

    from unmask.model.placement import choose_device
    from unmask.training.metrics import matmul_peak

    device = choose_device("auto")
    return matmul_peak(device, torch.bfloat16 if precision == "bf16" and device.type == "cuda" else torch.float32)


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def describe(planned: Plan) -> str:
    """The plan as text for people."""
    options, config, gib = planned.options, planned.config, 2**30
    over = f", shards over {options.shard or options.gpus}" if options.parallel == "fsdp" else ""
    lines = [
        f"{options.size} {options.kind}: {config.n_params_non_embedding:,} non-embedding parameters "
        f"({config.n_params:,} in all), {options.precision}, {options.parallel}{over}",
        f"{options.batch} x {options.context} tokens a step on {options.gpus} device(s): micro-batch "
        f"{planned.micro_batch}, accumulated {planned.accumulation} time(s)",
        "memory a device, GiB (without the process itself):",
    ]
    lines += [f"  {name:<12}{size / gib:>10.3f}  {USES[name]}" for name, size in planned.memory.items() if size]
    where = "measured here" if planned.peak_measured else "given"
    lines += [
        f"{planned.steps:,} steps, {planned.tokens:.4g} tokens; FLOPs {planned.flops['exact']:.4g} exact, "
        f"{planned.flops['6nd']:.4g} by 6ND, {planned.flops['executed']:.4g} executed",
        f"at {options.efficiency:.0%} of {planned.peak / 1e12:.4g} TFLOP/s ({where}) a device: "
        f"{duration(planned.seconds)}",
    ]
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """``3 min``, ``5.2 h`` or ``12.3 days``."""
    for unit, name, top in ((60.0, "min", 120.0), (3600.0, "h", 48.0)):
        if seconds / unit < top:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds / 86400:,.1f} days"
