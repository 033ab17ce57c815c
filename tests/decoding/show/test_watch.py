"""The callback's contract, plain lines, and the picture on a terminal."""

from __future__ import annotations

import io

import pytest
import torch

from unmask.decoding import Watcher, generate
from unmask.decoding.state.canvas import Canvas
from unmask.model.folder import Model
from unmask.model.tokenizers import Tokenizer


@pytest.mark.parametrize("kind", ["mdm", "arm"])
def test_called_after_every_pass_and_at_the_end(kind: str, request: pytest.FixtureRequest) -> None:
    model: Model = request.getfixturevalue(kind)
    seen = []
    found = generate(
        model,
        [[1, 2], [3]],
        length=6,
        steps=3,
        eos="fill",
        watch=lambda canvas: seen.append((int(canvas.open_BL.sum()), canvas.passes, canvas.done)),
    )
    assert [done for *_, done in seen] == [False] * (len(seen) - 1) + [True]
    assert [left for left, *_ in seen] == sorted((left for left, *_ in seen), reverse=True) and seen[-1][0] == 0
    assert seen[-1][1] == len(seen) - 1 == max(g.nfe for g in found)


def test_plain_lines_where_no_terminal(mdm: Model) -> None:
    stream = io.StringIO()
    with Watcher(mdm, stream) as watch:
        generate(mdm, [[1, 2]], length=6, order="left-to-right", watch=watch)
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("pass 1, 1 of 6 tokens") or lines[0].startswith("pass ")
    assert "6 of 6 tokens" in lines[-1] and "\x1b" not in stream.getvalue()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colours_on_a_terminal(make_model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr("unmask.decoding.show.watch.LIVE_SECONDS", 0.0)
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    tokenizer = Tokenizer.plain_bytes()
    model = make_model(vocab_size=tokenizer.vocab_size, tokenizer=tokenizer)
    stream = Terminal()
    with Watcher(model, stream, rows=1) as watch:
        generate(model, ["We the", "x"], length=4, order="left-to-right", watch=watch)
    shown = stream.getvalue()
    assert "We the" in shown and "░" in shown and "\x1b[" in shown and "1 more rows" in shown


def test_rows_are_numbered_where_there_are_several(make_model) -> None:
    tokenizer = Tokenizer.plain_bytes()
    model = make_model(vocab_size=tokenizer.vocab_size, tokenizer=tokenizer)

    def shown(*prompts: str) -> list[str]:
        canvas = Canvas.of([tokenizer.encode(text) for text in prompts], [1] * len(prompts), model.config.vocab_size)
        watch = Watcher(model, io.StringIO(), rows=3)
        watch(canvas)
        return [str(line) for line in watch.render(canvas, 0.0).renderables]

    assert [line[:5] for line in shown("We", "A", "x", "y")[:3]] == ["1: We", "2: A░", "3: x░"]
    assert shown("We", "A", "x", "y")[3].endswith("1 more rows") and shown("We")[0].startswith("We")


def test_a_token_cannot_steer_the_terminal(make_model) -> None:
    tokenizer = Tokenizer.plain_bytes()
    model = make_model(vocab_size=tokenizer.vocab_size, tokenizer=tokenizer)
    canvas = Canvas.of([tokenizer.encode("a\x1b[1m\n")], [1], mask_id=model.config.vocab_size)
    watch = Watcher(model, io.StringIO())
    watch(canvas)
    assert watch.row(canvas, 0).plain == "a\\x1b[1m\n░░"


def test_what_was_written_and_is_a_mask_again_shows(mdm: Model) -> None:
    canvas = Canvas.of([[1]], [3], mask_id=mdm.config.vocab_size)
    watch = Watcher(mdm, io.StringIO())
    rows, first, second = torch.tensor([0]), torch.tensor([[False, True, False, False]]), torch.tensor([[0, 5, 0, 0]])
    canvas.commit(rows, first, second, torch.full((1, 4), 0.95, dtype=torch.float64), torch.tensor([0]))
    watch(canvas)
    assert [str(span.style) for span in watch.row(canvas, 0).spans] == ["dodger_blue1 underline", "dim", "dim"]
    canvas.remask(rows, first, torch.tensor([1]))
    watch(canvas)
    assert [str(span.style) for span in watch.row(canvas, 0).spans] == ["dark_orange", "dim", "dim"]


def test_a_watcher_serves_call_after_call(mdm: Model) -> None:
    stream = io.StringIO()
    with Watcher(mdm, stream, steps=3) as watch:
        for length in (6, 9):
            generate(mdm, [[1, 2]], length=length, steps=3, order="confidence", quota="even", watch=watch)
    lines = stream.getvalue().splitlines()
    assert lines[-1].startswith("pass 3, step 3 of 3, 9 of 9 tokens") and "6 of 6 tokens" in stream.getvalue()
