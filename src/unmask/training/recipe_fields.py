"""The keys of a recipe, declared once: defaults, ranges, and what help and docs/training.md say of each.

    Recipe("data/sotu", "runs/mdm", steps=200, model=ModelFields(size="6M"))

No heavy import: the help is shown from here. `recipe.py` reads files and mappings into these.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from unmask.data.sft_fields import SFTFields
from unmask.diffusion.objective_config import ObjectiveConfig
from unmask.errors import UserError
from unmask.model.flops import FLOPS_RULES
from unmask.model.lora_fields import LoRAFields
from unmask.options import Options, option

LR_SCHEDULES = ("cosine", "constant", "wsd", "cooldown")
PRECISIONS = ("auto", "fp32", "bf16")
BUDGETS = ("steps", "tokens", "flops", "epochs")
LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True)
class ModelFields(Options):
    """A preset by `size`, or free sizes; zeros and nulls mean the preset's or the default value."""

    prefix = "model."

    size: str | None = option(None, "one of the paper's 30 (6M .. 2121M), or free sizes by the keys below")
    n_layer: int = option(0, "layers", least=0)
    n_head: int = option(0, "heads of attention", least=0)
    n_embd: int = option(0, "width", least=0)
    n_kv_head: int = option(0, "heads of keys and values; 0: as many as heads", least=0)
    intermediate_size: int = option(0, "width of the MLP", least=0)
    head_dim: int = option(0, "width of a head; 0: width over heads", least=0)
    tie_embeddings: bool = option(False, "one table for embedding and head")
    rope_base: float = option(10000.0, "base of the rotary angles", above=0)
    norm_eps: float = option(1e-5, "of RMSNorm", above=0)


@dataclass(frozen=True)
class OptimizerFields(Options):
    """AdamW and its schedule (defaults: arXiv 2410.18514 and its code)."""

    prefix = "optimizer."

    lr: float = option(2e-4, "the highest learning rate", above=0)
    beta1: float = option(0.9, "of AdamW", least=0, below=1)
    beta2: float = option(0.95, "of AdamW", least=0, below=1)
    eps: float = option(1e-8, "of AdamW", least=0)
    weight_decay: float = option(0.1, "on all parameters, as the paper", least=0)
    clip: float = option(1.0, "global gradient norm; 0: off", least=0)
    schedule: str = option(
        "cosine",
        "cosine, constant, wsd (warm-up, stable, linear decay), cooldown (of a fork: falls from where it begins)",
        one_of=LR_SCHEDULES,
    )
    warmup: int = option(-1, "steps; -1: the paper's max(100, 1%), at most a tenth of the run", least=-1)
    final: float = option(0.1, "the last learning rate as a share of lr", least=0, most=1)
    decay_share: float = option(0.2, "wsd: share of the steps in which the rate falls", least=0, most=1, was="decay")


@dataclass(frozen=True)
class ValidationFields(Options):
    """The bound (MDM) or likelihood (ARM) on fixed windows, or held-out examples, with fixed noise."""

    prefix = "validation."

    every: int = option(0, "steps; 0: a tenth of the run", least=0)
    windows: int = option(64, "or examples", least=1)
    draws: int = option(4, "masks a window; two at least, for a standard error", least=2)
    seed: int = option(20410, "of the masks", least=0, most=LARGEST_SEED)


@dataclass(frozen=True)
class CheckpointFields(Options):
    prefix = "checkpoint."

    every: int = option(0, "steps; 0: a tenth of the run", least=0)
    at: list[int] = option([], "steps whose checkpoints stay, whatever keep says", least=1)
    keep: int = option(2, "checkpoints that stay", least=1)
    verify: str = option(
        "full",
        "what --resume checks: full, contents by their sums; sizes, for very large ones",
        one_of=("full", "sizes"),
    )


@dataclass(frozen=True)
class ParallelFields(Options):
    """How several ranks (of `torchrun`) share the work; free to change on resume."""

    prefix = "parallel."

    kind: str = option(
        "auto",
        "ddp: each rank holds all; fsdp: shards of weights, gradients and moments; auto: ddp",
        one_of=("auto", "ddp", "fsdp"),
    )
    shard: int = option(0, "fsdp: ranks that share one copy; 0: all. Fewer: hybrid, copies side by side", least=0)


@dataclass(frozen=True)
class Recipe(Options):
    """One training run. Exactly one of steps, tokens, flops and epochs is its budget."""

    prefix = ""

    data: str = option("", "the prepared folder")
    out: str = option("", "the run folder")
    init: str | None = option(None, "a run, checkpoint or model folder to start from; its config is then the model's")
    fork: str | None = option(None, "RUN@STEP: go on from that checkpoint with moments and counters too")
    seed: int = option(0, "of weights, order and noise", least=0, most=LARGEST_SEED)
    context: int = option(2048, "tokens a sequence", least=2)  # a validation window is a token shorter
    batch_size: int = option(256, "sequences a step", least=1)
    micro_batch: int = option(0, "sequences a backward pass; 0: all of a rank's. The gradient is the same", least=0)
    steps: int = option(0, "the budget, in steps", least=0)
    tokens: float = option(0.0, "or in tokens", least=0)
    flops: float = option(0.0, "or in FLOPs", least=0)
    epochs: float = option(0.0, "or in epochs of the data", least=0)
    flops_rule: str = option(
        "exact",
        "exact counts attention and the head where it is computed; 6nd is the paper's 6·N·D",
        one_of=FLOPS_RULES,
    )
    unique_tokens: float = option(
        0.0, "train on about so many tokens of the data alone, again and again; 0: all", least=0
    )
    unique_subset: int = option(0, "which ones: stretches of that length, counted from the beginning", least=0)
    model: ModelFields = field(default_factory=ModelFields)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optimizer: OptimizerFields = field(default_factory=OptimizerFields)
    validation: ValidationFields = field(default_factory=ValidationFields)
    checkpoint: CheckpointFields = field(default_factory=CheckpointFields)
    parallel: ParallelFields = field(default_factory=ParallelFields)
    sft: SFTFields | None = None  # fine-tuning on prompts and answers: `data` is then a file of JSON lines
    lora: LoRAFields | None = None
    activation_checkpointing: bool = option(
        False, "recompute each layer in the backward pass: less memory, more arithmetic"
    )
    dropout: float = option(
        0.0, "share of what attention and MLP add to the residual stream that is dropped in training", least=0, below=1
    )
    ema: float = option(0.0, "decay of averaged weights, which checkpoints then hold; 0: off", least=0, below=1)
    compile: bool = option(False, "compiled steps")
    precision: str = option("auto", "type of the products: fp32, bf16, or the faster one", one_of=PRECISIONS)
    device: str = option("auto", "auto, cpu, cuda")
    threads: int = option(0, "0: PyTorch's choice", least=0, most=1024)
    log_every: int = option(10, "steps a line of metrics.jsonl", least=1)
    max_skipped: int = option(10, "steps in a row with a gradient that is not finite", least=1)
    wandb: str = option("off", "Weights & Biases too (unmask[wandb])", one_of=("off", "offline", "online"))
    profile: int = option(0, "steps to trace into trace.json, after two", least=0)

    def __post_init__(self) -> None:
        if missing := [name for name in ("data", "out") if not getattr(self, name)]:
            what = " and ".join(missing) + (" are" if missing[1:] else " is")
            mend = " ".join(f"--{name} FOLDER" for name in missing)
            raise UserError(f"{what} missing in the recipe; add {mend}, or such a line there", field=missing[0])
        budgets = [name for name in BUDGETS if getattr(self, name)]
        if len(budgets) != 1:
            given = " and ".join(budgets) or "none"
            needs = "a recipe needs exactly one of steps, tokens, flops and epochs"
            raise UserError(f"{needs}, not {given}", field="steps")
        super().__post_init__()
        if self.batch_size % (self.micro_batch or self.batch_size):
            divided = f"batch_size {self.batch_size} does not divide by micro_batch {self.micro_batch}"
            raise UserError(divided, field="micro_batch")
        if self.objective.span > self.context:
            longer = f"objective.span {self.objective.span} is longer than context {self.context}; give fewer tokens"
            raise UserError(longer, field="objective.span")
        for name in ("sft", "lora"):
            if getattr(self, name) is not None and self.init is None:
                raise UserError(f"{name} needs a model to start from; add `init: RUN` or --init RUN", field="init")
        if self.lora is not None and self.ema:
            raise UserError("ema averages whole models and lora trains none; leave out one of them", field="ema")
        if self.fork is not None:
            fork_of(self.fork)
        elif self.optimizer.schedule == "cooldown":
            falls = "optimizer.schedule cooldown falls from where a run forks off another"
            raise UserError(f"{falls}; add --fork RUN@STEP", field="fork")

    @property
    def forked_at(self) -> int:
        """The step at which the run forks off another; 0 where it does not."""
        return 0 if self.fork is None else fork_of(self.fork)[1]

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def budget(self) -> dict[str, Any]:
        """The one that counts, by its name."""
        return {name: value for name in BUDGETS if (value := getattr(self, name))}


def fork_of(text: str) -> tuple[str, int]:
    """(run folder, step) of ``runs/trunk@800``. Raises `UserError` where it is not of that form."""
    run, _, step = text.rpartition("@")
    if not run or not step.isdecimal() or not int(step):
        where = "give RUN@STEP, a run folder and the step of one of its checkpoints"
        raise UserError(f"fork is {text!r}; {where}", field="fork")
    return run, int(step)
