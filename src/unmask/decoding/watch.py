"""The canvas filling in, on a terminal; plain lines elsewhere.

    with Watcher(model) as watch:
        generate(model, ["My fellow"], order="confidence", watch=watch)

    unmask sample RUN --prompt "My fellow" --watch

Colours say how probable a token was when it was committed; what the last pass wrote is underlined. All goes to
stderr, so that results on stdout stay clean.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from unmask.decoding.canvas import Canvas
from unmask.model.folder import Model

if TYPE_CHECKING:
    from rich.console import Group
    from rich.text import Text

# Lowest probability of each colour.
COLOURS = ((0.9, "bright_green"), (0.6, "green"), (0.3, "yellow"), (0.1, "dark_orange"), (0.0, "red"))
MASK_SIGN = "░░"
PLAIN_SECONDS, LIVE_SECONDS = 2.0, 0.05


class Watcher:
    """A `watch` callback of `generate`; shows at most `rows` rows. A context manager that tidies the terminal."""

    def __init__(self, model: Model, stream: TextIO | None = None, rows: int = 4) -> None:
        from rich.console import Console
        from rich.live import Live

        self.model, self.rows = model, rows
        self.stream = sys.stderr if stream is None else stream
        self.console = Console(file=self.stream)
        self.live = Live(console=self.console, auto_refresh=False) if self.console.is_terminal else None
        self.started: float | None = None
        self.last_shown = -PLAIN_SECONDS
        self.seen = 0

    def __enter__(self) -> Watcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self.live is not None:
            self.live.stop()

    def __call__(self, canvas: Canvas) -> None:
        now = time.monotonic()
        if self.started is None:
            self.started = now
            self.seen = int((canvas.new_BL & ~canvas.open_BL).sum())  # the first pass is not in the rate's time
        if not canvas.done and now - self.last_shown < (PLAIN_SECONDS if self.live is None else LIVE_SECONDS):
            return
        self.last_shown = now
        if self.live is None:
            print(self.status(canvas, now), file=self.stream, flush=True)
            return
        if not self.live.is_started:
            self.live.start()
        self.live.update(self.render(canvas, now), refresh=True)
        if canvas.done:
            self.live.stop()

    def status(self, canvas: Canvas, now: float) -> str:
        """`pass 12, 40 of 64 tokens, 25.1 tokens/s`."""
        new = int(canvas.new_BL.sum())
        filled = new - int((canvas.new_BL & canvas.open_BL).sum())
        seconds = now - (self.started or now)
        rate = f", {(filled - self.seen) / seconds:.1f} tokens/s" if seconds > 0 and filled > self.seen else ""
        return f"pass {canvas.passes}, {filled} of {new} tokens{rate}"

    def render(self, canvas: Canvas, now: float) -> Group:
        from rich.console import Group
        from rich.text import Text

        shown = [self.row(canvas, row) for row in range(min(self.rows, len(canvas.tokens_BL)))]
        hidden = len(canvas.tokens_BL) - len(shown)
        more = f", {hidden} more rows" if hidden > 0 else ""
        return Group(*shown, Text(self.status(canvas, now) + more, style="dim"))

    def row(self, canvas: Canvas, row: int) -> Text:
        """One row: the prompt plain, new tokens coloured, masks as shaded cells."""
        from rich.text import Text

        text = Text()
        newest = int(canvas.step_BL[row].max())
        for position in range(int(canvas.lengths_B[row])):
            if canvas.open_BL[row, position]:
                text.append(MASK_SIGN if self.model.kind == "mdm" else "", style="dim")
                continue
            token = self.token_text(int(canvas.tokens_BL[row, position]))
            if not canvas.new_BL[row, position]:
                text.append(token)
                continue
            style = colour(float(canvas.probability_BL[row, position]))
            text.append(token, style=style + (" underline" if canvas.step_BL[row, position] == newest else ""))
        return text

    def token_text(self, token: int) -> str:
        """A token as text that cannot steer the terminal."""
        tokenizer = self.model.tokenizer
        text = f" {token}" if tokenizer is None else tokenizer.token_text(token)
        return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)


def colour(probability: float) -> str:
    return next(name for least, name in COLOURS if probability >= least or least == 0.0)
