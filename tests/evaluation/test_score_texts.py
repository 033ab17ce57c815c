"""`unmask score --file` scores a file's text, whatever the file is packed in, and its own bytes."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import torch

from unmask.errors import UserError
from unmask.evaluation.options import ScoreOptions
from unmask.evaluation.score_texts import score_texts
from unmask.model.config import ModelConfig
from unmask.model.folder import save
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer

TEXT = "The people of\r\nthe United \u2028 States é"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model") / "arm"
    config = ModelConfig(n_layer=1, n_head=2, n_embd=16, vocab_size=257, block_size=64, causal=True, eos_id=0)
    save(folder, Transformer(config), Tokenizer.plain_bytes())
    return folder


def test_the_same_text_is_the_same_score_in_any_coat(model: Path, tmp_path: Path) -> None:
    """A byte order mark was scored as text, and CRLF turned into LF before it was counted."""
    ((_, wanted),) = score_texts(ScoreOptions(str(model), [TEXT]))
    assert wanted.n_bytes == len(TEXT.encode())
    files = {
        "plain.txt": TEXT.encode(),
        "bom.txt": b"\xef\xbb\xbf" + TEXT.encode(),
        "wide.txt": TEXT.encode("utf-16"),
        "packed": gzip.compress(TEXT.encode()),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    found = score_texts(ScoreOptions(str(model), file=[str(tmp_path / name) for name in files]))
    for text, score in found:
        assert text == TEXT and (score.logprob, score.n_bytes) == (wanted.logprob, wanted.n_bytes)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"caf\xe9", r"it is not UTF-8 \(byte 3\); convert it"),
        ("wide".encode("utf-16-le"), "it seems to be UTF-16 without a byte order mark"),
        (b"PK\x03\x04", "it is a zip archive"),
    ],
)
def test_what_is_not_text_is_one_line(model: Path, tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "it").write_bytes(data)
    with pytest.raises(UserError, match=message):
        score_texts(ScoreOptions(str(model), file=[str(tmp_path / "it")]))
