"""An order from a user's own file, by the command line as a user runs it: `unmask sample --plugin FILE`."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from unmask.model.config import ModelConfig
from unmask.model.folder import save
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer

FILE = '''
"""Outward from what stands: the open positions nearest to a token come first, the surest of equally near ones."""

from dataclasses import dataclass

import torch

from unmask.decoding.rules import ORDERS, Order, parameter, stream


@ORDERS.register("outward")
@dataclass(frozen=True)
class Outward(Order):
    """Nearest to a token that stands, less `noise` of a random number: islands grow at their shores."""

    reads = ("probability",)
    chance = True
    noise: float = parameter(0.0, 0, 10)

    def priority(self, turn, answers):
        stands_RL = (turn.canvas.inside_BL & ~turn.canvas.open_BL)[turn.rows_R]  # padding does not
        near_RL = torch.minimum(since(stands_RL), since(stands_RL.flip(1)).flip(1))
        noise_RL = turn.uniforms(stream("outward"))
        return answers["probability"] / 2 - near_RL - self.noise * noise_RL


def since(stands_RL):
    """How far on the left the next token lies; far where none is."""
    place_L = torch.arange(stands_RL.shape[1])
    last_RL = torch.where(stands_RL, place_L, -1000).cummax(1).values
    return place_L - last_RL
'''


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("users")
    sizes = {"n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 64, "vocab_size": 257}
    save(folder / "mdm", Transformer(ModelConfig(**sizes, eos_id=0), seed=0), Tokenizer.plain_bytes())
    (folder / "outward.py").write_text(FILE)
    return folder


def sample(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "unmask", "sample", str(place / "mdm"), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=place)


def test_it_writes_by_the_order_and_says_whose_it_is(place: Path) -> None:
    words = ("--plugin", "outward.py", "--order", "outward", "--quota", "even", "--ids", "1 257 257 257 257 257 2")
    done = sample(place, *words, "--length", "0", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    (row,) = json.loads(done.stdout)
    when = dict(zip(row["positions"], row["steps"], strict=True))
    assert sorted(when.values()) == list(range(5))
    assert max(when, key=when.__getitem__) not in (1, 5), "what lies within comes last"
    for position, step in when.items():
        beside = [when.get(position - 1, -1), when.get(position + 1, -1)]
        assert min(beside) < step, "each beside what stood already"
    sha256 = hashlib.sha256((place / "outward.py").read_bytes()).hexdigest()
    assert row["settings"]["plugins"] == {"outward.py": sha256}


def test_rows_of_a_mixed_batch_write_what_they_write_alone(place: Path) -> None:
    lines = [
        {"prompt": "one", "length": 9, "order": "outward:noise=3", "quota": "even"},
        {"prompt": "another", "length": 5, "order": "margin", "steps": 3},
        {"prompt": "a third", "length": 7, "order": "outward:noise=3", "quota": "threshold:0.02", "block": 4},
        {"ids": [257, 257, 5, 257, 257], "length": 0, "order": "outward", "quota": "even"},
    ]
    (place / "lines.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = []
    for batch in ("16", "1"):
        done = sample(place, "--plugin", "outward.py", "--prompts", "lines.jsonl", "--batch", batch)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        found.append([json.loads(line) for line in done.stdout.splitlines()])
    for together, alone in zip(*found, strict=True):
        assert all(together[name] == alone[name] for name in ("tokens", "steps", "nfe", "positions", "seed"))
        assert ("plugins" in together["settings"]) == together["settings"]["order"].startswith("outward")


def test_without_the_option_and_with_a_bad_number_it_is_one_line(place: Path) -> None:
    done = sample(place, "--order", "outward", "--length", "4")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("unmask: error: order 'outward' is unknown") and done.stderr.count("\n") == 1
    done = sample(place, "--plugin", "outward.py", "--order", "outward:noise=11", "--length", "4")
    why = "unmask: error: order outward: noise is 11; give a number in [0, 10]\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", why)
