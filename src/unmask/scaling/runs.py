"""From the parts of a plan to its runs: sizes, tokens, steps, rates and names, all of them functions of the settings.

    runs = planned_runs(spec, Facts.of(spec))        # in the order in which they will run
    runs[0].name, runs[0].digest(facts.data_sum)     # "mdm-64x3-1.6e13-s0", and a sum of all that decides its loss

A part of design `trunk` comes to one run at a constant rate for each size, subset and seed (`mdm-64x3-trunk-s0`) and a
branch off it at each length (`mdm-64x3-1.6e13-s0-branch`): the last tokens, at a falling rate.

A run's name says what it is; its digest holds everything that determines the weights. So a plan can be made anew with
more budgets, sizes or seeds, and the runs that are done are still the same ones.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from unmask.data.manifest import Manifest
from unmask.diffusion.objective_config import ObjectiveConfig
from unmask.errors import UserError
from unmask.model.flops import FLOPS_RULES, training_flops_per_token
from unmask.model.presets import mean_length
from unmask.scaling import best
from unmask.scaling.parts import LENGTHS, SCHEDULE, Part, Spec
from unmask.scaling.rules import Batch, LearningRate
from unmask.scaling.shapes import Shape, shape_of, shapes_of
from unmask.training.overrides import apply
from unmask.training.recipe import build
from unmask.training.recipe_fields import Recipe
from unmask.training.run_folder import flat

LINES = 2000  # of a run's metrics, at most
LINE_TOKENS = 16384  # at least, of each
# Of a recipe, what decides no weights: where it runs, how it is logged, and what changes rounding alone.
ASIDE = (
    *("data", "out", "threads", "device", "compile", "micro_batch", "activation_checkpointing", "parallel"),
    *("log_every", "validation", "checkpoint", "wandb", "profile", "max_skipped"),
)


@dataclass(frozen=True)
class Facts:
    """What a plan must know of the data."""

    vocab: int
    tokens: int | None = None  # of the training split; None without data
    held_out: int | None = None
    data_sum: str = ""  # of the shards' sums and the tokenizer's

    @classmethod
    def of(cls, spec: Spec) -> Facts:
        """Raises `UserError` where the data is not there, or not of the vocabulary that is asked for."""
        if not spec.data:
            return cls(spec.vocab)
        manifest = Manifest.load(spec.data)
        if spec.vocab and spec.vocab != manifest.vocab_size:
            raise UserError(f"vocab is {spec.vocab}, but {spec.data} has {manifest.vocab_size}; leave out vocab")
        splits = manifest.splits
        sums = [manifest.tokenizer_hash, *(shard.sha256 for name in sorted(splits) for shard in splits[name].shards)]
        total = hashlib.sha256("\n".join(sums).encode()).hexdigest()
        return cls(manifest.vocab_size, splits["train"].tokens, splits["validation"].tokens, total)


@dataclass(frozen=True)
class PlannedRun:
    """One run. What is above the line decides it, what is below follows."""

    name: str
    part: str
    objective: str
    size: str
    seed: int
    batch: int  # sequences a step
    lr: float
    warmup: int  # steps
    steps: int
    context: int
    precision: str
    compile: bool = False
    unique_tokens: float = 0.0
    subset: int = 0
    recipe: dict[str, Any] = field(default_factory=dict)
    trunk: str | None = None  # the run that a branch forks off, and at which step
    forked_at: int = 0
    forks: list[int] = field(default_factory=list)  # of a trunk: the steps at which branches fork off
    # ---
    fitted: bool = True  # whether laws are fitted to it
    budget: float | None = None  # FLOPs by the plan's rule; None where tokens or epochs were asked for
    params: int = 0  # N, non-embedding
    tokens: float = 0.0  # D
    flops_per_token: float = 0.0  # exact
    flops: float = 0.0  # exact
    flops_6nd: float = 0.0
    epochs: float | None = None  # of what it is trained on
    seconds: float | None = None  # training and scoring, expected

    @property
    def shape(self) -> Shape:
        return shape_of(self.size)

    @property
    def batch_tokens(self) -> int:
        return self.batch * self.context

    @property
    def is_trunk(self) -> bool:
        return bool(self.forks)

    @property
    def own_share(self) -> float:
        """Of its steps (and tokens, and FLOPs), those that are its own and not its trunk's."""
        return 1 - self.forked_at / self.steps

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def recipe_for(self, data: str, out: str, threads: int = 1, precision: str | None = None) -> Recipe:
        """What `unmask train` is given. Raises `UserError` where the plan's recipe keys are wrong."""
        lines = max(LINE_TOKENS, self.tokens / LINES)
        fields: dict[str, Any] = {
            **{"data": data, "out": out, "seed": self.seed, "context": self.context, "batch_size": self.batch},
            **{"steps": self.steps, "precision": precision or self.precision, "compile": self.compile},
            **{"threads": threads, "log_every": max(1, round(lines / self.batch_tokens))},
            "model": self.shape.fields(),
            "objective": {"kind": self.objective},
            "optimizer": {"lr": self.lr, "warmup": self.warmup},
            # Every run is scored when it is done; validation on the way is only looked at.
            "validation": {"every": max(1, self.steps // 5), "windows": 32, "draws": 2},
            "checkpoint": {"keep": 1, "at": self.forks},
        }
        schedule = {}
        if self.trunk is not None:
            fields["fork"] = self.fork_beside(out)
        if self.trunk is not None or self.is_trunk:
            schedule = {SCHEDULE: "cooldown" if self.trunk else "constant"}
        if self.unique_tokens:
            fields |= {"unique_tokens": self.unique_tokens, "unique_subset": self.subset}
            every = max(1, self.steps // best.VALIDATIONS)
            fields["validation"] = {"every": every, "windows": best.WINDOWS, "draws": best.DRAWS}
        return build(Recipe, apply(fields, {**self.recipe, **schedule}), f"run {self.name}: ")

    def fork_beside(self, out: str) -> str:
        """A branch's RUN@STEP where it lies in `out`, its trunk beside it."""
        return str(Path(out).parent / f"{self.trunk}@{self.forked_at}")

    def digest(self, data_sum: str) -> str:
        """A sum of all that decides the weights: settings and data. Not where it runs, nor how it is logged."""
        fields, usual = (flat(made.to_dict()) for made in (self.recipe_for("-", "-"), Recipe("-", "-", steps=1)))
        # Not what is as usual: keys that later versions add must not make other runs of these.
        decided = {
            name: value
            for name, value in fields.items()
            if name.partition(".")[0] not in ASIDE and value != usual.get(name)
        }
        if self.is_trunk:  # a longer one goes on from a shorter one
            decided.pop("steps")
        text = json.dumps([decided, data_sum], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def planned_runs(spec: Spec, facts: Facts) -> list[PlannedRun]:
    """Raises `UserError` for two runs of one name, and for what the data cannot feed."""
    runs: dict[str, PlannedRun] = {}
    for part in spec.parts:
        for run in _of_part(spec, part, facts):
            if (other := runs.get(run.name)) is not None:
                same = run.digest("") == other.digest("")
                what = "is the same run in" if same else "would be two different runs, in"
                mend = "leave out one" if same else "give one part a tag"
                where = f"parts {other.part} and {run.part}" if other.part != run.part else f"part {run.part}"
                raise UserError(f"{run.name} {what} {where}; {mend}")
            runs[run.name] = run
    if not runs:
        raise UserError("the plan has no parts; give --flops, --objective and --size, or parts in the file")
    return list(runs.values())


@dataclass(frozen=True)
class Point:
    """One point of a part's product; `batch` and `rate`: as given, or factors of the rules, or None: by the rules."""

    shape: Shape
    length: float
    seed: int
    subset: int
    batch: float | None
    rate: float | None


def _of_part(spec: Spec, part: Part, facts: Facts) -> Iterator[PlannedRun]:
    lengths = next(getattr(part, name) for name in LENGTHS if getattr(part, name))
    made = _independent if part.design == "independent" else _trunks
    for run in made(spec, part, facts, lengths):
        if run.epochs is not None and not part.unique_tokens and run.epochs > spec.most_epochs:
            raise UserError(
                f"{run.name} takes {run.tokens:,.0f} tokens, {run.epochs:.1f} epochs of {spec.data}, and "
                f"most_epochs is {spec.most_epochs:g}; give more text, or raise most_epochs"
            )
        yield run


def _tried(part: Part) -> Iterator[tuple[Shape, float | None, float | None]]:
    """Shapes with the batches and rates that a part gives them."""
    rates: list[float | None] = [*part.lr, *part.lr_factors] or [None]
    batches: list[float | None] = [*part.batch, *part.batch_factors] or [None]
    return itertools.product(shapes_of(part.sizes), batches, rates)


def _independent(spec: Spec, part: Part, facts: Facts, lengths: list[float]) -> Iterator[PlannedRun]:
    for length, subset, seed in itertools.product(lengths, part.subsets, part.seeds):
        for shape, batch, rate in _tried(part):
            yield _run(spec, part, facts, Point(shape, length, seed, subset, batch, rate))


def _trunks(spec: Spec, part: Part, facts: Facts, lengths: list[float]) -> Iterator[PlannedRun]:
    """Each trunk, then its branches by their lengths."""
    for subset, seed in itertools.product(part.subsets, part.seeds):
        for shape, batch, rate in _tried(part):
            points = [Point(shape, length, seed, subset, batch, rate) for length in sorted(lengths)]
            yield from _family(spec, part, facts, points)


def _family(spec: Spec, part: Part, facts: Facts, points: list[Point]) -> list[PlannedRun]:
    """A trunk that is as long as the last branch needs, with one batch and one warm-up for all.

    The batch is that of the geometric mean of the shortest and the longest, the warm-up that of the shortest. Raises
    `UserError` where a branch would begin within it.
    """
    ends = [_run(spec, part, facts, point).tokens for point in (points[0], points[-1])]
    runs = [_run(spec, part, facts, point, math.sqrt(ends[0] * ends[1])) for point in points]
    name, warmup = _name(part, points[0], runs[0].batch, runs[0].lr, trunk=True), runs[0].warmup
    branches = []
    for point, run in zip(points, runs, strict=True):
        cooldown = max(1, round(part.decay * run.steps))
        if run.steps - cooldown < warmup:
            raise UserError(
                f"part {part.part}: {label(part, point.length)} is {run.steps} steps of {run.size}, too few for a "
                f"branch: {warmup} of warm-up and {cooldown} of cooldown; give more, or a smaller decay"
            )
        branches.append(
            replace(run, name=f"{run.name}-branch", warmup=warmup, trunk=name, forked_at=run.steps - cooldown)
        )
    last = branches[-1]
    share = last.forked_at / last.steps
    trunk = replace(
        last, name=name, trunk=None, forked_at=0, forks=sorted({run.forked_at for run in branches}), fitted=False,
        budget=None, steps=last.forked_at, tokens=last.tokens * share, flops=last.flops * share,
        flops_6nd=last.flops_6nd * share, epochs=None if last.epochs is None else last.epochs * share,
    )  # fmt: skip
    return [trunk, *branches]


def _run(spec: Spec, part: Part, facts: Facts, point: Point, of_batch: float | None = None) -> PlannedRun:
    """of_batch: tokens that the rule of the batch is asked about instead of the run's own."""
    recipe = recipe_keys(spec, part)
    objective = objective_of(part, recipe)
    config, share = point.shape.config(part.objective, facts.vocab, spec.context), objective.head_share(spec.context)
    per_token = {rule: training_flops_per_token(config, spec.context, share, rule) for rule in FLOPS_RULES}
    there = _there(part, facts, point.subset)
    goal = _goal(part, point.length, per_token[spec.flops_rule], there)
    batch = sequences_of(spec, part, goal if of_batch is None else of_batch, point.batch)
    per_step = batch * mean_length(spec.context, objective.random_length)
    # The branch that repeats nothing is where a study begins, of another schedule than what laws are fitted to.
    beginning = part.design == "trunk" and part.unique_tokens > 0 and there is not None and goal <= 1.001 * there
    if goal < per_step:
        raise UserError(
            f"part {part.part}: {label(part, point.length)} is less than one step of {point.shape.name}; give more"
        )
    steps = int(goal / per_step)
    lr = rate_of(spec, part, config.n_params_non_embedding, batch * spec.context, point.rate)
    tokens = steps * per_step
    return PlannedRun(
        name=_name(part, point, batch, lr),
        part=part.part,
        objective=part.objective,
        size=point.shape.name,
        seed=point.seed,
        batch=batch,
        lr=lr,
        warmup=max(1, round(spec.warmup * steps)),
        steps=steps,
        context=spec.context,
        precision=part.precision or spec.precision,
        compile=bool(spec.compile),
        unique_tokens=part.unique_tokens,
        subset=point.subset,
        recipe=recipe,
        fitted=part.fitted and not beginning,
        budget=point.length if part.flops else None,
        params=config.n_params_non_embedding,
        tokens=tokens,
        flops_per_token=per_token["exact"],
        flops=tokens * per_token["exact"],
        flops_6nd=tokens * per_token["6nd"],
        epochs=tokens / there if there else None,
    )


def recipe_keys(spec: Spec, part: Part) -> dict[str, Any]:
    """What the plan says of the recipe beside its rules, by dotted key; how masks are drawn is no matter of an ARM."""
    keys = {**flat(spec.recipe), **flat(part.recipe)}
    masks = ("objective.masking", "objective.weighting", "objective.schedule", "objective.epsilon")
    return {key: value for key, value in keys.items() if part.objective == "mdm" or key not in masks}


def objective_of(part: Part, recipe: dict[str, Any]) -> ObjectiveConfig:
    fields = {"data": "-", "out": "-", "steps": 1, "objective": {"kind": part.objective}}
    return build(Recipe, apply(fields, recipe), f"part {part.part}: recipe.").objective


def sequences_of(spec: Spec, part: Part, goal: float, given: float | None) -> int:
    """Sequences a step of a run of `goal` tokens."""
    if part.batch and given is not None:
        return int(given)
    rule = spec.batch.get(part.objective, Batch()).of(goal, spec.context)
    return rule if given is None else max(1, round(rule * given))


def rate_of(spec: Spec, part: Part, params: int, batch_tokens: int, given: float | None) -> float:
    """The peak learning rate."""
    if part.lr and given is not None:
        return given
    rule = spec.lr.get(part.objective, LearningRate()).of(params, batch_tokens)
    return rule if given is None else float(f"{rule * given:.3g}")


def _there(part: Part, facts: Facts, subset: int) -> float | None:
    """Tokens that a run is trained on before they come again. Raises `UserError` where there are fewer."""
    if not part.unique_tokens:
        return facts.tokens
    wanted = part.unique_tokens * (subset + 1)
    if facts.tokens is not None and wanted > facts.tokens:
        raise UserError(
            f"part {part.part}: subset {subset} of {part.unique_tokens:,.0f} unique tokens ends at {wanted:,.0f}, and "
            f"the data has {facts.tokens:,}; give more text, or fewer unique_tokens"
        )
    return part.unique_tokens


def _goal(part: Part, length: float, per_token: float, there: float | None) -> float:
    """Tokens that are asked for."""
    if part.flops:
        return length / per_token
    if part.tokens:
        return length
    if there is None:
        raise UserError(f"part {part.part}: epochs are of data, or of unique_tokens; give one of them")
    return length * there


def label(part: Part, length: float) -> str:
    """How long, as a name says it: 1.6e13, 5e6t, 16ep."""
    return short(length) + ("" if part.flops else "t" if part.tokens else "ep")


def _name(part: Part, point: Point, batch: int, lr: float, trunk: bool = False) -> str:
    words = [part.objective, point.shape.name, "trunk" if trunk else label(part, point.length), f"s{point.seed}"]
    if part.unique_tokens:
        words.append(f"u{short(part.unique_tokens)}.{point.subset}")
    words += [] if point.rate is None else [f"lr{lr:g}"]
    words += [] if point.batch is None else [f"b{batch}"]
    words += [part.precision] if part.precision else []
    return "-".join([*words, part.tag] if part.tag else words)


def short(number: float) -> str:
    """``1.6e13``, ``500000``."""
    return re.sub(r"e\+0*", "e", f"{number:.6g}")
