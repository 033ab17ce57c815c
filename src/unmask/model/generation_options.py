"""The options of generating text, declared once: `generate`, the command line, model defaults and docs read them.

    unmask sample RUN --order confidence --quota threshold:0.9 --ban "</s>"
    generate(model, prompts, order="confidence", quota="threshold:0.9", banned=["</s>"])

No heavy import: help is shown from here. Names of rules stand in their registries (`decoding/rules`), of which
`rule_names` is a copy for help, those of caches in `passes/caches.py`; what goes together is checked in
`decoding/options.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from unmask.model.rule_names import ELIGIBLE, GUIDANCE_SCHEDULE, ORDER, QUOTA, REVISE
from unmask.options import Options, declared, option

MODES = Literal["mask", "drop"]
ENDS = Literal["fill", "truncate", "stop", "suppress"]


@dataclass(frozen=True)
class GenerationOptions:
    """Each is one value for all prompts, or a list with an entry for each; a row's gaps are filled from a model's own
    defaults (`unmask tune`), then from these."""

    length: int | None = option(None, "new tokens; by default 64 or what fits, with --fill none", least=0)
    steps: int | None = option(None, "denoising steps; by default one per new token, at most 128", least=1)
    order: str = option("ancestral", f"which positions are committed: {ORDER}")
    quota: str | None = option(None, f"how many tokens a step commits: {QUOTA}; by default paper")
    threshold: float | None = option(None, "commit whatever is more probable; short for --quota")
    order_noise: float = option(0.0, "annealed randomness of the order", least=0)
    block: int | None = option(None, "tokens a block, blocks from left to right", least=1)
    eligible: str | None = option(None, f"where tokens may be written: {ELIGIBLE}; --block N is block:N")
    revise: str | None = option(None, f"take tokens back: {REVISE}")
    cache: str | None = option(None, "what is not run again: reuse, prefix, dual:4 (all, every 4 passes)")
    guidance: float = option(0.0, "w of classifier-free guidance; 0: off, one pass")
    guidance_mode: MODES = option("mask", "without the prompt: mask or drop it", metavar="MODE")
    guidance_schedule: str = option("constant", f"of w: {GUIDANCE_SCHEDULE}", metavar="NAME")
    guidance_interval: tuple[float, float] = option((0.0, 1.0), "of t where w acts", metavar=("LOW", "HIGH"))
    negative: str | None = option(None, "a prompt that guidance gets away from", metavar="TEXT")
    temperature: float = option(1.0, "0: always the likeliest token", least=0)
    top_p: float | None = option(None, "only the likeliest tokens that hold this much", above=0, most=1)
    top_k: int | None = option(None, "only so many of the likeliest tokens", least=1)
    eos: ENDS | None = option(None, "at an end of sequence: fill (MDM), truncate, stop (ARM), suppress", metavar="WAY")
    stop: list[str] | None = option(None, "end before this text; repeatable", metavar="TEXT")
    banned: list[str] | None = option(None, "never this token; repeatable", flag="--ban", metavar="TOKEN")
    forced: list[str] | None = option(None, "this token there; repeatable", flag="--force", metavar="PLACE:TOKEN")
    pattern: str | None = option(None, "what the new text (or each gap) must match", metavar="REGEX")
    choices: list[str] | None = option(None, "one of these texts; repeatable", flag="--choice", metavar="TEXT")
    special_tokens: bool = option(False, "those a text spells (</s>) are ids")


@dataclass(frozen=True, kw_only=True)
class PluginOptions(Options):
    """Of what reads rules of decoding."""

    plugin: list[str] = option([], "a file with rules of your own; repeatable (docs/plugins.md)", metavar="FILE")


# An autoregressive model refuses these. It does without the rules of order, so that one call serves both kinds.
OF_MASKED = ("guidance", "block", "eligible", "revise")
TABLE = {one.name: one for one in declared(GenerationOptions)}
