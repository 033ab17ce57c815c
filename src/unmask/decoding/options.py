"""What one row is asked for: options of `generate`, taken apart per prompt and checked.

    requests = read_requests(rows=2, kind="mdm", order=["confidence", "random"], quota="threshold:0.9", guidance=0.5)

Every option is one value for all prompts, or a list with an entry for each. Contradictions are errors in one line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from unmask.decoding.passes.caches import CACHES, Cache
from unmask.decoding.rules.eligible import ELIGIBLE, Eligibility
from unmask.decoding.rules.guidance import SCHEDULES
from unmask.decoding.rules.orders import ORDERS, Order
from unmask.decoding.rules.plugins import installed, need
from unmask.decoding.rules.quotas import QUOTAS, Quota
from unmask.decoding.rules.registry import Chosen, choose
from unmask.decoding.rules.revise import REVISIONS, Revision
from unmask.errors import UserError
from unmask.model.defaults import Defaults
from unmask.model.generation_options import OF_MASKED, TABLE

# Options whose own value is a list, a pair or a mapping.
PAIRS, COLLECTIONS = ("guidance_interval",), ("stop", "banned", "choices")
# A model's own defaults (`unmask tune`) hold together; a row that names one of these says all of them.
RULES = (
    *("order", "quota", "threshold", "order_noise", "steps", "steps_per_token"),
    *("block", "eligible", "revise", "cache"),
)
DEFAULTS: dict[str, Any] = {name: one.default for name, one in TABLE.items() if name != "negative"}


@dataclass(frozen=True)
class Request:
    """One row's settings, checked; None where the row has none."""

    length: int | None
    steps: int | None  # None: as many as the rules need
    order: Chosen[Order]
    quota: Chosen[Quota] | None  # None: the order's own
    order_noise: float
    eligible: Chosen[Eligibility]
    revise: Chosen[Revision] | None
    cache: Chosen[Cache]
    guidance: float
    guidance_mode: str
    guidance_schedule: str
    guidance_interval: tuple[float, float]
    temperature: float
    top_p: float | None
    top_k: int | None
    eos: str
    stop: tuple[str, ...]
    banned: tuple[int | str, ...]
    forced: Mapping[int, int | str]
    pattern: str | None
    choices: tuple[str, ...] | None
    special_tokens: bool
    steps_per_token: float | None = None  # where `steps` is None: a model's own default

    @property
    def adaptive(self) -> bool:
        return self.quota is not None and self.quota.of.adaptive

    @property
    def rules(self) -> tuple[Any, ...]:
        """What rows must share to take their turns together; blocks of different sizes are no hindrance."""
        narrows = self.eligible if self.eligible.of.narrows else None
        parts = (self.order, self.quota, self.revise, narrows)
        return tuple(None if part is None else part.spec for part in parts)

    @property
    def block(self) -> int | None:
        """New positions a block; None: all are one."""
        return self.eligible.of.block


def read_requests(
    rows: int,
    kind: str,
    usual_quota: str | Sequence[str] = "paper",
    own: Mapping[str, Any] | None = None,
    **options: Any,
) -> list[Request]:
    """A `Request` per row. What a row leaves out is the model's `own` default, or else ours; orders that need a quota
    have `usual_quota`, one or one per row.

    Raises `UserError`.
    """
    installed()  # rules of packages
    columns = {name: per_row(name, options[name], rows) for name in DEFAULTS if options.get(name) is not None}
    quotas = [usual_quota] * rows if isinstance(usual_quota, str) else usual_quota
    requests: list[Request] = []
    before: Any = None
    for row, quota in enumerate(quotas):
        given = {name: column[row] for name, column in columns.items() if column[row] is not None}
        # Most rows ask for what the one before does. By identity: what a caller gives may not be comparable.
        asked = (quota, *given, *map(id, given.values()))
        if asked != before:
            request = read_request(kind, {**DEFAULTS, **own_defaults(own or {}, given), **given}, quota)
        requests.append(request)
        before = asked
    return requests


def own_defaults(own: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a model's own defaults that a row which names `given` falls back on. Raises `UserError` where their
    rules are of a plug-in that is not loaded, or of another file of its name."""
    rules = any(given.get(name) is not None for name in RULES)
    left = {name: value for name, value in own.items() if name not in given and not (rules and name in RULES)}
    if isinstance(own, Defaults) and any(name in RULES for name in left):
        need(own.plugins, own.path)
    return left


def per_row(name: str, value: Any, rows: int) -> list[Any]:
    """One value, repeated, or the list's entries."""
    if name in COLLECTIONS and isinstance(value, list | tuple):
        listed = any(entry is None or isinstance(entry, list | tuple) for entry in value)
    elif name in PAIRS and isinstance(value, list | tuple):
        listed = any(isinstance(entry, list | tuple) for entry in value)
    else:
        listed = isinstance(value, list | tuple)
    if not listed:
        return [value] * rows
    if len(value) != rows:
        raise UserError(f"{name} has {len(value)} entries for {rows} prompts; give one value, or an entry per prompt")
    return list(value)


def check_values(given: dict[str, Any]) -> None:
    """Each value alone: its type and its range."""
    for name, default in DEFAULTS.items():
        if given[name] is not default and name not in (*PAIRS, *COLLECTIONS, "forced"):
            TABLE[name].check(given[name], shown=name)
    if given["pattern"] is not None and not isinstance(given["pattern"], str):
        raise UserError(f"pattern is {given['pattern']!r}; give a regular expression as a text", field="pattern")
    if not isinstance(given["special_tokens"], bool):
        mend = "give True (they are ids in texts) or False"
        raise UserError(f"special_tokens is {given['special_tokens']!r}; {mend}", field="special_tokens")


def read_request(kind: str, given: dict[str, Any], usual_quota: str) -> Request:
    check_values(given)
    low, high = read_interval(given["guidance_interval"])
    choose("guidance_schedule", SCHEDULES, given["guidance_schedule"])
    if given["threshold"] is not None:
        if given["quota"] is not None and str(given["quota"]).partition(":")[0] not in ("threshold", "klass"):
            raise UserError(f"threshold does not go with quota '{given['quota']}'; leave out one")
        joint = "," if ":" in str(given["quota"]) else ":"
        given["quota"] = f"{given['quota'] or 'threshold'}{joint}threshold={given['threshold']}"
    order = choose("order", ORDERS, given["order"])
    quota = None if given["quota"] is None else choose("quota", QUOTAS, given["quota"])
    revise = None if given["revise"] is None else choose("revise", REVISIONS, given["revise"])
    if given["block"] is not None and given["eligible"] is not None:
        raise UserError(f"block is short for eligible 'block:{given['block']}'; leave out one of the two")
    blocks = "all" if given["block"] is None else f"block:{given['block']}"
    eligible = choose("eligible", ELIGIBLE, given["eligible"] or blocks)
    cache = choose("cache", CACHES, "none" if given["cache"] is None else given["cache"])
    if kind == "arm":
        refuse_for_arm(given)
    else:
        check_together(order, quota, revise, given)
        if quota is None and not order.of.own_quota:
            quota = choose("quota", QUOTAS, usual_quota)
    return Request(
        length=given["length"],
        steps=given["steps"],
        order=order,
        quota=quota,
        order_noise=float(given["order_noise"]),
        eligible=eligible,
        revise=revise,
        cache=cache,
        guidance=float(given["guidance"]),
        guidance_mode=given["guidance_mode"],
        guidance_schedule=given["guidance_schedule"],
        guidance_interval=(low, high),
        temperature=float(given["temperature"]),
        top_p=given["top_p"],
        top_k=given["top_k"],
        eos=given["eos"] or ("stop" if kind == "arm" else "fill"),
        stop=collection("stop", given["stop"], str),
        banned=collection("banned", given["banned"], int | str),
        forced=read_forced(given["forced"]),
        pattern=given["pattern"],
        choices=None if given["choices"] is None else collection("choices", given["choices"], str),
        special_tokens=given["special_tokens"],
        steps_per_token=given.get("steps_per_token"),
    )


def refuse_for_arm(given: dict[str, Any]) -> None:
    """What concerns a canvas only; rules of order are ignored, so that one call serves both kinds."""
    for name in OF_MASKED:
        if given[name] != DEFAULTS[name]:
            raise UserError(f"{name} needs a masked diffusion model; this one is autoregressive", field=name)
    if given["length"] == 0:
        raise UserError("length is 0; an autoregressive model only continues, so give at least 1")


def check_together(
    order: Chosen[Order], quota: Chosen[Quota] | None, revise: Chosen[Revision] | None, given: dict[str, Any]
) -> None:
    """Raises `UserError` for rules that contradict each other."""
    if quota is not None and order.of.own_quota:
        raise UserError(
            f"quota '{quota.name}' does not go with order '{order.name}', which draws its own; leave out one"
        )
    if order.of.one_by_one and given["steps"] is not None:
        raise UserError(f"steps does not go with order '{order.name}', which takes a pass per token; leave out steps")
    if given["order_noise"] and not order.of.scored:
        judged = ", ".join(name for name, rule in ORDERS.items() if rule.scored)
        raise UserError(f"order_noise needs an order that scores proposals ({judged}); '{order.name}' does not")
    if revise is None:
        return
    adaptive = quota is not None and quota.of.adaptive
    if revise.of.needs_scores and not order.of.scored:
        judged = ", ".join(name for name, rule in ORDERS.items() if rule.scored)
        raise UserError(f"revise '{revise.name}' needs an order that scores tokens ({judged}); not '{order.name}'")
    if revise.of.needs_steps and (adaptive or order.of.one_by_one):
        rule = f"quota '{quota.name}'" if quota is not None else f"order '{order.name}'"
        raise UserError(f"revise '{revise.name}' needs a fixed number of steps; it does not go with {rule}")


def read_interval(value: Any) -> tuple[float, float]:
    try:
        low, high = (float(end) for end in value)
    except (TypeError, ValueError):
        raise UserError(f"guidance_interval is {value!r}; give two noise levels, such as 0 and 0.5") from None
    if not 0 <= low <= high <= 1:
        raise UserError(f"guidance_interval is {low:g} to {high:g}; give 0 <= low <= high <= 1")
    return low, high


def collection(name: str, value: Any, kind: Any) -> tuple[Any, ...]:
    values = () if value is None else value if isinstance(value, list | tuple | set | frozenset) else (value,)
    for entry in values:
        if not isinstance(entry, kind) or isinstance(entry, bool):
            raise UserError(f"{name} holds {entry!r}; give {'texts' if kind is str else 'texts or token ids'}")
        if entry == "":
            raise UserError(f"{name} holds an empty text; leave it out")
    return tuple(values)


def read_forced(value: Any) -> dict[int, int | str]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise UserError(f"forced is {value!r}; give a mapping from places among the new tokens to tokens")
    for place in value:
        if not isinstance(place, Integral) or isinstance(place, bool) or place < 0:
            raise UserError(f"forced holds the place {place!r}; give whole numbers from 0 on")
    return {int(place): token for place, token in value.items()}
