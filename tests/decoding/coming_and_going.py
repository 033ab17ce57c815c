"""Random schedules: sixteen mixed requests that join, sit out, are cancelled and leave between passes, each against the
same request alone.

    PYTHONPATH=src:tests python -m decoding.coming_and_going --oracle 200 --transformer 50 --twin 50

On the oracle, whose rows are independent to the last bit, all that a row's result holds is the same, and its events are
its trace. On a Transformer rounding depends on the batch: tokens and steps are the same, and where they are not, the
first token that differs was drawn within 1e-5 of the boundary between two (shown by drawing alone with uniforms that
are 1e-5 higher or lower).
"""

from __future__ import annotations

import argparse
import random
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import tokenizers
import torch
from tokenizers import decoders, models, pre_tokenizers

from decoding.oracle import Chain, Oracle
from decoding.test_invariants import ADAPTIVE, CACHES, FIXED, JUDGED, OWN_QUOTA, REMASKING
from unmask.decoding import Generation, generate
from unmask.decoding.generation import results
from unmask.decoding.loop import Loop
from unmask.decoding.prepare import Prepared, prepare
from unmask.decoding.rules.orders import ORDERS
from unmask.decoding.state import turn
from unmask.decoding.state.rows import Budget, Seat
from unmask.decoding.state.table import FullError
from unmask.decoding.twin import Twin
from unmask.errors import UserError
from unmask.model.config import ModelConfig
from unmask.model.folder import Model
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer

ROWS, V, EOS, CONTEXT, NEGATIVE = 16, 8, 7, 48, 5
MASK = V
PATTERNS = ("[abc]*", "(ab|cd)*[efg]?", "a?(b|[c-f]g)*", "[^a]*")
CHOICES = ["abcab", "fgabc", "cab", "ccc", "d", "ab", "gfedcb", "gg", "abcdefg", "aaaaaaaa"]
QUOTAS = ("frechet", "stability:passes=1,threshold=0.4")
NEAR = 1e-5


def letters() -> Tokenizer:
    """Seven letters and an end of sequence: a token spells a letter."""
    inner = tokenizers.Tokenizer(models.BPE(vocab={letter: at for at, letter in enumerate("abcdefg")}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens(["<|endoftext|>"])
    return Tokenizer(inner.to_str())


def oracle_model() -> Model:
    chain = Chain.of_offsets(V, [0.42, 0.28, 0.16], 0.01)
    return Model(Oracle(chain, CONTEXT, EOS), letters())  # type: ignore[arg-type]


def transformer_model(causal: bool = False) -> Model:
    shape = ModelConfig(n_layer=2, n_head=2, n_embd=16, vocab_size=V, block_size=CONTEXT, causal=causal, eos_id=EOS)
    network = Transformer(shape, seed=3)
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim == 2:
                weight.mul_(3.0)
    return Model(network.eval(), letters())


# ------------------------------------------------------------------ requests

Options = dict[str, Any]


def limits(rng: random.Random, new: int) -> Options:
    """What must stand in the text, where it ends."""
    found: Options = {"eos": rng.choice(["fill", "truncate", "stop", "suppress"])}
    kind = rng.choice(["none", "none", "forced", "banned", "both", "pattern", "choices", "stop"])
    if kind in ("forced", "both"):
        places = rng.sample(range(new), min(new, rng.randint(1, 2)))
        found["forced"] = {place: rng.randrange(V - (found["eos"] == "suppress")) for place in places}
    if kind in ("banned", "both"):
        banned = set(rng.sample(range(V), rng.randint(1, 2))) - set(found.get("forced", {}).values())
        found["banned"] = sorted(banned) or None
    if kind == "pattern":
        found["pattern"] = rng.choice(PATTERNS)
    if kind == "choices":
        found["choices"] = rng.sample(CHOICES, 4)
    if kind == "stop":
        found["stop"] = rng.sample(["ab", "c", "gab", "dd", "ef"], rng.randint(1, 3))
    return found


def drawn(rng: random.Random) -> Options:
    """Temperature and filters."""
    return {
        "temperature": rng.choice([0.0, 0.5, 1.0, 1.0]),
        "top_p": rng.choice([None, None, 0.8]),
        "top_k": rng.choice([None, None, 1, 3]),
    }


def masked_request(rng: random.Random) -> Options:
    """A prompt, in which there may be blanks, and options of any kind."""
    order = rng.choice(list(ORDERS))
    prompt: Any = [rng.choice([*range(V - 1), *range(V - 1), EOS, MASK]) for _ in range(rng.randint(0, 9))]
    length, fill = rng.randint(0, 14), None
    if not length and MASK not in prompt:
        length = 3
    new = length + prompt.count(MASK)
    if rng.random() < 0.1:
        prompt, fill, new = "ab__cd__", rng.randint(1, 4), 2
    blanks = fill is not None or MASK in prompt
    quota = None if order in OWN_QUOTA else rng.choice(FIXED + ADAPTIVE + QUOTAS)
    fixed = quota in FIXED and order != "first-hitting"
    revisions = [None, None, "edit:threshold=0.5,passes=3", "renoise", *(REMASKING if fixed else ())]
    revisions += ["p2", "p2:2"] if fixed and order in JUDGED else []
    block = rng.choice([None, None, 1, 3, 5, 40])
    blocks = -(-new // (block or new))
    low, high = sorted(rng.choices([0.0, 0.3, 0.8, 1.0], k=2))
    guidance = rng.choice([0.0, 0.0, 0.7, -0.5])
    return {
        "prompt": prompt,
        "fill": fill,
        "length": length,
        "order": order,
        "quota": quota,
        "steps": None if order == "first-hitting" or fill else rng.choice([None, blocks + rng.randint(0, 15)]),
        "block": block,
        "eligible": rng.choice([None, "frontier:3", "frontier:6"]) if block is None else None,
        "revise": rng.choice(revisions),
        "guidance": guidance,
        "guidance_mode": rng.choice(["mask", "drop"]) if not blanks else "mask",
        "guidance_schedule": rng.choice(["constant", "linear"]),
        "guidance_interval": (low, high),
        "negative": [1, 2, EOS][: rng.randint(1, 3)] if guidance and not blanks and rng.random() < 0.3 else None,
        "order_noise": rng.choice([0.0, 1.0]) if order in JUDGED else 0.0,
        "cache": rng.choice(CACHES),
        **drawn(rng),
        **limits(rng, new),
    }


def twin_request(rng: random.Random) -> Options:
    prompt = [rng.randrange(V - 1) for _ in range(rng.randint(0, 9))]
    length = rng.randint(1, 20)
    return {"prompt": prompt, "length": length, **drawn(rng), **limits(rng, length)}


def options_of(request: Options) -> Options:
    named = ("prompt", "fill", "negative")
    return {name: value for name, value in request.items() if name not in named and value is not None}


def ready(model: Model, request: Options, seed: tuple[int, int]) -> Prepared:
    more = {name: request.get(name) for name in ("fill", "negative")}
    return prepare(model, [request["prompt"]], options_of(request), seed=[seed], **more)[0]


def alone(model: Model, request: Options, seed: tuple[int, int]) -> Generation:
    more = {name: request.get(name) for name in ("fill", "negative")}
    return generate(model, [request["prompt"]], seed=[seed], **more, **options_of(request))[0]


# ------------------------------------------------------------------ a schedule


class Schedule:
    """Sixteen requests and what happens to them; all drawn from one seed."""

    def __init__(self, model: Model, seed: int) -> None:
        self.model, self.rng = model, random.Random(seed)
        self.requests: list[Options] = []
        self.rows: list[Prepared] = []
        make = masked_request if model.kind == "mdm" else twin_request
        self.seeds = [(1000 * seed + number, number % 3) for number in range(ROWS)]
        while len(self.rows) < ROWS:
            request = make(self.rng)
            try:
                self.rows.append(ready(model, request, self.seeds[len(self.rows)]))
            except UserError:  # a pattern that has no text of this length, and the like
                continue
            self.requests.append(request)
        self.slots = self.rng.randint(1, ROWS)
        self.counts: Counter[str] = Counter(slots=self.slots)
        self.cancelled: set[int] = set()
        self.events: dict[int, list[dict[str, Any]]] = {number: [] for number in range(ROWS)}

    def budget(self) -> Budget:
        """At times so small that rows wait for room, but never too small for one row alone."""
        rng, longest = self.rng, max(row.positions for row in self.rows)
        positions = rng.choice([None, rng.randint(longest, longest * self.slots)])
        if self.model.kind == "arm":
            places, width = rng.randint(1, self.slots), CONTEXT
        else:
            places, width = rng.randint(2, 2 * self.slots), CONTEXT + NEGATIVE + 1
        config = self.model.config
        each = 2 * config.n_layer * config.n_kv_head * config.head_dim * width * self.model.network.dtype.itemsize
        return Budget(self.slots, CONTEXT, positions, rng.choice([None, places * each]), NEGATIVE)

    def run(self) -> dict[int, Generation]:
        """What the rows that were not cancelled wrote."""
        rng, found = self.rng, {}
        loop = (Loop if self.model.kind == "mdm" else Twin)(self.model, self.budget())
        waiting, here, done = list(range(ROWS)), dict[Seat, int](), list[Seat]()
        rng.shuffle(waiting)
        while waiting or here:
            for _ in range(rng.choice([0, 1, 1, 2, ROWS])):
                if waiting and self.enters(loop, waiting[0], here):
                    waiting.pop(0)
            running = [seat for seat in here if seat not in done]
            some = None if rng.random() < 0.5 else rng.sample(running, rng.randint(0, len(running)))
            passed = loop.step(some)
            self.counts["passes"] += bool(passed.seats)
            self.counts["sat out"] += len(running) - len(passed.seats) - len(passed.ended)
            for row, event in passed.events:
                self.events[next(number for seat, number in here.items() if seat.slot == row)].append(event)
            done += passed.ended
            for seat in [seat for seat in here if seat not in done and rng.random() < 0.02]:
                self.cancelled.add(here.pop(seat))
                loop.cancel(seat)
            for seat in [seat for seat in done if rng.random() < 0.6]:
                number = here.pop(seat)
                surplus, stretches = loop.endings.surplus, [self.rows[number].stretches]
                loop.write()
                (found[number],) = results(loop.canvas, self.model, surplus, [seat.slot], stretches)
                done.remove(seat)
                loop.leave([seat])
        return found

    def enters(self, loop: Loop | Twin, number: int, here: dict[Seat, int]) -> bool:
        try:
            (seat,) = loop.join([self.rows[number]])
        except FullError:
            self.counts["refused"] += 1
            assert here, "a row that is alone has room"
            return False
        here[seat] = number
        self.counts["most at once"] = max(self.counts["most at once"], len(here))
        return True


@contextmanager
def shifted(by: float) -> Iterator[None]:
    """Every uniform that draws a token is so much higher."""
    plain: Callable[..., torch.Tensor] = turn.row_uniforms

    def moved(canvas: Any, rows_R: torch.Tensor, draw_R: torch.Tensor) -> torch.Tensor:
        found_RL = plain(canvas, rows_R, draw_R)
        tokens_R = (draw_R >= turn.TOKENS) & (draw_R < turn.PRIORITIES)
        return torch.where(tokens_R[:, None], (found_RL + by).clamp(0, 1 - 2.0**-53), found_RL)

    with mock.patch.object(turn, "row_uniforms", moved):
        yield


def brief(g: Generation) -> list[tuple[int, int, int]]:
    return [(event["step"], event["position"], event["token"]) for event in g.trace or []]


def near_a_boundary(schedule: Schedule, number: int, got: Generation) -> bool:
    """Whether the first token that differs from the row alone is what a slightly other uniform draws."""
    request, seed = schedule.requests[number], schedule.seeds[number]
    mine, theirs = brief(got), brief(alone(schedule.model, request, seed))
    until = next(at for at, (a, b) in enumerate(zip([*mine, None], [*theirs, None], strict=False)) if a != b) + 1
    for by in (NEAR, -NEAR):
        with shifted(by):
            if brief(alone(schedule.model, request, seed))[:until] == mine[:until]:
                return True
    return False


def check(model: Model, seed: int, exact: bool) -> Counter[str]:
    """Runs a schedule; raises `AssertionError` where a row wrote something else than alone. Returns what happened."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # settings without an effect
        schedule = Schedule(model, seed)
        found = schedule.run()
        counts = schedule.counts
        assert set(found) | schedule.cancelled == set(range(ROWS))
        for number, got in found.items():
            single = alone(model, schedule.requests[number], schedule.seeds[number])
            told = f"seed {seed}, row {number}: {schedule.requests[number]}"
            assert schedule.events[number] == got.trace, told
            if exact:
                assert got == single, told
            elif (got.tokens, got.steps, got.nfe, got.stopped) != (
                *(single.tokens, single.steps, single.nfe, single.stopped),
            ):
                assert model.kind == "mdm" and near_a_boundary(schedule, number, got), told
                counts["near a boundary"] += 1
            else:
                pairs = zip(got.probabilities, single.probabilities, strict=True)
                assert all(abs(a - b) < NEAR for a, b in pairs), told
    counts["schedules"], counts["rows"], counts["cancelled"] = 1, len(found), len(schedule.cancelled)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, count in (("oracle", 200), ("transformer", 50), ("twin", 50)):
        parser.add_argument(f"--{name}", type=int, default=count, help="schedules")
    given = parser.parse_args()
    torch.set_num_threads(1)
    kinds = {
        "oracle": (oracle_model, given.oracle, True),
        "transformer": (transformer_model, given.transformer, False),
        "twin": (lambda: transformer_model(causal=True), given.twin, False),
    }
    for name, (make, count, exact) in kinds.items():
        model, total, slots = make(), Counter[str](), Counter[int]()
        for seed in range(count):
            found = check(model, seed, exact)
            slots[found.pop("slots")] += 1
            most = max(total["most at once"], found.pop("most at once"))
            total += found
            total["most at once"] = most
        told = ", ".join(f"{value} {what}" for what, value in sorted(total.items()))
        same = "bit for bit" if exact else f"{total['near a boundary']} of them but for draws within {NEAR:g}"
        print(f"{name}: {told}; {len(slots)} numbers of slots; every row as alone ({same})", flush=True)


if __name__ == "__main__":
    main()
