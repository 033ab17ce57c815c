"""How a model answers questions about people: greedy texts, and the likelihood of the true against other names.

    rows = ask(model, questions, length=34, guidance=0.8, order="confidence", seed=0)
    rows[0]["exact"], rows[0]["bleu_char"]
    ranked(model, questions, length=34, others=4, seed=0)    # share of wrong names that are less likely than the true

As in arXiv 2410.18514: greedy decoding, exact match where the answer stands in the output (both in lower case), BLEU of
descriptions on characters, as that paper's code has it, and on words. The canvas is as long as a row of training: how
long the answer is is not given away. Prompts stand behind an end token and a space, as lines of training do.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch

from unmask.decoding import generate
from unmask.errors import UserError
from unmask.evaluation.reversal.questions import People, Question
from unmask.model.backbone import predictions
from unmask.model.folder import Model
from unmask.terminal import LiveLine

BATCH = 64
ENDS = "\"'‘’“”.?! "  # quotes and stops that no word of an answer begins or ends with


def prompt_ids(model: Model, prompt: str) -> list[int]:
    """Behind an end token. Raises `UserError` for a model without a tokenizer or an end token."""
    if model.tokenizer is None or model.eos_id is None:
        raise UserError(f"{model.path or 'the model'} has no tokenizer with an end token; questions are text")
    return [model.eos_id, *model.tokenizer.encode(" " + prompt.strip())]


def ask(
    model: Model,
    questions: Sequence[Question],
    length: int,
    guidance: float = 0.0,
    order: str = "confidence",
    steps: int | None = None,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """One row of JSON values a question: person, answer, what was written, and what is right of it.

    length: tokens of the canvas, prompt included. steps: passes of an MDM (one a token). Raises `UserError` for a
    prompt that leaves no room.
    """
    prompts = [prompt_ids(model, question.prompt) for question in questions]
    if (longest := max(map(len, prompts), default=0)) >= length:
        raise UserError(f"a prompt has {longest} tokens and the canvas {length}; give a longer one")
    rules: dict[str, Any] = {"temperature": 0.0, "seed": seed, "trace": False}
    if model.kind == "mdm":
        rules |= {"order": order, "quota": "even", "guidance": guidance, "eos": "truncate"}
        rules |= {} if order == "left-to-right" and steps is None else {"steps": steps}
    # By length, so that the rows of a batch have like canvases.
    places = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
    texts: dict[int, str] = {}
    with LiveLine(at_once=False) as line:
        for first in range(0, len(places), BATCH):
            now = places[first : first + BATCH]
            rooms = [length - len(prompts[place]) for place in now]
            written = generate(model, [prompts[place] for place in now], length=rooms, **rules)
            texts |= {place: row.text or "" for place, row in zip(now, written, strict=True)}
            line.show(f"{min(first + BATCH, len(places))} of {len(places)} questions")
    return [
        {"person": q.person, "answer": q.answer, "text": texts[place].strip(), **judged(q, texts[place])}
        for place, q in enumerate(questions)
    ]


def judged(question: Question, text: str) -> dict[str, float]:
    """exact, and of a name first_name, of a description bare (without quotes and stops at its ends) and both BLEU."""
    written, answer = text.strip().lower(), question.answer.lower()
    right = {"exact": float(answer in written)}
    if question.asks == "name":
        return right | {"first_name": float(answer.split()[0] in written.split())}
    return right | {
        "bare": float(bare(answer) in written),
        "bleu_char": bleu(list(question.answer), list(text.strip())),
        "bleu_word": bleu(question.answer.split(), text.split()),
    }


def bare(answer: str) -> str:
    """An answer without quotes and stops at its ends."""
    return answer.strip(ENDS)


def sayable(people: People, direction: str) -> dict[str, float]:
    """Of the questions for a description, the share whose answer a line of that person holds, in lower case.

    `exact` as the reference has it, `bare` without quotes and stops at its ends: what one who knows all lines by heart,
    and nothing else, could get right.
    """
    lines: dict[str, list[str]] = {}
    for line in people.lines:
        lines.setdefault(line.person, []).append(line.text.lower())
    answers = [(question.person, question.answer.lower()) for question in people.of(direction, "description")]
    forms = {"exact": str.strip, "bare": bare}
    return {
        name: sum(any(form(answer) in line for line in lines.get(person, [])) for person, answer in answers)
        / max(1, len(answers))
        for name, form in forms.items()
    }


def bleu(reference: Sequence[str], written: Sequence[str], longest: int = 4) -> float:
    """BLEU of one sentence (Papineni et al. 2002): n-grams to four, no smoothing, brevity penalty."""
    logs = 0.0
    for n in range(1, longest + 1):
        ours, theirs = (
            Counter(tuple(row[i : i + n]) for i in range(len(row) - n + 1)) for row in (written, reference)
        )
        shared = sum((ours & theirs).values())
        if not shared:
            return 0.0
        logs += math.log(shared / ours.total()) / longest
    return math.exp(logs + min(0.0, 1 - len(reference) / len(written)))


def shuffled(rows: Sequence[dict[str, Any]], seed: int = 0) -> list[float]:
    """exact of each row against the answer of another person: what knowing no person gives."""
    people = sorted({row["person"] for row in rows})
    order = people[:]
    random.Random(seed).shuffle(order)
    other = dict(zip(order, [*order[1:], *order[:1]], strict=True))
    answers = {row["person"]: row["answer"].lower() for row in rows}
    return [float(len(people) > 1 and answers[other[row["person"]]] in row["text"].lower()) for row in rows]


@torch.no_grad()
def ranked(model: Model, questions: Sequence[Question], length: int, others: int = 4, seed: int = 0) -> list[float]:
    """Of each question for a name, the share of `others` random people's names less likely than the true one.

    Half a point for a tie. A name's likelihood is the chain rule's over its tokens from left to right, all behind it
    masked; only names of as many tokens as the true one are drawn.
    """
    assert model.tokenizer is not None
    names = {question.person: tuple(model.tokenizer.encode(" " + question.person)) for question in questions}
    chance, shares = random.Random(seed), []
    for question in questions:
        true = names[question.person]
        pool = sorted({ids for ids in names.values() if ids != true and len(ids) == len(true)})
        rivals = chance.sample(pool, min(others, len(pool)))
        scores = name_scores(model, prompt_ids(model, question.prompt), [true, *rivals], length)
        wins = [float(scores[0] > score) + 0.5 * float(scores[0] == score) for score in scores[1:]]
        shares.append(sum(wins) / len(wins) if wins else 0.5)
    return shares


def name_scores(model: Model, prompt: list[int], names: Sequence[tuple[int, ...]], length: int) -> list[float]:
    """log p of each name behind a prompt, nats."""
    size, at = len(names[0]), len(prompt)
    filler = model.mask_id if model.kind == "mdm" else model.eos_id
    assert filler is not None
    tokens_BT = torch.full((len(names), length), filler)
    tokens_BT[:, :at] = torch.tensor(prompt)
    names_BN = torch.tensor(names)
    total_B = torch.zeros(len(names))
    for n in range(size):
        row = at + n - model.config.alignment.first
        if model.kind == "mdm" or n == 0:
            if model.kind == "arm":
                tokens_BT[:, at : at + size] = names_BN
            hidden_BTE = model.network.hidden(tokens_BT.to(model.device))
            logits_BTV = predictions(model.network, hidden_BTE).float().cpu()
        log_BV = logits_BTV[:, row].log_softmax(dim=-1)
        total_B += log_BV.gather(1, names_BN[:, n : n + 1])[:, 0]
        tokens_BT[:, at + n] = names_BN[:, n]
    return total_B.tolist()
