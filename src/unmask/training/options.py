"""What `unmask train` and `unmask plan` take; no heavy import, since their help is shown from here.

    unmask train demo-mdm --data data/sotu --out runs/mdm --steps 200 --optimizer.lr 1e-3
    unmask plan 170M --tokens 10e9 --gpus 8 --parallel fsdp
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from unmask.errors import UserError, nearest
from unmask.options import NEEDED, Options, Result, argument, declared, flags, option, parser, values
from unmask.settings import listed_recipes

KEYS = """\
Any key of the recipe can be given, before or behind it, with a dot between a group and its key:

  unmask train demo-mdm --data data/sotu --out runs/mdm --steps 200 --model.n_layer 4 --optimizer.lr 1e-3
  unmask train runs/mdm --resume
  unmask train runs/mdm --resume --steps 400      (longer; schedules constant and wsd)
  unmask train runs/mdm --fork runs/mdm@100 --out runs/branch --optimizer.schedule cooldown      (a new run from there)

Values are as in YAML: numbers, true, null, words, '{rank: 16, alpha: 32}' for a whole group. The budget (steps, tokens,
flops or epochs) replaces the recipe's.

keys:
"""


@dataclass(frozen=True)
class TrainOptions(Options):
    """Trains by a recipe; every key of it can be given as --key value."""

    usage = "unmask train RECIPE [--KEY VALUE ...] [--resume] [--dry-run] [--json]"

    recipe: str | None = argument(
        "RECIPE", "a YAML file, the name of a recipe below, or with --resume a run's folder", None
    )
    resume: bool = option(False, "go on from the newest checkpoint, bit-exactly")
    dry_run: bool = option(False, "only show the resolved recipe and what it will take")
    keys: dict[str, str] = field(default_factory=dict)  # of the recipe, with a dot between a group and its key

    @classmethod
    def epilog(cls) -> str:
        keys = [f"  --{name}  {words} (default: {in_yaml(default)})" for name, words, default in recipe_keys()]
        return KEYS + "\n".join(keys) + f"\n\nrecipes:\n{listed_recipes()}"

    @classmethod
    def from_words(cls, words: Sequence[str], command: str) -> tuple[Self, bool]:
        known, keys = parted(words, flags(cls))
        given, rest = parser(cls, command).parse_known_args(known)
        return cls(**values(cls, given), keys=pairs([*keys, *rest])), given.json

    def run(self) -> Result | None:
        if self.recipe is None:
            mend = f"give a YAML file, a run with --resume, or one of\n{listed_recipes()}"
            raise UserError(f"no recipe is given; {mend}", field="recipe")
        from unmask.training.dry_run import dry_run
        from unmask.training.loop import train
        from unmask.training.record import chosen_recipe

        recipe = chosen_recipe(self.recipe, self.keys, self.resume)
        if self.dry_run:
            planned = dry_run(recipe, resume=self.resume)
            return None if planned is None else Result(planned.to_dict(), planned.in_words())
        trained = train(recipe, resume=self.resume)
        loss = "" if trained.validation is None else f", validation {trained.validation['loss']:.4f} nats/token"
        words = f"{trained.run}: step {trained.step} of {trained.steps}{loss}" if trained.rank == 0 else ""
        status = 128 + trained.signal if trained.signal else 0
        return Result(trained.to_dict() if trained.rank == 0 else None, words, status)


def in_yaml(default: Any) -> str:
    """A default as a recipe says it."""
    return "none" if default in ("", []) else default if isinstance(default, str) else json.dumps(default)


def recipe_keys() -> Iterator[tuple[str, str, Any]]:
    """Every key of a recipe with what it means and its default."""
    from unmask.training.recipe import group_types
    from unmask.training.recipe_fields import Recipe

    def of(cls: type, prefix: str) -> Iterator[tuple[str, str, Any]]:
        for key in declared(cls):
            yield f"{prefix}{key.name}", key.declared.help, key.default
        for name, inner in group_types(cls).items():
            yield from of(inner, f"{prefix}{name}.")

    return of(Recipe, "")


def parted(words: Sequence[str], known: Sequence[str]) -> tuple[list[str], list[str]]:
    """What the verb itself knows, and the recipe's keys with their values, which stand anywhere between."""
    own, keys = [], []
    left = list(words)
    while left:
        word = left.pop(0)
        if not word.startswith("--") or word.partition("=")[0] in known:
            own.append(word)
            continue
        keys.append(word)
        if "=" not in word and left and not left[0].startswith("--"):
            keys.append(left.pop(0))
    return own, keys


def pairs(words: Sequence[str]) -> dict[str, str]:
    """``--model.n_layer 4 --steps=10`` as a mapping. Raises `UserError` for a key that is given twice."""
    given: dict[str, str] = {}
    left = list(words)
    while left:
        name, equals, value = left.pop(0).partition("=")
        if not name.startswith("--"):
            raise UserError(f"unknown argument {name}; give a recipe's keys as --KEY VALUE")
        if not equals:
            if not left or left[0].startswith("--"):
                hint = nearest(name, ("--resume", "--dry-run", "--json", "--help"))
                raise UserError(f"{name} has no value{hint}; give {name} VALUE", field=name[2:])
            value = left.pop(0)
        if name[2:] in given:
            both = f"as {given[name[2:]]} and as {value}"
            raise UserError(f"{name} is given twice, {both}; leave out one", field=name[2:])
        given[name[2:]] = value
    return given


@dataclass(frozen=True)
class PlanOptions(Options):
    """What a run will take: memory a device by use, steps, FLOPs by both rules, time at a stated efficiency."""

    size: str = argument("SIZE", "6M .. 2121M")
    tokens: float = option(NEEDED, "to train on, such as 10e9", least=1)
    gpus: int = option(1, "devices", least=1)
    batch: int = option(256, "sequences a step, over all devices", least=1)
    micro_batch: int = option(0, "sequences a backward pass; 0: a device's share")
    context: int = option(2048, "tokens a sequence", least=1)
    vocab: int = option(32000, "tokens of the vocabulary", least=1)
    kind: str = option("mdm", "mdm or arm", one_of=("mdm", "arm"))
    precision: str = option("bf16", "bf16 (autocast) or fp32", one_of=("fp32", "bf16"))
    parallel: str = option("ddp", "ddp or fsdp", one_of=("ddp", "fsdp"))
    shard: int = option(0, "fsdp: devices that share one copy; 0: all")
    activation_checkpointing: bool = option(False, "keep less, compute more")
    peak: float | None = option(None, "of a device; by default measured here", above=0, metavar="TFLOPS")
    efficiency: float = option(0.4, "share of the peak that is reached", above=0, most=1)
    random_length: float = option(0.01, "share of sequences of a random length")
    device: str = option("cuda", "cuda or cpu: how large the head's chunks are", one_of=("cuda", "cpu"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shard < 0 or (self.shard and self.gpus % self.shard):
            raise UserError(f"--shard {self.shard} does not divide --gpus {self.gpus}", field="shard")
        if self.micro_batch < 0 or self.batch % (self.gpus * (self.micro_batch or 1)):
            over = f" x --micro-batch {self.micro_batch}" if self.micro_batch else ""
            raise UserError(f"--batch {self.batch} does not divide by --gpus {self.gpus}{over}", field="batch")

    def run(self) -> Result:
        from unmask.training.plan import describe, plan

        planned = plan(self)
        return Result(planned.to_dict(), describe(planned))
