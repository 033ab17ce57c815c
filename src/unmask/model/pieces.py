"""A text that is encoded piece by piece: the ids of each as it stands behind the ones before it.

    pieces = Pieces(tokenizer)
    pieces.add("Colour red?\\n"), pieces.add("Yes.")       # together the ids of "Colour red?\\nYes."
    pieces.gap(), pieces.add(" and so on")                # behind tokens that are not known yet

Many tokenizers (Llama, Mistral, T5, GPT-2 with `add_prefix_space`) put a space before whatever they are given, which is
right where a text begins and false anywhere else. Whoever has a text in parts, such as a prompt and its answer, a
template's words and a turn, or what stands on both sides of a gap, encodes them here. The ids are those of the running
text wherever the cut allows it, which is where no token of the running text reaches over it; else the piece is cut
there, and no space is put in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from unmask.model.special_tokens import Specials

# What a piece is encoded behind to see it without the space of a beginning: something it does not grow together with.
# The last is no character (Unicode keeps it free), so no token holds it.
ANCHORS = ("a", ".", "x", "\ufdd0")


class Encoder(Protocol):
    """What is asked of a tokenizer here (`tokenizers.py` has it)."""

    @property
    def specials(self) -> Specials: ...

    @property
    def puts_space(self) -> bool: ...

    @property
    def joins_plainly(self) -> bool: ...

    @property
    def begins_behind_special(self) -> bool: ...

    @property
    def drops_first_space(self) -> bool: ...

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: Sequence[int]) -> str: ...

    def spelled(self, ids: Sequence[int]) -> bytes: ...


class Pieces:
    """What has been encoded so far, as far as the next piece depends on it."""

    def __init__(self, tokenizer: Encoder) -> None:
        self.tokenizer = tokenizer
        self.begun = False  # some text, or a gap, stands before
        self.text, self.ids = "", list[int]()  # what the next piece may be encoded together with
        self.begins = True  # whether that begins the whole text
        self.behind_word = False

    def add(self, text: str, special_tokens: bool = False) -> list[int]:
        """The ids of the next piece. special_tokens: special tokens that it spells are ids; else they are text."""
        if not special_tokens:
            return self._plain(text)
        ids = []
        for part in self.tokenizer.specials.split(text):
            ids += self._plain(part) if isinstance(part, str) else self.token(part)
        return ids

    def token(self, token_id: int) -> list[int]:
        """A special token, which stands for no text: no token reaches over it, and no space follows from it."""
        self.begins = not self.begun and self.tokenizer.begins_behind_special
        self.text, self.ids, self.behind_word = "", [], False
        return [token_id]

    def gap(self) -> None:
        """Tokens that are not known yet."""
        self.text, self.ids, self.begun, self.begins, self.behind_word = "", [], True, False, True

    def given(self, ids: Sequence[int]) -> None:
        """Tokens that somebody else encoded."""
        begin = next((n for n, token in enumerate(ids) if self.tokenizer.spelled([token])), None)
        if begin is None:  # nothing, or special tokens alone
            return
        self.begun = True
        text, ids = self.tokenizer.decode(ids), list(ids[begin:])
        if (known := self.tokenizer.encode(text)) == ids:
            self.text, self.ids = text, known
        else:
            self.text, self.ids, self.begins = "", [], False

    def _plain(self, text: str) -> list[int]:
        if not text:
            return []
        self.begun = True
        whole = self._run(self.text + text)
        if whole[: len(self.ids)] == self.ids:
            new = whole[len(self.ids) :]
            self.text, self.ids = self.text + text, whole
        else:
            new = inside(self.tokenizer, text, behind_word=True)
            self.text, self.ids, self.begins, self.behind_word = text, new, False, True
        return new

    def _run(self, text: str) -> list[int]:
        return self.tokenizer.encode(text) if self.begins else inside(self.tokenizer, text, self.behind_word)


def inside(tokenizer: Encoder, text: str, behind_word: bool = False) -> list[int]:
    """The ids of a text that does not begin anything, cut in front of it.

    behind_word: letters go on with a word, where a tokenizer tells (BERT's ``##``); nothing parts them from it.
    """
    joined = behind_word and not tokenizer.joins_plainly and text[:1].isalnum()
    if not text or not (tokenizer.puts_space or joined):
        return tokenizer.encode(text)
    other = None
    for anchor in ANCHORS:
        head, whole = tokenizer.encode(anchor), tokenizer.encode(anchor + text)
        if not head or whole[: len(head)] != head:
            continue
        ids = whole[len(head) :]
        if tokenizer.spelled(ids) == text.encode():
            return ids
        other = ids if other is None else other  # it spells something else where the tokenizer rewrites what it reads
    return tokenizer.encode(text) if other is None else other


def is_plain(decoder: dict[str, Any] | None) -> bool:
    """Whether a decoder of the library puts tokens together as they are spelled, but for a first space."""
    kind = (decoder or {}).get("type")
    if decoder is None or kind == "Sequence":
        return decoder is not None and all(map(is_plain, decoder["decoders"]))
    if kind == "Replace":
        return (decoder["pattern"].get("String"), decoder["content"]) == ("▁", " ")
    if kind == "Strip":
        return bool(decoder["content"] == " " and decoder["start"] <= 1 and decoder["stop"] == 0)
    return kind in ("ByteLevel", "ByteFallback", "Fuse") or kind == "Metaspace" and decoder["replacement"] == "▁"
