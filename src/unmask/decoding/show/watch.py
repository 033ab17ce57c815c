"""The canvas filling in, on a terminal; plain lines elsewhere.

    with Watcher(model) as watch:
        generate(model, ["My fellow"], order="confidence", watch=watch)

    unmask sample RUN --prompt "My fellow" --watch

Colours say how probable a token was when it was committed, from orange to blue as on a trace page; what the last step
wrote is underlined, and what was written and is a mask again is orange. All goes to stderr, so that results on stdout
stay clean.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from unmask.decoding.show.trace import token_text, visible
from unmask.decoding.state.canvas import Canvas
from unmask.model.folder import Model

if TYPE_CHECKING:
    from rich.console import Group
    from rich.text import Text

# Lowest probability of each colour: orange to blue, which all kinds of colour vision tell apart.
COLOURS = ((0.9, "dodger_blue1"), (0.7, "sky_blue3"), (0.5, "grey66"), (0.3, "light_goldenrod3"), (0.1, "dark_orange"))
LOWEST = "orange_red1"
MASK_SIGN = "░░"
PLAIN_SECONDS, LIVE_SECONDS = 2.0, 0.05


class Watcher:
    """A `watch` callback of `generate`; shows at most `rows` rows. A context manager that tidies the terminal.

    `steps`, if known, is how many the call was given.
    """

    def __init__(self, model: Model, stream: TextIO | None = None, rows: int = 4, steps: int | None = None) -> None:
        from rich.console import Console
        from rich.live import Live

        self.model, self.rows, self.steps = model, rows, steps
        self.stream = sys.stderr if stream is None else stream
        self.console = Console(file=self.stream)
        self.live = Live(console=self.console, auto_refresh=False) if self.console.is_terminal else None
        self.canvas: Canvas | None = None
        self.started = 0.0
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
        filled_BL = canvas.new_BL & ~canvas.open_BL
        if canvas is not self.canvas:  # another call
            self.canvas, self.started = canvas, now
            self.seen = int(filled_BL.sum())  # the first pass is not in the rate's time
            self.written_BL = filled_BL  # positions that held a token of this call at some time
        self.written_BL = self.written_BL | filled_BL
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
        """`pass 12, step 14 of 32, 40 of 64 tokens, 25.1 tokens/s`."""
        new = int(canvas.new_BL.sum())
        filled = new - int((canvas.new_BL & canvas.open_BL).sum())
        seconds = now - self.started
        rate = f", {(filled - self.seen) / seconds:.1f} tokens/s" if seconds > 0 and filled > self.seen else ""
        stepped = self.steps and self.model.kind == "mdm"
        step = f", step {int(canvas.step_BL.max()) + 1} of {self.steps}" if stepped else ""
        return f"pass {canvas.passes}{step}, {filled} of {new} tokens{rate}"

    def render(self, canvas: Canvas, now: float) -> Group:
        from rich.console import Group
        from rich.text import Text

        rows = len(canvas.tokens_BL)
        shown = [self.row(canvas, row) for row in range(min(self.rows, rows))]
        if rows > 1:  # from 1, as a trace page has them
            shown = [Text.assemble((f"{number}: ", "bold"), text) for number, text in enumerate(shown, start=1)]
        hidden = rows - len(shown)
        more = f", {hidden} more rows" if hidden > 0 else ""
        return Group(*shown, Text(self.status(canvas, now) + more, style="dim"))

    def row(self, canvas: Canvas, row: int) -> Text:
        """One row: the prompt plain, new tokens coloured, masks as shaded cells."""
        from rich.text import Text

        text = Text()
        newest = int(canvas.step_BL[row].max())
        for position in range(int(canvas.lengths_B[row])):
            if canvas.open_BL[row, position]:
                style = "dark_orange" if self.written_BL[row, position] else "dim"
                text.append(MASK_SIGN if self.model.kind == "mdm" else "", style=style)
                continue
            token = visible(token_text(self.model, int(canvas.tokens_BL[row, position])))
            if not canvas.new_BL[row, position]:
                text.append(token)
                continue
            style = colour(float(canvas.probability_BL[row, position]))
            text.append(token, style=style + (" underline" if canvas.step_BL[row, position] == newest else ""))
        return text


def colour(probability: float) -> str:
    return next((name for least, name in COLOURS if probability >= least), LOWEST)
