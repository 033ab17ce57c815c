"""What the two models of the demo write: continuations, guidance, filled gaps, and how fast.

    samples = write_samples(mdm, arm, "runs/demo/data", seed=0, source="sotu")
    samples["phrases"][0]["steps_shown"]        # the canvas after each pass, token by token with its probability

Prompts and phrases that stand here are of the State of the Union addresses. Models of any other text go on from the
first words of its own held-out sentences, and are asked for gaps in these alone. All entries are JSON values, which the
report renders. Sampling is seeded: the same models write the same again.
"""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unmask.data.shards import TokenData
from unmask.decoding import Generation, generate
from unmask.decoding.generate import infill
from unmask.errors import UserError
from unmask.model.folder import Model

SOURCE = "sotu"  # whose the following are
PROMPTS = ("The people of the United States", "My fellow citizens,")
# All are shown, whatever comes of them.
GAPPED = (
    "The ____ of the Union",
    "The Secretary of the ____ has reported",
    "the people of the United ____ of America",
    "the House of ____",
    "during the fiscal year ____ June 30",
    "peace and ____ with all nations",
    "our relations with ____ Britain",
    "I have the honor to ____ to Congress",
    "the army and the ____",
    "the ____ of the United States",
    "Congress of the ____ States",
)
GAP = 2  # tokens
LENGTH = 60
TEMPERATURE = 0.8
GUIDANCE = 1.0
UNMASKING_LENGTH, UNMASKING_STEPS = 40, 8
# A held-out sentence is filled where it is long enough to say something and short enough to read.
SENTENCE = re.compile(r"(?<=[.] )[A-Z][^.!?\n]{70,130}[.]")
HIDDEN_WORDS, HIDDEN_TOKENS, SENTENCES = 4, 2, 3
HELD_OUT_TOKENS = 20_000
PROMPT_WORDS = 4  # of a held-out sentence
SPEED_LENGTH, SPEED_BATCHES, SPEED_ROUNDS = 64, (1, 8), 3


def write_samples(mdm: Model, arm: Model, data: str | Path, seed: int = 0, source: str = "") -> dict[str, Any]:
    """Everything the report shows of the models' writing, with the settings of each; `source`: what the text is."""
    length = min(LENGTH, mdm.config.block_size // 2)
    held_out, known = TokenData(data, "validation"), source == SOURCE
    prompts = PROMPTS if known else own_prompts(mdm, held_out, mdm.config.block_size - length, seed)
    return {
        "prompts_from": "a fixed list" if known else "the first words of held-out sentences",
        "continuations": continuations(mdm, arm, ("", *prompts), length, seed),
        "unmasking": unmasking(mdm, prompts[0], length, seed),
        "guidance": guided(mdm, prompts[0], length, seed),
        "phrases": phrases(mdm, seed) if known else [],
        "sentences": held_out_gaps(mdm, held_out, seed),
    }


def own_prompts(model: Model, held_out: TokenData, room: int, seed: int) -> tuple[str, ...]:
    """Two beginnings of held-out sentences (or lines) drawn by the seed, of at most `room` tokens each."""
    assert model.tokenizer is not None
    ids = held_out.read(0, min(held_out.n_tokens, HELD_OUT_TOKENS))
    text = model.tokenizer.decode(ids)
    begins = SENTENCE.findall(text) or [line for line in text.splitlines() if line.strip()] or [text]
    drawn = (begins[i].split() for i in np.random.default_rng(seed).permutation(len(begins)))
    prompts = dict.fromkeys(" ".join(words[:PROMPT_WORDS]) for words in drawn)
    fitting = [prompt for prompt in prompts if prompt and 0 < len(model.tokenizer.encode(prompt)) <= room]
    return tuple(fitting[: len(PROMPTS)]) or (model.tokenizer.decode(ids[: max(1, room // 2)]),)


def continuations(mdm: Model, arm: Model, prompts: Sequence[str], length: int, seed: int) -> dict[str, Any]:
    """Both models go on from the same prompts; the MDM by the reverse process and by confidence."""
    options: dict[str, Any] = {"length": length, "temperature": TEMPERATURE, "seed": seed}
    ways: dict[str, Callable[[list[str]], list[Generation]]] = {
        "MDM, ancestral": lambda prompts: generate(mdm, prompts, steps=length, order="ancestral", **options),
        "MDM, confidence": lambda prompts: generate(mdm, prompts, steps=length, order="confidence", **options),
        "ARM": lambda prompts: generate(arm, prompts, **options),
    }
    written = {name: way(list(prompts)) for name, way in ways.items()}
    return {
        **options,
        "prompts": [
            {
                "prompt": prompt,
                "texts": {name: rows[i].text for name, rows in written.items()},
                "nfe": {name: rows[i].nfe for name, rows in written.items()},
            }
            for i, prompt in enumerate(prompts)
        ],
    }


def unmasking(mdm: Model, prompt: str, length: int, seed: int) -> dict[str, Any]:
    """A short text appearing out of masks, several tokens a step."""
    length = min(length, UNMASKING_LENGTH)
    options: dict[str, Any] = {"steps": min(length, UNMASKING_STEPS), "order": "ancestral", "temperature": TEMPERATURE}
    (sample,) = generate(mdm, [prompt], length=length, seed=seed, **options)
    return {**options, "prompt": prompt, "seed": seed, "nfe": sample.nfe, "steps_shown": frames(mdm, sample)}


def guided(mdm: Model, prompt: str, length: int, seed: int) -> dict[str, Any]:
    """One prompt with and without classifier-free guidance, from the same random numbers."""
    options: dict[str, Any] = {"length": length, "steps": length, "order": "ancestral", "temperature": TEMPERATURE}
    samples = {w: generate(mdm, [prompt], seed=seed, guidance=w, **options)[0] for w in (0.0, GUIDANCE)}
    return {
        **options,
        "prompt": prompt,
        "seed": seed,
        "samples": [{"guidance": w, "text": sample.text, "nfe": sample.nfe} for w, sample in samples.items()],
    }


def phrases(mdm: Model, seed: int) -> list[dict[str, Any]]:
    """The gaps of phrases anyone can finish, the surest token first and always the likeliest."""
    filled = infill(mdm, GAPPED, gap=GAP, order="confidence", temperature=0.0, seed=seed)
    return [
        {"title": title, "text": sample.text, "nfe": sample.nfe, "steps_shown": frames(mdm, sample)}
        for title, sample in zip(GAPPED, filled, strict=True)
    ]


def held_out_gaps(mdm: Model, data: TokenData, seed: int) -> list[dict[str, Any]]:
    """Held-out sentences drawn by the seed, some words of each hidden and filled in (fewer where the text has few)."""
    assert mdm.tokenizer is not None
    text = mdm.tokenizer.decode(data.read(0, min(data.n_tokens, HELD_OUT_TOKENS)))
    sentences = SENTENCE.findall(text)
    generator = np.random.default_rng(seed)
    gaps = (gaps_in_a_sentence(mdm, sentences[i], generator, seed) for i in generator.permutation(len(sentences)))
    return [sample for _, sample in zip(range(SENTENCES), filter(None, gaps), strict=False)]


def gaps_in_a_sentence(mdm: Model, sentence: str, generator: np.random.Generator, seed: int) -> dict[str, Any] | None:
    """None where the sentence has too few short words, or does not fit into the model's context."""
    assert mdm.tokenizer is not None and mdm.mask_id is not None
    # Whole words with the space before them, of few tokens; neither the first, nor the last with its full stop.
    pieces = mdm.pieces()
    words = [pieces.add(word) for word in re.findall(r" ?[^ ]+", sentence)]
    words[0] = mdm.begun(words[0])
    short = [i for i, ids in enumerate(words[1:-1], start=1) if len(ids) <= HIDDEN_TOKENS]
    if len(short) < HIDDEN_WORDS:
        return None
    hidden = set(generator.choice(short, size=HIDDEN_WORDS, replace=False).tolist())
    truth = [token for ids in words for token in ids]
    gapped = [mdm.mask_id if i in hidden else token for i, ids in enumerate(words) for token in ids]
    if len(gapped) > mdm.config.block_size:
        return None
    steps = gapped.count(mdm.mask_id)
    (filled,) = generate(
        mdm, [gapped], length=0, steps=steps, order="confidence", quota="even", temperature=0.0, seed=seed
    )
    return {
        "truth": sentence,
        "text": filled.text,
        "tokens_hidden": len(filled.positions),
        "tokens_right": sum(filled.canvas[p] == truth[p] for p in filled.positions),
        "nfe": filled.nfe,
        "steps_shown": frames(mdm, filled),
    }


def frames(model: Model, sample: Generation) -> list[list[dict[str, Any]]]:
    """The canvas before the first step and after each: {text, state, probability} for every token.

    state: "given" (of the prompt), "mask", "new" (committed by this step) or "kept" (by an earlier one).
    """
    tokenizer = model.tokenizer
    if tokenizer is None:
        raise UserError(f"{model.path or 'the model'} has no tokenizer.json; the demo shows text")
    probability = dict(zip(sample.positions, sample.probabilities, strict=True))
    committed = dict(zip(sample.positions, sample.steps, strict=True))

    def token(position: int, step: int) -> dict[str, Any]:
        if position not in committed:
            return {"text": tokenizer.token_text(sample.canvas[position]), "state": "given"}
        if committed[position] > step:
            return {"text": "", "state": "mask"}
        state = "new" if committed[position] == step else "kept"
        return {
            "text": tokenizer.token_text(sample.canvas[position]), "state": state, "probability": probability[position]
        }

    moments = [-1, *sorted(set(sample.steps))]
    return [[token(position, step) for position in range(len(sample.canvas))] for step in moments]


def measure_speed(mdm: Model, arm: Model, rounds: int = SPEED_ROUNDS) -> dict[str, Any]:
    """Tokens per second of both: the ways take turns, `rounds` times, and the median counts."""
    length = min(SPEED_LENGTH, mdm.config.block_size // 2)
    few = max(1, length // 4)
    fixed: dict[str, Any] = {"length": length, "eos": "fill"}
    ways: dict[str, Callable[[list[str]], list[Generation]]] = {
        f"MDM, {length} steps": lambda prompts: generate(mdm, prompts, steps=length, **fixed),
        f"MDM, {few} steps": lambda prompts: generate(mdm, prompts, steps=few, **fixed),
        "ARM, key-value cache": lambda prompts: generate(arm, prompts, **fixed),
    }
    rows = []
    for batch in SPEED_BATCHES:
        prompts = [PROMPTS[0]] * batch
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        nfe: dict[str, list[int]] = {name: [] for name in ways}
        for timed in range(-1, rounds):  # the first round only warms up
            for name, way in ways.items():
                started = time.perf_counter()
                written = way(prompts)
                if timed >= 0:
                    seconds[name].append(time.perf_counter() - started)
                    nfe[name] += [sample.nfe for sample in written]
        for name in ways:
            median = statistics.median(seconds[name])
            row = {"way": name, "batch": batch, "tokens_per_second": batch * length / median, "seconds": median}
            rows.append({**row, "nfe": statistics.median(nfe[name])})
    return {"length": length, "rounds": rounds, "threads": 1, "rows": rows}
