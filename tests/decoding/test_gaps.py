"""Texts with gaps: what the user gave comes back byte for byte, whatever tokenizer and whatever is written between."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest

from tokenizer_kinds import KINDS, llama_2, random_text
from unmask.decoding import generate, infill
from unmask.decoding.prompts import BLANK, blanks
from unmask.errors import UserError
from unmask.model.folder import Model
from unmask.model.tokenizers import Tokenizer

TEXTS = 500
SPACE_FIRST = ["llama-2", "mistral", "metaspace-unigram", "gpt-2 prefix"]


def writer(make_model, tokenizer: Tokenizer, **fields) -> Model:
    fields = {"n_layer": 1, "block_size": 512, "eos_id": tokenizer.eos_id, **fields}
    return make_model(vocab_size=tokenizer.vocab_size, tokenizer=tokenizer, **fields)


def with_gaps(rng: random.Random) -> str:
    """A random text with one to three gaps at random places, some beside spaces, some beside each other."""
    text = random_text(rng)
    for _ in range(rng.randint(1, 3)):
        at = rng.randint(0, len(text))
        text = text[:at] + rng.choice(["____", " ____", "____ ", " ____ ", "__"]) + text[at:]
    return text


def kept(gapped: str, text: str) -> bool:
    """Whether a text is the one with gaps, each filled with something."""
    parts = BLANK.split(gapped)
    wanted = re.escape(parts[0]) + "".join(
        f"{re.escape(space)}.*?{re.escape(part)}" for space, part in zip(parts[1::2], parts[2::2], strict=True)
    )
    return re.fullmatch(wanted, text, re.DOTALL) is not None


def hidden(rng: random.Random, tokenizer: Tokenizer) -> tuple[str, list[int], int, int] | None:
    """A text in which some tokens stand behind a gap, the ids of the whole, and which of them are hidden; None where
    the cut does not allow the same ids on its left, or no text stands there."""
    text = random_text(rng)
    ids = tokenizer.encode(text)
    if len(ids) < 3 or tokenizer.decode(ids) != text:
        return None
    first = rng.randint(1, len(ids) - 1)
    last = rng.randint(first + 1, len(ids))
    left, middle = tokenizer.decode(ids[:first]), tokenizer.decode_behind(ids[:first], ids[first:last])
    right = text[len(left) + len(middle) :]
    if left + middle + right != text or tokenizer.encode(left) != ids[:first]:
        return None
    if left.endswith((" ", "_")) or right.startswith("_"):  # would be part of the gap
        return None
    return left + (" ____" if middle.startswith(" ") else "____") + right, ids, first, last


@pytest.mark.parametrize("kind", KINDS)
def test_random_texts_with_gaps_keep_what_was_given(make_model, kind: str) -> None:
    rng, tokenizer = random.Random(2), KINDS[kind]()
    model = writer(make_model, tokenizer)
    texts = [with_gaps(rng) for _ in range(TEXTS)]
    found = [g for at in range(0, TEXTS, 100) for g in infill(model, texts[at : at + 100], gap=2, steps=1, seed=at)]
    wrong = [(text, g.text) for text, g in zip(texts, found, strict=True) if not kept(text, g.text or "")]
    assert not wrong
    # Between the gaps stand the tokens of what was given, and nothing else.
    for text, g in zip(texts, found, strict=True):
        outside = [g.canvas[p] for p in range(len(g.canvas)) if p not in g.positions]
        given = [token for token in blanks(model, text, 2).ids if token != model.mask_id]
        assert outside[-len(given) :] == given or not given


def tokens_beside_gaps(make_model, kind: str, texts: int = TEXTS) -> Counter[str]:
    rng, tokenizer = random.Random(3), KINDS[kind]()
    model, found = writer(make_model, tokenizer), Counter[str]()
    while found["texts"] < texts:
        if (case := hidden(rng, tokenizer)) is None:
            continue
        text, ids, first, last = case
        gapped = blanks(model, text, last - first).ids
        assert gapped[:first] == ids[:first]
        right_alone = gapped[last:] == ids[last:]
        found["texts"] += 1
        found["ids equal"] += right_alone
        assert tokenizer.spelled(gapped[last:]) == tokenizer.spelled(ids[last:]) or kind == "bert"
    return found


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "bert"])
def test_what_stands_behind_a_gap_has_the_tokens_of_the_running_text(make_model, kind: str) -> None:
    assert tokens_beside_gaps(make_model, kind)["ids equal"] == TEXTS


@pytest.mark.parametrize("kind", [*SPACE_FIRST, "gpt-2", "bytes"])
def test_patterns_choices_and_forced_texts_in_gaps_and_behind_prompts(make_model, kind: str) -> None:
    model = writer(make_model, KINDS[kind]())
    texts = ["In ____ he said", "(____)we", "____ said", "a state____ ____!", " ____ x"]
    for g, text in zip(infill(model, texts, gap=8, pattern="[a-z]{1,3}( [a-z]+)*", seed=1), texts, strict=True):
        wanted = re.escape(text).replace("____", "[a-z]{1,3}( [a-z]+)*").replace("\\ ", " ")
        assert re.fullmatch(wanted, g.text or ""), g.text
    for g in generate(model, ["the people", "", "no.\n"], length=8, pattern="[a-z]+( [a-z]+)*", seed=2):
        assert re.fullmatch("[a-z]+( [a-z]+)*", g.text or ""), g.text
    for prompt in ("the people", ""):
        (g,) = generate(model, prompt, length=12, forced={0: "have a"}, seed=3)
        assert (g.text or "").startswith("have a")
    (g,) = infill(model, "In ____, he", gap=9, forced={0: "have"}, pattern="have[a-z ]*", seed=4)
    assert re.fullmatch("In have[a-z ]*, he", g.text or "")


@pytest.mark.parametrize("kind", [*SPACE_FIRST, "gpt-2", "bytes"])
def test_stop_strings_at_the_beginning_of_a_text(make_model, kind: str) -> None:
    model = writer(make_model, KINDS[kind](), causal=True)
    options = {"length": 14, "pattern": "(the|a) people(s have)*", "eos": "fill", "seed": 1}
    for prompt in ("", "no, "):
        (g,) = generate(model, prompt, stop=[" the", "people"], **options)
        assert g.text in ("the ", "a ") and g.stopped == "stop"


def test_new_tokens_keep_the_space_before_them(make_model) -> None:
    for kind in SPACE_FIRST:
        model = writer(make_model, KINDS[kind]())
        ids = model.encode("the people have")
        behind = len(model.encode("the people"))
        (g,) = generate(model, "the people", length=len(ids) - behind, forced=dict(enumerate(ids[behind:])))
        assert g.text == " have"
        (g,) = generate(model, "", length=len(ids), forced=dict(enumerate(ids)))
        assert g.text == "the people have"


def test_a_forced_text_that_is_no_whole_tokens_and_a_banned_one_of_several(make_model) -> None:
    model = writer(make_model, KINDS["metaspace-unigram"]())
    with pytest.raises(UserError, match="forced text '☃' is not a number of whole tokens"):
        generate(model, "no", length=4, forced={0: "☃"})
    with pytest.raises(UserError, match="banned text 'no government' is [0-9]+ tokens"):
        generate(model, "no", length=4, banned=["no government"])


# ---------------------------------------------------------------------- special tokens

CHAT = "<|im_start|>user\nthe ____ have<|im_end|>\n"


def test_special_tokens_of_prompts_are_ids_only_where_that_is_asked_for(make_model) -> None:
    model = writer(make_model, llama_2())
    start, end = (model.tokenizer.specials.ids[name] for name in ("<|im_start|>", "<|im_end|>"))
    for call in (generate, infill):
        options = {"length": 2} if call is generate else {"gap": 2}
        (plain,), (parsed,) = call(model, CHAT, **options), call(model, CHAT, special_tokens=True, **options)
        assert start not in plain.canvas[:5] and parsed.canvas[0] == start
        assert sum(token == end for token in parsed.canvas if token not in parsed.tokens) >= 1
        rows = call(model, [CHAT, CHAT], special_tokens=[False, True], **options)
        assert [row.canvas[0] == start for row in rows] == [False, True]
    assert kept(CHAT, infill(model, CHAT, gap=2, special_tokens=True)[0].text or "")
    with pytest.raises(UserError, match="special_tokens is 'yes'; give True"):
        generate(model, CHAT, length=2, special_tokens="yes")
    seen = {"length": 4, "guidance": 1.0, "steps": 4, "order": "left-to-right", "seed": 3, "special_tokens": True}
    (text,) = generate(model, "no", negative=CHAT, **seen)
    (ids,) = generate(model, "no", negative=model.encode(CHAT, special_tokens=True), **seen)
    assert text.tokens == ids.tokens and text.probabilities == ids.probabilities


# ---------------------------------------------------------------------- begin and end tokens


def test_a_begin_token_stands_before_every_text_once(make_model) -> None:
    tokenizer = llama_2()
    for causal in (False, True):
        model = writer(make_model, tokenizer, causal=causal, bos=1)
        assert model.encode("the people") == [1, *tokenizer.encode("the people")] and model.encode("") == []
        assert model.encode([5, 6]) == [5, 6] and model.encode("<s>no", True) == [1, *tokenizer.encode("no")]
        (g,) = generate(model, "the people", length=3)
        assert g.canvas[: -len(g.tokens)] == model.encode("the people")
        assert model.decode(g.canvas) == "the people" + (g.text or "")
    (g,) = infill(writer(make_model, tokenizer, bos=1), "____ the people", gap=2)
    assert g.canvas[0] == 1 and g.positions == [1, 2] and g.canvas[3:] == inside_of(tokenizer, " the people")
    arm = writer(make_model, tokenizer, causal=True, bos=1)
    assert generate(arm, "", length=1)[0].canvas[0] == 1  # not the end of sequence


def inside_of(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode_behind(".", text)


@pytest.mark.parametrize("causal", [False, True])
def test_any_end_token_ends_a_text(make_model, causal: bool) -> None:
    tokenizer = Tokenizer.plain_bytes()
    dot = tokenizer.encode(".")[0]
    model = writer(make_model, tokenizer, eos_id=0, eos_ids=(0, dot), causal=causal)
    one = writer(make_model, tokenizer, eos_id=0, causal=causal)
    assert model.eos_ids == (0, dot) and model.config.eos_id == 0
    forced = {0: "a", 1: ".", 2: "b"}
    for eos in ("truncate", "stop"):
        (g,) = generate(model, "x", length=8, eos=eos, forced=forced, order="left-to-right")
        assert (g.text, g.stopped, len(g.tokens)) == ("a.", "eos", 2)  # as transformers: only special ends are no text
        (g,) = generate(one, "x", length=3, eos=eos, forced=forced)
        assert (g.text, g.stopped) == ("a.b", "length")
    (g,) = generate(model, "x", length=3, eos="fill", forced=forced)
    assert (g.text, len(g.tokens)) == ("a.", 3)
    (g,) = generate(model, "x", length=40, eos="suppress", seed=1)
    assert not {0, dot} & set(g.tokens)
    # A pattern's text may end in either, and the rest of its span is such tokens.
    found = generate(model, ["x"] * 30, length=6, pattern="[ab]{2}", seed=2)
    ends = {token for g in found for token in g.tokens[2:]}
    assert {(g.text or "")[:2] for g in found} <= {"aa", "ab", "ba", "bb"} and ends == {0, dot}
