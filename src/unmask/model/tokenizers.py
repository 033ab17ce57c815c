"""Text to token ids and back: plain bytes, a byte-level BPE trained here, or any Hugging Face tokenizer.

    tokenizer = Tokenizer.resolve("bpe:4096", texts)     # or "bytes", a folder, a tokenizer.json, a hub name
    tokenizer.decode(tokenizer.encode("we the people"))  # "we the people"
    tokenizer.save(folder)                               # tokenizer.json, as all Hugging Face tools read it

Built on the `tokenizers` library (byte-level BPE as in GPT-2, Radford et al. 2019). Text is encoded as text unless
`special_tokens` is asked for: the characters ``<|endoftext|>`` in a document do not become the end-of-sequence token.
No begin token is added; a text in parts is encoded and decoded by `encode_behind`, `decode_behind` and `pieces`.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from unmask.errors import UserError, nearest
from unmask.hub import reason, settle
from unmask.model.cutting import cuts_plainly, encode_pieces, training_pieces
from unmask.model.pieces import Pieces, is_plain
from unmask.model.special_tokens import Specials, declared, marked, side_files

EOS = "<|endoftext|>"
FILE = "tokenizer.json"
# Where nothing says which token ends a sequence: the first of these names that the vocabulary holds.
WELL_KNOWN_EOS = (
    EOS, "</s>", "<|end_of_text|>", "<eos>", "<|eos|>", "<｜end▁of▁sentence｜>", "<|im_end|>", "[EOS]", "[SEP]"
)  # fmt: skip

# Longer texts are handed over in pieces: the library keeps hundreds of bytes for each token of one call.
PIECE_CHARS = 1 << 17
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


class Tokenizer:
    """One ``tokenizer.json``, kept as text so that its hash does not depend on the version of any library."""

    def __init__(self, json_text: str, where: str = FILE) -> None:
        import tokenizers

        try:
            self._fields: dict[str, Any] = json.loads(json_text)
            self._inner = tokenizers.Tokenizer.from_str(json_text)
        except Exception as error:  # the library raises plain Exception
            raise UserError(f"{where} is not a tokenizer.json: {_first_line(error)}") from error
        self._json = json_text
        # A stranger's file may carry truncation and padding, which would lose or invent tokens.
        self._inner.no_truncation()
        self._inner.no_padding()
        self._inner.encode_special_tokens = True
        ids = self._inner.get_vocab(with_added_tokens=True)
        if not ids:
            raise UserError(f"{where} has an empty vocabulary")
        self.vocab_size = max(ids.values()) + 1
        self.eos_id: int | None = self._find_eos(ids)

    # ------------------------------------------------------------------ making one

    @classmethod
    def from_file(cls, path: str | Path) -> Tokenizer:
        """The tokenizer of a ``tokenizer.json`` or of the folder that holds it."""
        path = Path(path)
        if path.is_dir():
            path = path / FILE
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            hint = " (only a sentencepiece model is there)" if (path.parent / "tokenizer.model").exists() else ""
            raise UserError(f"{path} does not exist{hint}; a tokenizer is a folder with a {FILE}") from error
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path} cannot be read: {_first_line(error)}") from error
        eos = declared(side_files(path.parent), "eos_token")
        return cls(_mark_eos(text, eos, str(path)), str(path))

    @classmethod
    def from_hub(cls, name: str) -> Tokenizer:
        """The tokenizer of a Hugging Face repository; its files are cached by `huggingface_hub`."""
        settle()
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError

        try:
            path = Path(hf_hub_download(name, FILE))
            sides = []
            for side in ("tokenizer_config.json", "special_tokens_map.json"):
                try:
                    sides.append(Path(hf_hub_download(name, side)))
                except EntryNotFoundError:
                    continue
        except Exception as error:  # offline, unknown name, gated, no such file: all the user's to mend
            raise UserError(
                f"tokenizer '{name}' is no local folder and could not be fetched from the hub "
                f"({reason(error)}); give `bytes`, `bpe:SIZE`, or a folder with a {FILE}"
            ) from error
        return cls(_mark_eos(path.read_text(encoding="utf-8"), declared(sides, "eos_token"), name), name)

    @classmethod
    def plain_bytes(cls) -> Tokenizer:
        """No vocabulary to learn: id 0 ends a sequence, id 1 + b is the byte b."""
        from tokenizers import Tokenizer as Inner
        from tokenizers import decoders, models, pre_tokenizers

        vocab = {EOS: 0} | {character: 1 + byte for byte, character in enumerate(_byte_characters())}
        inner = Inner(models.BPE(vocab=vocab, merges=[]))
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        inner.decoder = decoders.ByteLevel()
        inner.add_special_tokens([EOS])
        return cls(inner.to_str())

    @classmethod
    def train_bpe(
        cls, vocab_size: int, texts: Iterable[str], tell: Callable[[str], None] | None = None
    ) -> Tokenizer:
        """A byte-level BPE of at most `vocab_size` tokens; the same texts give the same file, bit for bit.

        tell: is given a line where some of the text is left out (`cutting.training_pieces`).
        """
        from tokenizers import Tokenizer as Inner
        from tokenizers import decoders, models, pre_tokenizers, trainers

        inner = Inner(models.BPE())
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        inner.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size, special_tokens=[EOS], initial_alphabet=_byte_characters(), show_progress=False
        )
        inner.train_from_iterator(training_pieces(texts, PIECE_CHARS, tell), trainer)
        return cls(inner.to_str())

    @classmethod
    def resolve(
        cls, spec: str, texts: Iterable[str] = (), tell: Callable[[str], None] | None = None
    ) -> Tokenizer:
        """`bytes`, `bpe:4096` (trained on `texts`), a folder, a ``tokenizer.json``, or a name on the hub."""
        if spec == "bytes":
            return cls.plain_bytes()
        if (size := bpe_size(spec)) is not None:
            return cls.train_bpe(size, texts, tell)
        if Path(spec).exists():
            return cls.from_file(spec)
        if not _HUB_NAME.fullmatch(spec):
            head, colon, tail = spec.partition(":")
            hint = nearest(head, ["bytes", "bpe"]) if colon else ""
            raise UserError(
                f"tokenizer '{spec}' does not exist{hint}; give `bytes`, `bpe:SIZE`, a folder or a hub name"
            )
        return cls.from_hub(spec)

    # ------------------------------------------------------------------ using it

    def encode(self, text: str, special_tokens: bool = False) -> list[int]:
        """Token ids of `text`, which begins here; no token added at either end.

        special_tokens: special tokens that the text spells, such as ``<|im_start|>``, are ids; else they are text.
        """
        return Pieces(self).add(text, True) if special_tokens else self.encode_array(text).tolist()

    def encode_behind(self, left: str | Sequence[int], text: str, special_tokens: bool = False) -> list[int]:
        """Token ids of `text` as it stands behind `left`, a text encoded by itself or token ids; see `pieces`."""
        pieces = Pieces(self)
        if isinstance(left, str):
            pieces.add(left, special_tokens)
        else:
            pieces.given(left)
        return pieces.add(text, special_tokens)

    def encode_array(self, text: str) -> np.ndarray:
        """The same as uint32, which for a long text takes a tenth of the memory."""
        try:
            return np.concatenate([np.empty(0, dtype=np.uint32), *self.encode_parts([text])])
        except TypeError as error:  # half of a surrogate pair, which UTF-8 cannot write
            raise UserError(f"text {text[:40]!a} is not valid Unicode; give it as UTF-8") from error

    def encode_parts(self, parts: Iterable[str]) -> Iterator[np.ndarray]:
        """The ids of a text that comes in parts, as of the whole, in bounded memory (`cutting.py`)."""
        return encode_pieces(self._inner, self._fields, parts, PIECE_CHARS)

    @cached_property
    def cuts_plainly(self) -> bool:
        """Whether pieces that end where `cutting.plain_pieces` cuts may be encoded apart."""
        return cuts_plainly(self._fields)

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of `ids`. Special tokens, and ids without a token (the mask), stand for no text."""
        return self.decode_behind((), ids)

    def decode_behind(self, left: Sequence[int], ids: Sequence[int] | np.ndarray) -> str:
        """The text that `ids` add to a text that ends in the tokens `left`: decoded by themselves, they would lose the
        space that parts them from it."""
        if self.joins_plainly:
            text = self.spelled(ids).decode(errors="replace")
            return text.removeprefix(" ") if self.drops_first_space and not self.spelled(left) else text
        whole, before = self._library_decode([*left, *ids]), self._library_decode(left)
        return whole[len(before) :] if whole.startswith(before) else self._library_decode(ids)

    def token_text(self, token_id: int) -> str:
        """One token for display: its text, `\\xe2` for half a character, the name of a special token."""
        token = self._tokens[token_id] if 0 <= token_id < self.vocab_size else None
        if token is None:
            return f"<{token_id}>"
        if token_id in self._added:
            return token
        return self._token_bytes(token).decode("utf-8", errors="backslashreplace")

    @cached_property
    def spellings(self) -> list[bytes | None]:
        """[vocab_size]: the bytes each token adds to a running text; None for special tokens and ids without one."""
        spelled: list[bytes | None] = []
        for token_id, token in enumerate(self._tokens):
            if token is None or self._added.get(token_id):
                spelled.append(None)
            else:
                spelled.append(token.encode() if token_id in self._added else self._token_bytes(token))
        return spelled

    def spelled(self, ids: Iterable[int]) -> bytes:
        """What `ids` spell in a row, the space of a beginning included where the tokenizer puts one."""
        known = self.spellings
        return b"".join(known[i] or b"" for i in ids if 0 <= i < self.vocab_size)

    @cached_property
    def joins_plainly(self) -> bool:
        """Whether a text is its tokens' `spellings` in a row; not so where spaces follow from the neighbours (BERT)."""
        if not is_plain(self._fields.get("decoder")):
            return False
        ids = [token_id for token_id, spelled in enumerate(self.spellings) if spelled and spelled.isalnum()][:16]
        return self._library_decode(ids) == "".join(spelled.decode() for i in ids if (spelled := self.spellings[i]))

    @cached_property
    def drops_first_space(self) -> bool:
        """Whether a space that a text's first token begins with is no part of the text: it is the tokenizer's own, or
        the library's decoder leaves it out, as sentencepiece does."""
        if self.puts_space:
            return True
        for token_id, spelled in enumerate(self.spellings):
            if spelled and spelled[:1] == b" " and spelled[1:].isalnum():
                return not self._library_decode([token_id]).startswith(" ")
        return False

    @cached_property
    def puts_space(self) -> bool:
        """Whether encoding puts a space before a text that has none."""
        return any(self.spelled(self.encode(text)).startswith(b" ") for text in "a.1")

    @cached_property
    def begins_behind_special(self) -> bool:
        """Whether a text that follows special tokens begins as one without them: not so by the newer rule, by which a
        space is put at position 0 alone."""
        return '"prepend_scheme": "first"' not in json.dumps(self._fields.get("pre_tokenizer"))

    def byte_lengths(self) -> np.ndarray:
        """[vocab_size] int64: UTF-8 bytes each token stands for; special tokens stand for none.

        For byte-level tokenizers without a normaliser the sum over a text's tokens is exactly its length in
        bytes. Others rewrite text (a space before the first word, lower case): there the sum is close, not
        exact.
        """
        return self._byte_lengths.copy()

    def n_bytes(self, ids: Sequence[int] | np.ndarray) -> int:
        """UTF-8 bytes that `ids` stand for, see `byte_lengths`; ids outside the vocabulary count as none."""
        array = np.asarray(ids, dtype=np.int64)
        return int(self._byte_lengths[array[(array >= 0) & (array < self.vocab_size)]].sum())

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the file's content, whatever its white space and order of keys."""
        canonical = json.dumps(self._fields, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(canonical.encode("utf-8", errors="surrogatepass")).hexdigest()

    def to_json(self) -> str:
        """The content of ``tokenizer.json``: all that `Tokenizer(...)` needs, in this process or another."""
        return self._json

    def save(self, folder: str | Path) -> Path:
        path = Path(folder) / FILE
        path.write_text(self._json, encoding="utf-8")
        return path

    # ------------------------------------------------------------------ inside

    def _find_eos(self, ids: dict[str, int]) -> int | None:
        for token in self._fields.get("added_tokens") or []:
            if token.get("eos"):  # written by _mark_eos
                return int(token["id"])
        return next((ids[name] for name in WELL_KNOWN_EOS if name in ids), None)

    def _decode_bytes(self, ids: Sequence[int]) -> str:
        """Where single bytes are tokens, the library's decoder gives up a run of them whole when its last character is
        not complete; here the characters before it stay."""
        tokens = [token for i in ids if not self._added.get(i) and (token := self._tokens[i]) is not None]
        pieces: list[str] = []
        for are_bytes, run in itertools.groupby(tokens, lambda token: _BYTE_TOKEN.fullmatch(token) is not None):
            piece = list(run)
            spelled = b"".join(map(self._token_bytes, piece)) if are_bytes else b""
            text = spelled.decode(errors="replace")
            pieces += piece if text.encode() == spelled or not are_bytes else [text]
        return str(self._inner.decoder.decode(pieces))

    @cached_property
    def _byte_tokens(self) -> frozenset[int]:
        """Ids of single bytes, where the decoder puts them together."""
        if '"ByteFallback"' not in json.dumps(self._fields.get("decoder")):
            return frozenset()
        ids = (i for i, token in enumerate(self._tokens) if token is not None and _BYTE_TOKEN.fullmatch(token))
        return frozenset(ids)

    @cached_property
    def _added(self) -> dict[int, bool]:
        """Tokens added beside the model's own, which are stored as plain text: id -> is it special."""
        return {token["id"]: bool(token["special"]) for token in self._fields.get("added_tokens") or []}

    def _library_decode(self, ids: Sequence[int] | np.ndarray) -> str:
        known = [int(i) for i in ids if 0 <= i < self.vocab_size]
        if self._byte_tokens and not self._byte_tokens.isdisjoint(known):
            return self._decode_bytes(known)
        return self._inner.decode(known, skip_special_tokens=True)

    @cached_property
    def specials(self) -> Specials:
        """The special tokens, found in a text where somebody asks for it."""
        return Specials(self._fields.get("added_tokens") or [])

    @cached_property
    def _tokens(self) -> list[str | None]:
        tokens: list[str | None] = [None] * self.vocab_size
        for token, token_id in self._inner.get_vocab(with_added_tokens=True).items():
            tokens[token_id] = token
        return tokens

    @cached_property
    def _byte_level(self) -> bool:
        return '"ByteLevel"' in json.dumps(self._fields.get("decoder"))

    @cached_property
    def _byte_lengths(self) -> np.ndarray:
        return np.array([len(spelled or b"") for spelled in self.spellings], dtype=np.int64)

    def _token_bytes(self, token: str) -> bytes:
        if self._byte_level:
            table = _character_bytes()
            return b"".join(bytes([table[c]]) if c in table else c.encode() for c in token)
        if match := _BYTE_TOKEN.fullmatch(token):
            return bytes([int(match[1], 16)])
        if self._fields["model"].get("type") == "WordPiece":  # elsewhere ## is a text, such as Markdown's
            token = token.removeprefix(self._fields["model"].get("continuing_subword_prefix") or "")
        return token.replace("▁", " ").encode()


def bpe_size(spec: str) -> int | None:
    """The vocabulary size in `bpe:SIZE`, or None when the spec is another kind."""
    if not spec.startswith("bpe"):
        return None
    match = re.fullmatch(r"bpe:(\d[\d_]*)", spec)
    if match is None:
        if Path(spec).exists() or (":" not in spec and spec != "bpe"):
            return None
        raise UserError(f"tokenizer '{spec}' has no size; write for example bpe:4096")
    size = int(match[1])
    if not 257 <= size <= 1 << 24:
        raise UserError(f"tokenizer '{spec}': the size must be 257 (all bytes and end of sequence) to {1 << 24}")
    return size


def _byte_characters() -> list[str]:
    """GPT-2's printable stand-in for each byte 0..255."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(256, 512))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def _character_bytes() -> dict[str, int]:
    return {character: byte for byte, character in enumerate(_byte_characters())}


def _mark_eos(text: str, eos: Any, where: str) -> str:
    """The tokenizer.json with `eos` marked in it, so that the file alone says which token ends a sequence; as its maker
    wrote it where the well-known names lead to the same token."""
    unmarked = Tokenizer(text, where)
    if not isinstance(eos, str) or unmarked.eos_id is not None and unmarked.token_text(unmarked.eos_id) == eos:
        return text
    return marked(json.loads(text), eos, unmarked._inner.get_vocab(with_added_tokens=True), where)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
