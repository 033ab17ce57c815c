"""Long documents are encoded in bounded memory, with the ids of the whole, on one process or several."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer as Inner
from tokenizers import models, normalizers, trainers

from unmask.data.document import Document, of_parts
from unmask.data.encoding import encode_batches
from unmask.model.tokenizers import Tokenizer

WORDS = "the people of our country and its laws stand while peace is kept among nations Überfluß 東京 €5".split()


def prose(n: int, seed: int = 0) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=n))


def one_word_tokenizer(folder: Path) -> Tokenizer:
    """Llama-2's kind: a space before the text, no words, and bytes for what it does not know."""
    inner = Inner(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    special = ["<unk>", "</s>", "▁", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=special, show_progress=False)
    inner.train_from_iterator(prose(3000).split(), trainer)
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    inner.save(str(folder / "tokenizer.json"))
    return Tokenizer.from_file(folder)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("kind", ["bytes", "bpe", "one-word"])
def test_long_documents_among_short_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, workers: int
) -> None:
    monkeypatch.setattr("unmask.data.encoding.LONG", 3000)
    monkeypatch.setattr("unmask.data.encoding.BATCH_CHARS", 1000)
    monkeypatch.setattr("unmask.model.tokenizers.PIECE_CHARS", 500)
    made = {"bytes": Tokenizer.plain_bytes, "bpe": lambda: Tokenizer.train_bpe(400, [prose(3000)])}
    tokenizer = one_word_tokenizer(tmp_path) if kind == "one-word" else made[kind]()
    texts = [
        "short one",
        prose(2000),
        "b",
        prose(2500, 1),
        "acgt" * 6000,
        prose(2000, 2) + "x" * 20_000 + prose(900),
        "end",
    ]
    documents = [Document(text, str(i)) for i, text in enumerate(texts)]
    long = texts[3]
    documents[3] = of_parts(lambda: (long[at : at + 77] for at in range(0, len(long), 77)), "3", None)
    sided = [(i % 2, document) for i, document in enumerate(documents)]
    found = [np.concatenate(side) for side in zip(*encode_batches(sided, tokenizer, workers), strict=True)]
    for side in (0, 1):
        wanted: list[int] = []
        for text in texts[side::2]:
            wanted += tokenizer._inner.encode(text, add_special_tokens=False).ids + [tokenizer.eos_id]
        assert found[side].tolist() == wanted


# ---------------------------------------------------------------------- memory, in real processes

PEAK = """
import sys
from unmask.data.prepare import prepare
from unmask.data.options import PrepareOptions
options = dict(tokenizer=sys.argv[3], workers=int(sys.argv[4]), tokenizer_bytes=2_000_000)
prepare(PrepareOptions([sys.argv[1]], sys.argv[2], **options))
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def peak(source: Path, out: Path, tokenizer: str, workers: int = 1) -> int:
    """Megabytes of a process that prepares a file."""
    command = [sys.executable, "-c", PEAK, str(source), str(out), tokenizer, str(workers)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=1500).stdout) // 1024


LAYOUTS = {"one line": " ", "paragraphs": ".\n\n", "CRLF": ".\r\n"}


def write(path: Path, layout: str, size: int) -> Path:
    """`size` bytes of prose in which no line feed stands between two letters."""
    stretch = LAYOUTS[layout].join(prose(60, seed) for seed in range(50)) + LAYOUTS[layout]
    data = stretch.encode()
    with path.open("wb") as file:
        for _ in range(size // len(data) + 1):
            file.write(data)
    return path


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> int:
    """Megabytes of one that has nothing to do."""
    folder = tmp_path_factory.mktemp("idle")
    return peak(write(folder / "in.txt", "one line", 1000), folder / "out", "bpe:300")


@pytest.mark.parametrize(("tokenizer", "layout"), [("bytes", "one line"), ("bpe:300", "CRLF"), ("llama", "paragraphs")])
def test_prose_takes_no_memory_by_its_length(tmp_path: Path, idle: int, tokenizer: str, layout: str) -> None:
    """4 MB, for which 135 bytes a byte were half a gigabyte."""
    if tokenizer == "llama":
        one_word_tokenizer(tmp_path)
        tokenizer = str(tmp_path)
    assert peak(write(tmp_path / "in.txt", layout, 4_000_000), tmp_path / "out", tokenizer) < idle + 110


def test_a_word_of_megabytes(tmp_path: Path, idle: int) -> None:
    (tmp_path / "dna.txt").write_text("".join(random.Random(0).choices("ACGT", k=2_000_000)))
    assert peak(tmp_path / "dna.txt", tmp_path / "out", "bytes") < idle + 80
    Tokenizer.train_bpe(400, ["".join(random.Random(0).choices("ACGT", k=20_000))]).save(tmp_path)
    assert peak(tmp_path / "dna.txt", tmp_path / "out2", str(tmp_path)) < idle + 150


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("tokenizer", ["bytes", "bpe:4096"])
def test_ten_megabytes_of_prose(tmp_path: Path, tokenizer: str, layout: str, workers: int) -> None:
    assert peak(write(tmp_path / "in.txt", layout, 10_000_000), tmp_path / "out", tokenizer, workers) < 400


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("tokenizer", ["bytes", "bpe:4096"])
def test_a_book_of_150_megabytes_in_one_line(tmp_path: Path, tokenizer: str) -> None:
    assert peak(write(tmp_path / "in.txt", "one line", 150_000_000), tmp_path / "out", tokenizer) < 1000
