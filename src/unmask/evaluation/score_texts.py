"""What `unmask score` does: texts, or whole files, by any method, in one pass or in windows.

unmask score runs/mdm "The state of the Union is strong." --until-se 0.1
unmask score runs/mdm --file speech.txt --rolling --window 64 --overlap 16
"""

from __future__ import annotations

from typing import Any

from unmask.data.opening import read_text
from unmask.errors import UserError
from unmask.evaluation.generation import read_decode
from unmask.evaluation.options import ScoreOptions
from unmask.evaluation.status import StatusLine
from unmask.likelihood import RollingScore, Score, rolling, score
from unmask.model.folder import load
from unmask.statistics import ci_text


def score_texts(options: ScoreOptions) -> list[tuple[str, Score | RollingScore]]:
    """Every text with its score, texts before files. Raises `UserError` for options that do not go together."""
    texts = [*options.texts, *(read_text(path) for path in options.file)]
    if not texts:
        raise UserError("no text is given; write it behind RUN, or give --file FILE")
    if not options.rolling:
        for name, value in (("window", options.window), ("overlap", options.overlap)):
            if value is not None:
                raise UserError(f"--{name} concerns --rolling only; add that, or leave it out")
    elif options.context or options.guidance or options.greedy:
        name = "context" if options.context else "guidance" if options.guidance else "greedy"
        raise UserError(f"--{name} does not go with --rolling, which scores whole texts; leave one of them out")
    for number, text in enumerate(texts):
        if not text:
            place = number - len(options.texts)
            what = f"--file {options.file[place]}" if place >= 0 else f"text {number + 1}"
            raise UserError(f"{what} is empty, which leaves an empty continuation; give at least a character to score")
    model = load(options.model, options.device, options.dtype, verify=options.verify)
    names = ("method", "order", "draws", "seed", "until_se", "special_tokens")
    shared: dict[str, Any] = {name: getattr(options, name) for name in names}
    shared["decode"] = None if options.decode is None else read_decode(options.decode)
    scores: list[Score] | list[RollingScore]
    with StatusLine(len(texts), "windows" if options.rolling else "texts", prefix="score") as status:
        if options.rolling:
            overlap = 1 if options.overlap is None else options.overlap
            scores = rolling(model, texts, window=options.window, overlap=overlap, **shared, progress=status.update)
        else:
            pairs = [(options.context, text) for text in texts]
            shared |= {"guidance": options.guidance, "greedy": options.greedy}
            scores = score(model, pairs, **shared, progress=status.update)
    return list(zip(texts, scores, strict=True))


def in_words(results: list[tuple[str, Score | RollingScore]], greedy: bool = False) -> str:
    """A line for each text; `greedy` tells of the greedy decoder too."""
    lines = []
    for text, scored in results:
        sign = "<=" if scored.is_bound else "= "
        per_byte = f"{scored.bits_per_byte:.4f} bits/byte, " if scored.bits_per_byte is not None else ""
        method = scored.method + (f" {scored.order}" if scored.method == "chain-rule" else "")
        method += "".join(f" {name} {value}" for name, value in (scored.decode or {}).items())
        extra, within = "", ci_text([-nats for nats in reversed(scored.interval)], ".3f")
        if isinstance(scored, RollingScore):
            extra = f", {scored.windows} windows of {scored.window} overlapping {scored.overlap}"
        elif greedy:
            extra = ", greedy decoding writes it" if scored.greedy else ", greedy decoding writes another"
        extra += "" if scored.dtype == "fp32" else f", {scored.dtype}"
        lines.append(
            f"-log p {sign} {-scored.logprob:.3f} nats (se {scored.se:.3f}){within}, "
            f"{scored.nats_per_token:.4f} nats/token, "
            f"{per_byte}{scored.n_tokens} tokens, {method}{extra}: {text[:60]!r}"
        )
    return "\n".join(lines)
