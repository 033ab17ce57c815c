"""One place decides whether the hub is asked: at once where it is switched off, in three seconds where it is gone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from unmask import hub


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    hub._answers.cache_clear()
    monkeypatch.setattr(hub, "_said_no", False)
    for name in (*hub.SWITCHES, "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", hub.SWITCHES)
def test_a_switch_is_obeyed_without_a_word_on_the_wire(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_answers", lambda address: pytest.fail("asked"))
    for value in ("1", "true", "ON"):
        monkeypatch.setenv(name, value)
        assert hub.switched_off() == name and not hub.is_reachable() and not hub.settle()
    assert f"{name} is set" in hub.reason(ConnectionError("x"))
    monkeypatch.setenv(name, "0")
    assert hub.switched_off() is None


def test_a_hub_that_says_nothing_is_given_up_in_three_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the call and never answers
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(hub, "SECONDS", 0.3)
        began = time.monotonic()
        assert not hub.is_reachable() and not hub.is_reachable()
        assert time.monotonic() - began < 2
        assert "does not answer" in hub.reason(ConnectionError("x\ny"))


def test_what_refuses_is_told_apart_from_what_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}/")  # nobody there any more
    assert hub.endpoint() == f"http://127.0.0.1:{port}" and not hub.settle()
    assert os.environ["HF_HUB_OFFLINE"] == "1" and hub.switched_off() is None, "our own word, not the user's"
    assert "does not answer" in hub.reason(ConnectionError("x"))
    monkeypatch.setattr(hub, "_answers", lambda address: True)
    assert hub.is_reachable() and hub.settle()
    assert hub.reason(ConnectionError("no such\nthing")) == "no such" and hub.reason(KeyError()) == "KeyError"


def test_names_of_the_hub_are_told_from_paths(tmp_path: Path) -> None:
    assert hub.is_name("openai/gpt2") and not hub.is_name("gpt2") and not hub.is_name("a/b/c")
    assert not hub.is_name(str(tmp_path / "x")) and not hub.is_name("../x") and not hub.is_name("runs/a b")
    assert "hf download openai/gpt2 --local-dir FOLDER" in hub.not_here("openai/gpt2", "give a run")
    assert hub.not_here(tmp_path / "x", "give a run") == f"{tmp_path / 'x'} does not exist; give a run"


DATA = ["prepare", "hf:nobody/has-this", "--out", "OUT"]
TOKENIZER = ["prepare", "TEXT", "--tokenizer", "nobody/has-this", "--out", "OUT"]


@pytest.mark.parametrize(
    ("words", "message", "switch"),
    [
        (DATA, "hf:nobody/has-this cannot be read: it is not on this", "1"),
        (DATA, "hf:nobody/has-this cannot be read: it is not on this", ""),
        (TOKENIZER, "could not be fetched from the hub", "1"),
        (TOKENIZER, "could not be fetched from the hub", ""),
        (["convert", "llama", "nobody/has-this", "--out", "OUT"], "hf download nobody/has-this", ""),
        (["convert", "gguf", "nobody/has-this", "--out", "OUT"], "hf download nobody/has-this", ""),
        (["score", "nobody/has-this", "x"], "hf download nobody/has-this", ""),
    ],
)
def test_every_verb_says_it_in_one_line(words: list[str], message: str, switch: str, tmp_path: Path) -> None:
    """A real process each; without the switch the hub is an address where nobody listens."""
    if words[1].startswith("hf:"):
        pytest.importorskip("datasets")
    (tmp_path / "texts").mkdir()
    for number in range(200):  # enough documents to hold some out, of which nothing is said
        (tmp_path / "texts" / f"{number}.txt").write_text(f"Some text, {number}. " * 20)
    places = {"OUT": str(tmp_path / "out"), "TEXT": str(tmp_path / "texts")}
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    settings = {"HF_HUB_OFFLINE": switch, "TRANSFORMERS_OFFLINE": "", "HF_ENDPOINT": f"http://127.0.0.1:{port}"}
    done = subprocess.run(
        [sys.executable, "-m", "unmask", *(places.get(word, word) for word in words)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **settings},
        cwd=tmp_path,
    )
    assert done.returncode == 2 and not (tmp_path / "out").exists()
    (line,) = done.stderr.splitlines()
    assert line.startswith("unmask: error: ") and message in line
    if words in (DATA, TOKENIZER):
        assert ("HF_HUB_OFFLINE is set" if switch else "does not answer") in line
