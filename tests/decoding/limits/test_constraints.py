r"""Banned and forced tokens, patterns, choices and stop strings: read, checked, and each contradiction named."""

from __future__ import annotations

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from unmask.decoding.limits.constraints import OPEN, Run, Stop, StopStrings, read_constraints
from unmask.errors import UserError
from unmask.model.tokenizers import Tokenizer

TEXT = "The people of the United States; on 1790-01-08 the state of the Union was 100% good.\n\nÜber €5!\n"
BPE = Tokenizer.train_bpe(330, [TEXT * 5])
V = BPE.vocab_size


def metaspace() -> Tokenizer:
    """A vocabulary as sentencepiece makes them: its tokens hold spaces, decoding drops the first."""
    pieces = ["<unk>", "</s>", *"▁abcdefghijklmnopqrstuvwxyz-.0123456789", "▁the", "▁a", "he", "st", "▁st", "op"]
    model = tokenizers.models.Unigram([(piece, -float(len(pieces) / len(piece))) for piece in pieces], unk_id=0)
    inner = tokenizers.Tokenizer(model)
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    inner.decoder = tokenizers.decoders.Metaspace()
    inner.add_special_tokens(["<unk>", "</s>"])
    return Tokenizer(inner.to_str())


META = metaspace()


def test_banned_ids_and_texts() -> None:
    (the,) = BPE.encode(" the")
    found = read_constraints(BPE, V + 3, [Run(4)], banned=[7, " the", V + 2, "<|endoftext|>"])
    assert found.banned == {7, the, V + 2, 0}
    assert BPE.encode("the") != [the] and not found.forced and not found.spans and found.stops is None


def test_forced_texts_take_as_many_offsets_as_they_have_tokens() -> None:
    text = " United States"
    ids = BPE.encode(text)
    assert len(ids) > 1
    found = read_constraints(BPE, V, [Run(8), Run(8)], forced={2: text, 15: 9})
    assert found.forced == {**{2 + i: token for i, token in enumerate(ids)}, 15: 9}


def test_a_forced_text_gets_no_space_of_its_own() -> None:
    assert META.decode(META.encode("the")) == "the" and META.spellings[META.encode("the")[0]][:1] == b" "
    forced = read_constraints(META, META.vocab_size, [Run(8)], forced={0: "he", 3: " the"}).forced
    assert [META.spellings[token] for token in forced.values()] == [b"he", b" the"]


def test_every_run_has_its_own_span() -> None:
    found = read_constraints(
        BPE,
        V,
        [Run(3), Run(0), Run(2, spells=False), Run(6, eos_ids=(0,))],
        pattern=r"\d+",
        forced={6: BPE.encode("7")[0]},
    )
    assert [offsets for offsets, _ in found.spans] == [range(0, 3), range(5, 11)]
    (_, gap), (_, tail) = found.spans
    digits = {token for token, spelled in enumerate(BPE.spellings) if spelled and spelled.isdigit()}
    assert set(gap.allowed([OPEN] * 3)[1].nonzero()[0]) == digits
    assert set(tail.allowed([OPEN] * 6)[2].nonzero()[0]) == digits | {0}
    assert set(tail.allowed([OPEN] * 6)[0].nonzero()[0]) == digits  # no empty number


def test_banned_tokens_leave_the_patterns_they_are_needed_for() -> None:
    ban = [token for token, spelled in enumerate(BPE.spellings) if spelled and b"1" in spelled]
    ((_, span),) = read_constraints(BPE, V, [Run(1)], pattern="[12]", banned=ban).spans
    assert [BPE.token_text(t) for t in span.allowed([OPEN])[0].nonzero()[0]] == ["2"]


def test_a_space_the_run_takes_along() -> None:
    ((_, span),) = read_constraints(BPE, V, [Run(2, takes_space=True)], choices=["the"]).spans
    spelled = {BPE.spellings[token] for token in span.allowed([OPEN] * 2)[0].nonzero()[0]}
    assert spelled == {prefix for prefix in (b" ", b" t", b" th") if prefix in BPE.spellings}


def test_the_space_that_decoding_drops() -> None:
    v = META.vocab_size
    ((_, first),) = read_constraints(META, v, [Run(1, begins_text=True)], choices=["the", "a"]).spans
    ((_, inside),) = read_constraints(META, v, [Run(1)], choices=["the", "a"]).spans
    spelled = [{META.spellings[t] for t in span.allowed([OPEN])[0].nonzero()[0]} for span in (first, inside)]
    assert spelled == [{b" the", b" a", b"a"}, {b"a"}]
    for token in first.allowed([OPEN])[0].nonzero()[0]:
        assert META.decode([token]) in ("the", "a")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"banned": ["the people"]}, r"banned text 'the people' is \d tokens, not one"),
        ({"banned": [""]}, "banned holds an empty text"),
        ({"banned": [V]}, f"banned is token {V}, outside the vocabulary"),
        ({"banned": [True]}, "banned is True; give token ids"),
        ({"banned": range(V)}, f"banned holds all {V} tokens"),
        ({"forced": {8: 3}}, "forced at offset 8 lies outside the 8 new tokens; give 0 to 7"),
        ({"forced": {-1: 3}}, "forced at offset -1 lies outside"),
        ({"forced": {7: " United States"}}, "forced at offset 8 lies outside"),
        ({"forced": {1: V}}, f"forced at offset 1 is token {V}, outside the vocabulary"),
        ({"forced": {1: ""}}, "forced at offset 1 is an empty text"),
        ({"forced": {0: " United States", 1: 3}}, "forced has two tokens at offset 1"),
        ({"forced": {1: 3}, "banned": [3]}, "forced at offset 1 is token 3 .*, which is banned"),
        ({"forced": {1: "x"}, "pattern": r"\d+"}, r"forced at offset 1 of the span does not go with pattern '\\d\+'"),
        ({"pattern": "a", "choices": ["a"]}, "pattern and choices are both given"),
        ({"pattern": "a(?=b)"}, r"pattern 'a\(\?=b\)': \(\?= is not supported at position 1"),
        ({"pattern": r"\d{2}"}, r"pattern '\\d\{2\}' cannot be written in exactly 8 tokens, but in 1 or 2"),
        ({"pattern": r"\d{99}"}, r"cannot be written in exactly 8 tokens, but in \d+ or \d+; give it so many"),
        ({"choices": ["yes", "no"]}, "choices cannot be written in exactly 8 tokens, but in 2 or 3"),
        ({"choices": []}, "choices is empty"),
        ({"choices": ["a", ""]}, "choices holds an empty text"),
        ({"pattern": "q+", "banned": BPE.encode("q")}, "cannot be written with the tokens that are left"),
        ({"stop": [""]}, "stop holds an empty text"),
        ({"stop": [3]}, r"stop is \[3\]; give texts"),
    ],
)
def test_contradictions(options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_constraints(BPE, V, [Run(8)], **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("options", [{"banned": ["a"]}, {"forced": {0: "a"}}, {"pattern": "a"}, {"stop": ["a"]}])
def test_text_needs_a_tokenizer(options: dict) -> None:
    with pytest.raises(UserError, match=f"{next(iter(options))} holds text, and this model has no tokenizer"):
        read_constraints(None, 9, [Run(1)], **options)
    assert read_constraints(None, 9, [Run(1)], banned=[1], forced={0: 2}).forced == {0: 2}


def test_tokens_whose_text_depends_on_their_neighbours() -> None:
    vocab = {"[UNK]": 0, "we": 1, "the": 2, "##m": 3}
    inner = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocab, unk_token="[UNK]"))
    inner.decoder = tokenizers.decoders.WordPiece()
    with pytest.raises(UserError, match="pattern needs tokens that spell their text by themselves"):
        read_constraints(Tokenizer(inner.to_str()), 4, [Run(1)], pattern="we")


# ------------------------------------------------------------------ stop strings


def before(tokenizer: Tokenizer, ids: list[int], found: Stop) -> str:
    text = tokenizer.decode(ids[: found.token + 1])
    return text[: max(len(text) - found.surplus, 0)]


STOPS = st.lists(st.text(alphabet="ab€\n", min_size=1, max_size=3), min_size=1)


@given(st.text(alphabet="ab€ü\n ", max_size=20), STOPS)
def test_stop_strings_over_any_cut_into_tokens(text: str, stops: list[str]) -> None:
    for tokenizer in (BPE, Tokenizer.plain_bytes()):
        ids = tokenizer.encode(text)
        found = StopStrings(tokenizer, stops).find(ids)
        at = min((text.find(stop) for stop in stops if stop in text), default=None)
        if at is None:
            assert found is None
            continue
        assert found is not None
        assert before(tokenizer, ids, found) == text[:at]
        assert len(tokenizer.decode(ids[: found.token])) <= at  # it does not begin in an earlier token


def test_stop_strings_inside_and_across_tokens() -> None:
    ids = BPE.encode("on the Union")
    the = ids.index(BPE.encode(" the")[0])
    assert StopStrings(BPE, ["e U"]).find(ids) == (the, 1)
    assert StopStrings(BPE, ["e Union!"]).find(ids) is None  # not complete yet
    assert StopStrings(BPE, ["e Union!"]).find([*ids, *BPE.encode("!")]) == (the, 1)
    found = StopStrings(BPE, ["ion", "Un"]).find(ids)
    assert found is not None and before(BPE, ids, found) == "on the "


def test_stop_strings_and_special_tokens() -> None:
    ids = [*BPE.encode("st"), 0, V + 5, *BPE.encode("op stop")]
    found = StopStrings(BPE, ["stop"]).find(ids)
    assert found is not None and before(BPE, ids, found) == "stop "


def test_stop_strings_where_decoding_drops_a_space() -> None:
    ids = META.encode("the stop")
    found = StopStrings(META, ["to"]).find(ids)
    assert found is not None and before(META, ids, found) == "the s"
    found = StopStrings(META, [" th"]).find(ids)
    assert found is not None and before(META, ids, found) == ""


def test_stop_strings_that_overlap_wait_for_each_other() -> None:
    tokenizer = Tokenizer.plain_bytes()
    stops = StopStrings(tokenizer, ["bc", "abcd"])
    ids = tokenizer.encode("xabcdy")
    assert [stops.find(ids[:n], last=False) for n in range(5)] == [None] * 5  # "abc" may become "abcd"
    assert stops.find(ids[:5], last=False) == stops.find(ids) == Stop(1, 1)
    assert stops.find(ids[:4]) == Stop(2, 1)  # nothing comes behind: "bc" it is
    assert stops.find(tokenizer.encode("xabce"), last=False) == Stop(2, 1)
    assert stops.find([*ids[:4], 0], last=False) == Stop(2, 1)  # nor over a special token
    assert StopStrings(tokenizer, ["ab", "abc"]).find(ids[:3], last=False) == Stop(1, 1)  # both begin there


def fallback() -> Tokenizer:
    """Single bytes for what has no token, as Llama-2's vocabulary has it."""
    vocab = {"<unk>": 0, "</s>": 1} | {f"<0x{byte:02X}>": 2 + byte for byte in range(256)}
    for piece in ("▁", "a", "b", ".", "▁the"):
        vocab[piece] = len(vocab)
    inner = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocab, merges=[], byte_fallback=True, unk_token="<unk>"))
    parts = [tokenizers.normalizers.Prepend("▁"), tokenizers.normalizers.Replace(" ", "▁")]
    inner.normalizer = tokenizers.normalizers.Sequence(parts)
    steps = [tokenizers.decoders.Replace("▁", " "), tokenizers.decoders.ByteFallback(), tokenizers.decoders.Fuse()]
    inner.decoder = tokenizers.decoders.Sequence([*steps, tokenizers.decoders.Strip(" ", 1, 0)])
    inner.add_special_tokens(["<unk>", "</s>"])
    return Tokenizer(inner.to_str())


def test_the_byte_before_a_stop_string_is_kept() -> None:
    """A run of single bytes that ends within a character loses that one alone, not what stands before it."""
    tokenizer = fallback()
    for text, stops in (("a日é.", ["é"]), ("日本", ["本"]), ("aé€b", ["€b"]), ("ü€", ["€"]), ("a日.", ["."])):
        ids = tokenizer.encode(text)
        found = StopStrings(tokenizer, stops).find(ids)
        assert found is not None and before(tokenizer, ids, found) == text[: text.index(stops[0])]


def test_why_a_text_cannot_be_banned() -> None:
    for entry, message in (
        ("the", "banned text 'the' has no token without a space before it; give ' the', or ids"),
        ("theb", "banned text 'theb' is 4 tokens, not one"),
        (" a", "banned text ' a' has no token with a space before it; give 'a', or ids"),
    ):
        with pytest.raises(UserError, match=message):
            read_constraints(fallback(), 270, [Run(8)], banned=[entry])
    vocab = {"[UNK]": 0, "we": 1}
    inner = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocab, unk_token="[UNK]"))
    inner.normalizer = tokenizers.normalizers.Lowercase()
    with pytest.raises(UserError, match="banned text 'We' is read as the token 'we'; give that, or its id 1"):
        read_constraints(Tokenizer(inner.to_str()), 2, [Run(8)], banned=["We"])


@pytest.mark.parametrize(
    ("pattern", "length", "eos_ids", "message"),
    [
        ("[ab]{4,}", 3, (), "cannot be written in exactly 3 tokens, but in 4 or more; give it so many"),
        ("[ab]{4}", 3, (0,), "cannot be written in exactly 3 tokens, but in 4 or more"),  # the rest ends the text
        ("([ab]{2}|[ab]{5,})", 3, (), "but in 2 or 5 or more"),
        ("([ab]{2})+", 3, (), "but in 2 or 4;"),
        ("[ab]{5,7}", 3, (), "but in 5 or 6;"),
        ("[ab]{3,}", 1, (), "cannot be written in exactly 1 token, but in 3 or more"),
    ],
)
def test_which_numbers_of_tokens_a_pattern_can_have(
    pattern: str, length: int, eos_ids: tuple[int, ...], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read_constraints(Tokenizer.plain_bytes(), 257, [Run(length, eos_ids=eos_ids)], pattern=pattern)
