"""Our models in lm-evaluation-harness 0.4.13 (EleutherAI): likelihoods with their protocol, and generation.

    unmask lm-eval --model unmask --model_args path=runs/mdm,method=mc-fixed,guidance=0.7 --tasks unmask_piqa
    unmask lm-eval --model unmask --model_args path=runs/mdm,method=mc-fixed,guidance=0.7 --tasks unmask_hellaswag

The harness finds models by a registry and has no plug-in entry point, so `unmask lm-eval` registers this class and then
hands over to the harness's own command line. Context and continuation are encoded together, spaces at the border
belonging to the continuation, as the harness demands. Masked diffusion models and autoregressive ones answer alike.
"""

from __future__ import annotations

import inspect
import math
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

try:
    from lm_eval.api.model import LM
    from lm_eval.api.registry import register_model
except ImportError as missing:
    from unmask.errors import UserError as _UserError

    raise _UserError("the benchmarks need lm-evaluation-harness: pip install 'unmask[eval]'") from missing

from unmask.decoding import generate
from unmask.errors import UserError, nearest
from unmask.evaluation.provenance import model_facts
from unmask.evaluation.request_store import RequestStore, request_key
from unmask.evaluation.status import StatusLine
from unmask.likelihood.estimators import Estimator
from unmask.likelihood.pairs import Pair
from unmask.likelihood.rolling import rolling
from unmask.likelihood.scoring import score_pairs
from unmask.model.folder import Model, load

TASKS = Path(__file__).parent / "tasks"
CHUNK = 64  # requests between two looks at the clock; answers of one question stay together
DEFAULT_NEW_TOKENS = 256  # as in the harness, where a task says nothing
IGNORED = ("batch_size", "max_batch_size")  # the harness passes these to every model; batches go by tokens here


@dataclass(frozen=True)
class Answer:
    """A likelihood and what it rests on."""

    logprob: float
    se: float
    n_tokens: int
    greedy: bool
    dropped: int  # tokens of the context that did not fit the model
    pieces: int  # more than 1 where the continuation did not fit


@register_model("unmask")
class UnmaskLM(LM):
    """A model by its path (or loaded), and how it is to be asked.

    method, draws, order, seed, until_se, guidance: as in `unmask.score`. greedy: whether to decide if greedy decoding
    writes the continuation, which LAMBADA's accuracy asks for. store: a file that keeps answers as they come, so that a
    killed evaluation goes on. steps, decoding_order: of generation. special_tokens: those that a text spells are ids.
    Raises `UserError` for settings unknown.
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
        device: str | None = None,
        batch_tokens: int | None = None,
        steps: int | None = None,
        decoding_order: str = "confidence",
        special_tokens: bool = False,
        model: Model | None = None,
        progress: bool = True,
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
            model = load(path, device=usable_device(device))
        self.model = model
        self.estimator = Estimator("exact") if model.kind == "arm" else Estimator(method, draws, order)
        self.guidance, self.seed, self.until_se, self.greedy = float(guidance), int(seed), until_se, bool(greedy)
        if model.kind == "arm":
            Estimator(method, draws, order)  # a mistake is one for either kind
            if self.guidance:
                raise UserError("guidance needs a masked diffusion model; leave it out for an autoregressive one")
        self.batch_tokens, self.steps, self.decoding_order = batch_tokens, steps, decoding_order
        self.special_tokens = bool(special_tokens)
        self.progress = progress
        self.protocol = {
            "model": model_facts(model),
            "estimator": {**asdict(self.estimator), "target": self.target},
            "guidance": self.guidance,
            "seed": self.seed,
            "until_se": None if model.kind == "arm" else self.until_se,
            "greedy": self.greedy,
            **({"special_tokens": True} if self.special_tokens else {}),
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
        answers = self.answers([request.args for request in requests])
        return [(answer.logprob, answer.greedy) for answer in answers]

    def answers(self, pairs: list[tuple[str, str]]) -> list[Answer]:
        """An `Answer` for each (context, continuation); those of the store are not asked again."""
        keys = [request_key("loglikelihood", *pair[:2]) for pair in pairs]
        todo = {key: pair for key, pair in zip(keys, pairs, strict=True) if self.store.get(key) is None}
        # By length, so that a batch has little padding; by context, so that answers of one question share their work.
        order = sorted(todo, key=lambda key: (-len(todo[key][0]), todo[key][0], -len(todo[key][1])))
        with StatusLine(len(order), "requests", shown=self.progress) as status:
            for start in range(0, len(order), CHUNK):
                chunk = order[start : start + CHUNK]
                for key, answer in zip(chunk, self._score([todo[key] for key in chunk], start), strict=True):
                    self.store.put(key, asdict(answer))
                status.update(start + len(chunk))
        return [Answer(**self.store.get(key)) for key in keys]

    def _score(self, pairs: list[tuple[str, str]], first: int) -> Iterator[Answer]:
        special = self.special_tokens
        pieces = [Pair.make_pieces(self.model, *pair[:2], first + i, special) for i, pair in enumerate(pairs)]
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
            yield Answer(
                logprob=sum(score.logprob for score in own),
                se=math.sqrt(sum(score.se**2 for score in own)),
                n_tokens=sum(score.n_tokens for score in own),
                greedy=all(bool(score.greedy) for score in own),
                dropped=parts[0].dropped,
                pieces=len(parts),
            )

    def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
        """Whole texts, in windows of the model's context."""
        if self.guidance:
            warnings.warn("guidance has no meaning for a text without a prompt; it is scored without", stacklevel=2)
        texts = [request.args[0] for request in requests]
        for key, text in ((request_key("rolling", text), text) for text in texts):
            if self.store.get(key) is None:
                (found,) = rolling(
                    self.model,
                    [text],
                    method=None if self.model.kind == "arm" else self.estimator.method,
                    draws=self.estimator.draws or None,
                    order=self.estimator.order,
                    seed=self.seed,
                    batch_tokens=self.batch_tokens,
                    until_se=self.until_se,
                    special_tokens=self.special_tokens,
                )
                self.store.put(key, found.to_dict())
        return [self.store.get(request_key("rolling", text))["logprob"] for text in texts]

    # ------------------------------------------------------------------ generation

    def generate_until(self, requests: list[Any]) -> list[str]:
        """Greedy unless the task samples; a row ends before the first stop text, or at its end of sequence."""
        todo: dict[str, tuple[str, dict[str, Any]]] = {}
        keys = []
        for request in requests:
            context, settings = request.args[:2]
            keys.append(request_key("generate", context, settings, self.steps, self.decoding_order))
            if self.store.get(keys[-1]) is None:
                todo[keys[-1]] = (context, settings)
        alike: dict[str, list[str]] = {}
        for key, (_, settings) in todo.items():
            alike.setdefault(request_key(settings), []).append(key)
        for group in alike.values():
            for start in range(0, len(group), CHUNK):
                chunk = group[start : start + CHUNK]
                texts = self._generate([todo[key][0] for key in chunk], todo[chunk[0]][1], chunk)
                for key, text in zip(chunk, texts, strict=True):
                    self.store.put(key, text)
        return [self.store.get(key) for key in keys]

    def _generate(self, contexts: list[str], settings: dict[str, Any], keys: list[str]) -> list[str]:
        block = self.model.config.block_size
        length = int(settings.get("max_gen_toks") or settings.get("max_tokens") or DEFAULT_NEW_TOKENS)
        length = min(length, max(1, block // 2) if length >= block else length)
        prompts = [self.model.encode(context, self.special_tokens)[-(block - length) :] for context in contexts]
        sampled = bool(settings.get("do_sample", settings.get("temperature", 0.0)))
        options: dict[str, Any] = (
            {} if self.model.kind == "arm" else {"steps": self.steps, "order": self.decoding_order}
        )
        until = settings.get("until") or []
        stops = [stop for stop in ([until] if isinstance(until, str) else until) if stop]
        results = generate(
            self.model,
            prompts,
            length=length,
            guidance=self.guidance,
            temperature=float(settings.get("temperature", 1.0)) if sampled else 0.0,
            seed=[(self.seed, int(key[:12], 16)) for key in keys],
            eos="truncate",  # the law of filling all, without the passes behind the end
            stop=stops or None,
            **options,
        )
        return [result.text or "" for result in results]


def usable_device(device: str | None) -> str:
    """The harness asks for cuda:0 by default, also where there is none."""
    import torch

    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    return "cpu" if str(device).startswith("cuda") and not torch.cuda.is_available() else str(device)


@cache
def task_manager() -> Any:
    """The harness's tasks and the local ones of this package (`unmask_*`); reading them takes seconds, once."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=str(TASKS))


def command(argv: list[str]) -> int:
    """`unmask lm-eval ARGS`: the harness's command line, with the model `unmask` and the tasks `unmask_*` known."""
    from lm_eval.__main__ import cli_evaluate

    words = list(argv)
    if any(word.startswith("--") and word not in ("--help",) for word in words) and "--include_path" not in words:
        words += ["--include_path", str(TASKS)]
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.argv = ["lm-eval", *words]
    cli_evaluate()
    return 0
