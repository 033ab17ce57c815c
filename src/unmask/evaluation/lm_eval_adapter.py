"""Our models in lm-evaluation-harness 0.4.13 (EleutherAI): likelihoods with their protocol, and generation.

    unmask lm-eval --model unmask --model_args path=runs/mdm,method=mc-fixed,guidance=0.7 --tasks unmask_piqa
    unmask lm-eval --model unmask --model_args path=runs/mdm,method=mc-fixed,guidance=0.7 --tasks unmask_hellaswag

The harness finds models by a registry and has no plug-in entry point, so `unmask lm-eval` registers this class and then
hands over to the harness's own command line. Context and continuation are encoded together, spaces at the border
belonging to the continuation, as the harness demands. Masked diffusion models and autoregressive ones answer alike.
"""

from __future__ import annotations

import inspect
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any

try:
    from lm_eval.api.model import LM
    from lm_eval.api.registry import register_model
except ImportError as missing:
    from unmask.errors import UserError as _UserError
    from unmask.evaluation.harness import MISSING

    raise _UserError(MISSING) from missing

from unmask.decoding import generate
from unmask.decoding.rules.plugins import given
from unmask.errors import UserError, nearest
from unmask.evaluation.generation_arguments import Wanted, cut_before, fit, read_arguments
from unmask.evaluation.harness import NO_TEMPLATE, tame, task_manager
from unmask.evaluation.provenance import model_facts
from unmask.evaluation.request_store import RequestStore, request_key
from unmask.evaluation.status import StatusLine
from unmask.likelihood.estimators import Estimator
from unmask.likelihood.pairs import Pair
from unmask.likelihood.passes import batch_size, check_guidance
from unmask.likelihood.rolling import rolling, text_ids
from unmask.likelihood.scoring import MAX_DRAWS, check_until, error_of_total, score_pairs
from unmask.model.folder import Model, load
from unmask.statistics import interval

__all__ = ["Answer", "UnmaskLM", "Writing", "task_manager"]
CHUNK = 64  # requests between two looks at the clock; answers of one question stay together
IGNORED = ("batch_size", "max_batch_size")  # the harness passes these to every model; batches go by tokens here
tame()


@dataclass(frozen=True)
class Answer:
    """A likelihood and what it rests on."""

    logprob: float
    se: float
    n_tokens: int
    greedy: bool
    dropped: int  # tokens of the context that did not fit the model
    pieces: int  # more than 1 where the continuation did not fit, 0 where there is nothing to score
    groups: int = 0  # independent groups that the error comes from

    @property
    def interval(self) -> list[float] | None:
        """95%, of `logprob`; None where nothing tells it."""
        return interval(self.logprob, self.se, self.groups)


EMPTY = Answer(logprob=0.0, se=0.0, n_tokens=0, greedy=False, dropped=0, pieces=1)  # of a text without a token


@dataclass(frozen=True)
class Writing:
    """A generated text and what became of its request."""

    text: str
    dropped: int  # tokens of the prompt that did not fit the model
    length: int  # new tokens at most
    wanted: int  # new tokens asked for


@register_model("unmask")
class UnmaskLM(LM):
    """A model by its path (or loaded), and how it is to be asked.

    method, draws, order, seed, until_se, guidance: as in `unmask.score`. greedy: whether to decide if greedy decoding
    writes the continuation, which LAMBADA's accuracy asks for. store: a file that keeps answers as they come, so that a
    killed evaluation goes on. steps, decoding_order: of generation. special_tokens: those that a text spells are ids.
    device, dtype, verify: as of `unmask.load`. Raises `UserError` for settings unknown.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        method: str = "mc-fixed",
        guidance: float = 0.0,
        draws: int | None = None,
        order: str = "left-to-right",
        seed: int = 0,
        until_se: float | None = None,
        greedy: bool = True,
        store: str | Path | None = None,
        device: str = "cpu",
        dtype: str = "fp32",
        batch_tokens: int | None = None,
        steps: int | None = None,
        decoding_order: str = "confidence",
        special_tokens: bool = False,
        model: Model | None = None,
        progress: bool = True,
        verify: bool | None = None,
        **others: Any,
    ) -> None:
        super().__init__()
        known = [name for name in inspect.signature(UnmaskLM).parameters if name != "others"]
        for name in others:
            if name not in IGNORED:
                raise UserError(f"model_args: '{name}' is unknown{nearest(name, known)}; give path=RUN,method=...")
        if model is None:
            if path is None:
                raise UserError("model_args has no path; give path=RUN, a run or a model folder")
            model = load(path, device, dtype, verify=verify)
        self.model = model
        self.estimator = Estimator("exact") if model.kind == "arm" else Estimator(method, draws, order)
        asked = Estimator(method, draws, order)  # a mistake is one for either kind
        for name, value, kind in (("guidance", guidance, Real), ("seed", seed, Integral)):
            if not isinstance(value, kind) or isinstance(value, bool):
                raise UserError(f"model_args: {name} is {value!r}; give a {'whole ' * (kind is Integral)}number")
        for name, switch in (("greedy", greedy), ("progress", progress), ("special_tokens", special_tokens)):
            if not isinstance(switch, bool):
                raise UserError(f"model_args: {name} is {switch!r}; give True or False")
        check_guidance(model, float(guidance))
        batch_size(model, batch_tokens)
        if until_se is not None:
            check_until(asked, until_se, MAX_DRAWS)
        read_arguments({} if steps is None else {"steps": steps})
        self.guidance, self.seed, self.until_se, self.greedy = float(guidance), int(seed), until_se, greedy
        self.batch_tokens, self.steps, self.decoding_order = batch_tokens, steps, decoding_order
        self.special_tokens = special_tokens
        self.progress = progress
        self.protocol = {
            "model": model_facts(model),
            "estimator": {**self.estimator.to_dict(), "target": self.target},
            "guidance": self.guidance,
            "seed": self.seed,
            "until_se": None if model.kind == "arm" else self.until_se,
            "greedy": self.greedy,
            **({"special_tokens": True} if self.special_tokens else {}),
            **given(),
        }
        self.store = RequestStore(None if store is None else Path(store), self.protocol)

    @property
    def target(self) -> str:
        return "exact" if self.model.kind == "arm" else self.estimator.target

    @property
    def tokenizer_name(self) -> str:
        return self.model.tokenizer.hash[:16] if self.model.tokenizer else "none"

    def get_model_info(self) -> dict[str, Any]:
        """What the harness writes into its results beside the settings."""
        return {"unmask": self.protocol}

    # ------------------------------------------------------------------ likelihood

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        """An empty continuation has 0 nats, as the harness counts it."""
        answers = self.answers([request.args for request in requests])
        tasks = tasks_of(requests)
        if cut := sum(answer.dropped > 0 for answer in answers):
            self._tell(f"{tasks}{cut} of {len(answers)} contexts are cut on the left")
        if pieces := sum(answer.pieces > 1 for answer in answers):
            self._tell(f"{tasks}{pieces} of {len(answers)} continuations are scored in pieces")
        return [(answer.logprob, answer.greedy) for answer in answers]

    def _tell(self, what: str) -> None:
        warnings.warn(f"{what} to fit the model's {self.model.config.block_size} tokens", stacklevel=3)

    def answers(self, pairs: list[tuple[str, str]]) -> list[Answer]:
        """An `Answer` for each (context, continuation); those of the store are not asked again."""
        keys = [request_key("loglikelihood", *pair[:2]) for pair in pairs]
        todo: dict[str, tuple[str, str, str]] = {}
        for number, (key, pair) in enumerate(zip(keys, pairs, strict=True)):
            if self.store.get(key) is None:
                todo.setdefault(key, (pair[0], pair[1], f"loglikelihood request {number}"))
        # By length, so that a batch has little padding; by context, so that answers of one question share their work.
        order = sorted(todo, key=lambda key: (-len(todo[key][0]), todo[key][0], -len(todo[key][1])))
        with StatusLine(len(order), "requests", shown=self.progress) as status:
            for start in range(0, len(order), CHUNK):
                chunk = order[start : start + CHUNK]
                for key, answer in zip(chunk, self._score([todo[key] for key in chunk]), strict=True):
                    self.store.put(key, asdict(answer))
                status.update(start + len(chunk))
        return [Answer(**self.store.get(key)) for key in keys]

    def _score(self, pairs: list[tuple[str, str, str]]) -> Iterator[Answer]:
        special = self.special_tokens
        pieces = [Pair.make_pieces(self.model, context, text, name, special) for context, text, name in pairs]
        made = [piece for parts in pieces for piece in parts]
        scores = iter(
            score_pairs(
                self.model,
                made,
                self.estimator,
                self.guidance,
                self.seed,
                self.batch_tokens,
                self.until_se,
                greedy=self.greedy,
            )
        )
        for parts in pieces:
            own = [next(scores) for _ in parts]
            se, groups = error_of_total(parts, own)
            yield Answer(
                logprob=sum((score.logprob for score in own), 0.0),
                se=se,
                n_tokens=sum(score.n_tokens for score in own),
                greedy=all(bool(score.greedy) for score in own),
                dropped=parts[0].dropped if parts else 0,
                pieces=len(parts),
                groups=groups,
            )

    def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
        """Whole texts, in windows of the model's context; an empty one has 0 nats."""
        if self.guidance:
            warnings.warn("guidance has no meaning for a text without a prompt; it is scored without", stacklevel=2)
        return [answer.logprob for answer in self.rolled([request.args[0] for request in requests])]

    def rolled(self, texts: list[str]) -> list[Answer]:
        """An `Answer` for each whole text; those of the store are not asked again."""
        for number, text in enumerate(texts):
            key = request_key("rolling", text)
            if self.store.get(key) is None and text_ids(self.model, text, self.special_tokens):
                (score,) = rolling(
                    self.model,
                    [text],
                    method=None if self.model.kind == "arm" else self.estimator.method,
                    draws=self.estimator.draws or None,
                    order=self.estimator.order,
                    seed=self.seed,
                    batch_tokens=self.batch_tokens,
                    until_se=self.until_se,
                    special_tokens=self.special_tokens,
                    names=[f"loglikelihood_rolling request {number}"],
                )
                self.store.put(key, score.to_dict())
        kept = [self.store.get(request_key("rolling", text)) or {} for text in texts]
        shared = ("logprob", "se", "n_tokens", "groups")
        return [replace(EMPTY, **{name: score[name] for name in shared if name in score}) for score in kept]

    # ------------------------------------------------------------------ generation

    def generate_until(self, requests: list[Any]) -> list[str]:
        """Greedy unless the task samples; a row ends before the first stop text, or at its end of sequence.

        The same question asked again (`repeats`) is drawn anew where it is sampled: the noise is a function of seed,
        prompt, settings, and how often they were asked before in this call.
        """
        written = self.writings([request.args[:2] for request in requests])
        cut = sum(writing.dropped > 0 for writing in written)
        short = [writing for writing in written if writing.length < writing.wanted]
        notes = [f"{cut} of {len(written)} prompts are cut on the left"] if cut else []
        if short:
            least, most = min(writing.length for writing in short), max(writing.wanted for writing in short)
            notes.append(f"{len(short)} of {len(written)} texts have at most {least} tokens where {most} are asked for")
        if notes:
            self._tell(f"{tasks_of(requests)}{', and '.join(notes)}{',' * bool(short)}")
        return [writing.text for writing in written]

    def writings(self, asked: list[tuple[str, dict[str, Any]]]) -> list[Writing]:
        """A `Writing` for each (prompt, generation arguments); those of the store are not written again."""
        wanted = [read_arguments(settings) for _, settings in asked]
        keys, before = [], Counter[str]()
        todo: dict[str, tuple[str, Wanted]] = {}
        for (prompt, _), arguments in zip(asked, wanted, strict=True):
            base = request_key("generate", prompt, arguments.key(), self.steps, self.decoding_order)
            repeat = before[base] if arguments.sampled else 0
            before[base] += 1
            keys.append(request_key(base, repeat) if repeat else base)
            if self.store.get(keys[-1]) is None:
                todo[keys[-1]] = (prompt, arguments)
        alike: dict[str, list[str]] = {}
        for key, (_, arguments) in todo.items():
            alike.setdefault(request_key(arguments.key()), []).append(key)
        with StatusLine(len(todo), "texts", shown=self.progress) as status:
            done = 0
            for group in alike.values():
                for start in range(0, len(group), CHUNK):
                    chunk = group[start : start + CHUNK]
                    texts = self._generate([todo[key][0] for key in chunk], todo[chunk[0]][1], chunk)
                    for key, text in zip(chunk, texts, strict=True):
                        self.store.put(key, asdict(text))
                    status.update(done := done + len(chunk))
        return [Writing(**self.store.get(key)) for key in keys]

    def _generate(self, prompts: list[str], wanted: Wanted, keys: list[str]) -> list[Writing]:
        if not wanted.length:
            return [Writing("", 0, 0, 0) for _ in prompts]
        ids = [self.model.encode(prompt, self.special_tokens) for prompt in prompts]
        fitting = [fit(row, wanted.length, self.model.config.block_size) for row in ids]
        options: dict[str, Any] = {} if self.model.kind == "arm" else {"order": self.decoding_order}
        if self.model.kind == "mdm" and self.steps is not None:
            options["steps"] = self.steps
        results = generate(
            self.model,
            [row for row, _ in fitting],
            length=[length for _, length in fitting],
            seed=[(self.seed, int(key[:12], 16)) for key in keys],
            stop=wanted.stops or None,
            # eos: the law of filling all, without the passes behind the end
            **{"guidance": self.guidance, "eos": "truncate", **options, **wanted.options},
        )
        return [
            Writing(cut_before(result.text or "", wanted.stops), len(whole) - len(row), length, wanted.length)
            for result, whole, (row, length) in zip(results, ids, fitting, strict=True)
        ]

    # ------------------------------------------------------------------ chat templates

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        return self.apply_chat_template([]) if chat_template else ""

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Raises `UserError`: a model folder holds no chat template."""
        raise UserError(f"apply_chat_template: {NO_TEMPLATE}")


def tasks_of(requests: list[Any]) -> str:
    """``gsm8k: `` for a message."""
    names = sorted({name for request in requests if (name := getattr(request, "task_name", None))})
    return f"{', '.join(names)}: " if names else ""
