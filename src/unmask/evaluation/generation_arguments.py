"""What a task of lm-evaluation-harness asks of a generation, as arguments of `generate`; nothing is dropped in silence.

    wanted = read_arguments({"until": ["\\n"], "max_new_tokens": 4, "do_sample": True, "top_k": 1})
    wanted.length, wanted.stops, wanted.sampled, wanted.options
    fit(prompt_ids, length=60, context=64)             # the prompt's end and the length that fit together

The harness's names (`lm_eval.models.utils.normalize_gen_kwargs`): several for the length, of which the first counts;
sampling where `do_sample` says so, or a temperature above 0. Beside them the rules of our own decoding may be given.
A name that is not known, or asks for what is not done here (beams), is a `UserError`.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

from unmask.errors import UserError, nearest

LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
DEFAULT_NEW_TOKENS = 256  # as in the harness, where a task says nothing
SAMPLING = ("do_sample", "temperature", "top_p", "top_k")
# Of `generate`; what does not suit the model is refused there.
RULES = (
    *("steps", "order", "quota", "threshold", "order_noise", "block", "eligible", "revise", "cache"),
    *("guidance", "eos"),
)
# What other samplers take, and the values by which they say that they do not want it.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "num_beams": (1,),
    "num_return_sequences": (1,),
    "repetition_penalty": (1,),
    "length_penalty": (1,),
    "typical_p": (1,),
    "no_repeat_ngram_size": (0,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "min_p": (0,),
    "early_stopping": (False,),
    "use_cache": (True, False),
}


@dataclass(frozen=True)
class Wanted:
    """length: new tokens, 0 for none. stops: texts before which a generation ends. options: of `generate`."""

    length: int
    stops: list[str]
    sampled: bool
    options: dict[str, Any] = field(default_factory=dict)

    def key(self) -> list[Any]:
        """JSON values: equal for settings that ask for the same."""
        return [self.length, self.stops, sorted(self.options.items())]


def read_arguments(settings: Any) -> Wanted:
    """Raises `UserError` for what is unknown, not done, or no value of its kind."""
    if not isinstance(settings, dict):
        raise UserError(f"generation_kwargs are {settings!r}; give a mapping such as max_gen_toks: 64")
    given = {name: value for name, value in settings.items() if value is not None}
    known = (*LENGTHS, "until", *SAMPLING, *RULES)
    for name, value in given.items():
        if name in known or value in NEUTRAL.get(name, ()):
            continue
        if name in NEUTRAL:
            raise UserError(f"generation_kwargs: {name}: {value!r} is not done here; leave it out")
        hint = nearest(str(name), known) or f"; known are {', '.join(known)}"
        raise UserError(f"generation_kwargs: '{name}' is unknown{hint}")
    sampled = _sampled(given)
    options = {name: given[name] for name in RULES if name in given}
    options["temperature"] = float(given.get("temperature", 1.0)) if sampled else 0.0
    if sampled:
        if (top_p := given.get("top_p")) not in (None, 1):
            options["top_p"] = top_p
        if (top_k := given.get("top_k")) not in (None, 0, -1):  # both mean all of them elsewhere
            options["top_k"] = top_k
    return Wanted(_length(given), _stops(given.get("until")), sampled, options)


def _length(given: dict[str, Any]) -> int:
    named = [name for name in LENGTHS if name in given]
    if not named:
        return DEFAULT_NEW_TOKENS
    if len({str(given[name]) for name in named}) > 1:
        warnings.warn(f"generation_kwargs give {' and '.join(named)}; {named[0]} counts", stacklevel=2)
    value = given[named[0]]
    try:
        length = -1 if isinstance(value, bool) or int(value) != float(value) else int(value)
    except (TypeError, ValueError, OverflowError):
        length = -1
    if length < 0:
        raise UserError(f"generation_kwargs: {named[0]} is {value!r}; give a whole number of at least 0")
    return length


def _sampled(given: dict[str, Any]) -> bool:
    temperature = given.get("temperature")
    if temperature is not None:
        is_number = isinstance(temperature, Real) and not isinstance(temperature, bool) and math.isfinite(temperature)
        if not is_number or temperature < 0:
            raise UserError(f"generation_kwargs: temperature is {temperature!r}; give a number of at least 0")
    do_sample = given.get("do_sample", bool(temperature))
    if not isinstance(do_sample, bool | Integral):
        raise UserError(f"generation_kwargs: do_sample is {do_sample!r}; give true or false")
    return bool(do_sample) and temperature != 0


def _stops(until: Any) -> list[str]:
    stops = [] if until is None else [until] if isinstance(until, str) else until
    if not isinstance(stops, list | tuple) or not all(isinstance(stop, str) for stop in stops):
        raise UserError(f"generation_kwargs: until is {until!r}; give a text or a list of texts")
    return [stop for stop in stops if stop]


def fit(prompt: list[int], length: int, context: int) -> tuple[list[int], int]:
    """The prompt and the length that a model's context holds. Where both do not fit, at most half of it is written,
    and the prompt loses what does not fit on its left. An empty prompt takes a token to begin with."""
    if max(1, len(prompt)) + length <= context:
        return prompt, length
    length = min(length, max(1, context // 2))
    return prompt[max(0, len(prompt) - (context - length)) :], length


def cut_before(text: str, stops: list[str]) -> str:
    """The text before the first of the stops, as the harness cuts it."""
    for stop in stops:
        text = text.split(stop)[0]
    return text
