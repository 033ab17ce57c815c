"""How a model answers questions about people: greedy texts, and the likelihood of the true against other names.

    rows = ask(model, questions, length=34, guidance=0.8, order="confidence", seed=0)
    rows[0]["exact"], rows[0]["bleu_char"]
    ranked(model, questions, people, length=34)     # the true name among all people's, by likelihood

As in arXiv 2410.18514: greedy decoding, exact match where the answer stands in the output (both in lower case), BLEU of
descriptions on characters, as that paper's code has it, and on words. The canvas is as long as a row of training: how
long the answer is is not given away. Prompts stand behind an end token and a space, as lines of training do.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch

from unmask.decoding import generate
from unmask.errors import UserError
from unmask.evaluation.reversal.questions import People, Question
from unmask.model.backbone import predictions
from unmask.model.folder import Model
from unmask.terminal import LiveLine

BATCH = 256
ROWS = 256  # whose names are scored at a time
ENDS = "\"'‘’“”.?! "  # quotes and stops that no word of an answer begins or ends with


def prompt_ids(model: Model, prompt: str) -> list[int]:
    """Behind an end token. Raises `UserError` for a model without a tokenizer or an end token."""
    if model.tokenizer is None or model.eos_id is None:
        raise UserError(f"{model.path or 'the model'} has no tokenizer with an end token; questions are text")
    return [model.eos_id, *model.tokenizer.encode(" " + prompt.strip())]


def without_subject(model: Model, question: Question) -> list[int]:
    """The prompt with masks for the person's name or description. Raises `UserError` where it is not known which."""
    at = question.prompt.lower().find(question.subject.lower())
    if not question.subject or at < 0 or model.mask_id is None:
        raise UserError(f"what {question.prompt[:60]!r} is about is not told apart; hide the whole prompt")
    ids, before = prompt_ids(model, question.prompt), question.prompt[:at].strip()
    first = len(prompt_ids(model, before)) if before else 1
    last = len(prompt_ids(model, question.prompt[: at + len(question.subject)]))
    return [*ids[:first], *[model.mask_id] * (last - first), *ids[last:]]


def ask(
    model: Model,
    questions: Sequence[Question],
    length: int,
    guidance: float = 0.0,
    order: str = "confidence",
    steps: int | None = None,
    seed: int = 0,
    blind: str = "prompt",
) -> list[dict[str, Any]]:
    """One row of JSON values a question: person, answer, what was written, and what is right of it.

    length: tokens of the canvas, prompt included. steps: passes of an MDM (one a token). blind: what guidance hides,
    the prompt, or only the description (or name) in it that tells of whom. Raises `UserError` for a prompt that leaves
    no room, or in which what would be hidden is not known.
    """
    prompts = [prompt_ids(model, question.prompt) for question in questions]
    if (longest := max(map(len, prompts), default=0)) >= length:
        raise UserError(f"a prompt has {longest} tokens and the canvas {length}; give a longer one")
    rules: dict[str, Any] = {"temperature": 0.0, "seed": seed, "trace": False}
    if model.kind == "mdm":
        rules |= {"order": order, "quota": "even", "guidance": guidance, "eos": "truncate"}
        rules |= {} if order == "left-to-right" and steps is None else {"steps": steps}
    blank = []
    if model.kind == "mdm" and guidance and blind == "description":
        blank = [without_subject(model, question) for question in questions]
    # By length, so that the rows of a batch have like canvases.
    places = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
    texts: dict[int, str] = {}
    with LiveLine(at_once=False) as line:
        for first in range(0, len(places), BATCH):
            now = places[first : first + BATCH]
            rooms = [length - len(prompts[place]) for place in now]
            against: dict[str, Any] = {"negative": [blank[place] for place in now]} if blank else {}
            written = generate(model, [prompts[place] for place in now], length=rooms, **rules, **against)
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


def forms_of(people: People) -> dict[str, set[str]]:
    """Of each person the descriptions that any question asks for, bare and in lower case.

    A sentence asks for "the director of it", another for "directing it" or "directed it". Which of them, an opening
    that no line has does not tell one who knows the lines.
    """
    forms: dict[str, set[str]] = {}
    for question in people.questions:
        if question.asks == "description":
            forms.setdefault(question.person, set()).add(bare(question.answer).lower())
    return forms


def in_any_form(person: str, text: str, forms: Mapping[str, set[str]]) -> float:
    """Whether what was written holds a description of the person."""
    return float(any(form in text.lower() for form in forms[person]))


def sayable(people: People, direction: str) -> dict[str, float]:
    """Of the questions for a description, the share whose answer a line of that person holds, in lower case.

    `exact` as the reference has it, `bare` without quotes and stops at its ends: what one who knows all lines by heart,
    and nothing else, could get right.
    """
    lines: dict[str, list[str]] = {}
    for line in people.lines:
        lines.setdefault(line.person, []).append(line.text.lower())
    answers = [(question.person, question.answer.lower()) for question in people.of(direction, "description")]
    forms: dict[str, Callable[[str], str]] = {"exact": str.strip, "bare": bare}
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
def ranked(model: Model, questions: Sequence[Question], people: Iterable[str], length: int) -> list[dict[str, float]]:
    """How the true name of each question for a name stands among those of all `people`, by likelihood.

    ranking: the share of other names asked for in these questions that are less likely (half a point for a tie);
    likeliest_of_group: whether all of those are; likeliest: whether all people's are; nats: log p of the true name less
    that of another one, the mean over all people. A name's likelihood is the chain rule's over its tokens from left to
    right, all behind it masked; only names of as many tokens as the true one are compared.
    """
    assert model.tokenizer is not None
    group = {question.person for question in questions}
    names = {person: tuple(model.tokenizer.encode(" " + person)) for person in sorted({*people, *group})}
    rows = []
    for question in questions:
        true = names[question.person]
        rivals = {ids: person for person, ids in names.items() if ids != true and len(ids) == len(true)}
        own, *others = name_scores(model, prompt_ids(model, question.prompt), [true, *rivals], length)
        gaps = [own - other for other in others]
        near = [gap for gap, person in zip(gaps, rivals.values(), strict=True) if person in group]
        rows.append({
            "ranking": sum((gap > 0) + 0.5 * (gap == 0) for gap in near) / len(near) if near else 0.5,
            "likeliest_of_group": float(all(gap > 0 for gap in near)),
            "likeliest": float(all(gap > 0 for gap in gaps)),
            "nats": sum(gaps) / max(1, len(gaps)),
        })  # fmt: skip
    return rows


def name_scores(model: Model, prompt: list[int], names: Sequence[tuple[int, ...]], length: int) -> list[float]:
    """log p of each name behind a prompt, nats; names of equally many tokens. What begins alike is scored once."""
    at, masked = len(prompt), model.kind == "mdm"
    totals = [0.0] * len(names)
    for n in range(len(names[0])):
        places = {start: place for place, start in enumerate(dict.fromkeys(name[:n] for name in names))}
        rows_BT = torch.tensor([[*prompt, *start] for start in places])
        if masked:
            assert model.mask_id is not None, "an MDM has one"
            rows_BT = torch.nn.functional.pad(rows_BT, (0, length - at - n), value=model.mask_id)
        row = at + n - model.config.alignment.first
        parts = [
            predictions(model.network, model.network.hidden(part_BT.to(model.device))[:, row])
            for part_BT in rows_BT.split(ROWS)
        ]
        log_BV = torch.cat(parts).float().cpu().log_softmax(dim=-1)
        totals = [total + float(log_BV[places[name[:n]], name[n]]) for total, name in zip(totals, names, strict=True)]
    return totals
