"""Forward passes for likelihoods: cross-entropy at chosen positions of partly masked sequences, in batches.

    for query, ce_n, greedy in run_queries(model, queries, guidance=0.6):
        ...                                   # -log p(ids[scored] | what is not masked), at each of `scored`

Every estimator is a set of such queries. Sequences of several lengths share a batch, padded on the right behind a key
mask; the head runs at scored positions only; log-softmax in fp32, sums in float64. A sequence that occurs twice in a
batch is run once: masks drawn twice, answers of a multiple choice that are masked whole, and the half of guidance that
does not see the prompt, which is the same for every prompt of a length.

Guidance is the paper's unsupervised classifier-free guidance (arXiv 2410.18514): logits = u + (1 + w)(c - u), where c
sees the prompt and u sees the mask at every position of it. w = 0 costs one pass, not two. `guided.py` has other views
without the prompt (`VIEWS`): "drop" leaves it out (an autoregressive model begins behind its start token), "end" puts
end-of-sequence tokens at its positions, which is what dropping prompts taught an autoregressive model.

Shapes: B queries, R distinct sequences, T tokens, N scored positions, P distinct ones, E width, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch
import torch.nn.functional as F

from unmask.errors import UserError
from unmask.likelihood.queries import Query
from unmask.model.backbone import predictions
from unmask.model.folder import Model
from unmask.model.visibility import keys

# Tokens of a batch. On a CPU activations should stay in its cache; a GPU wants to be filled.
CPU_BATCH_TOKENS, GPU_BATCH_TOKENS = 2048, 65536
VIEWS = ("mask", "drop", "end")
HEAD_ELEMENTS = 1 << 24  # logits held at once: 64 MiB in fp32, whatever the vocabulary


def check_guidance(model: Model, guidance: float) -> None:
    if not math.isfinite(guidance):
        raise UserError(f"guidance is {guidance}; give a finite number, 0 for none")
    if guidance and model.kind == "arm":
        raise UserError("guidance needs a masked diffusion model, an autoregressive one has no mask; set it to 0")


def run_queries(
    model: Model, queries: Iterable[Query], guidance: float = 0.0, batch_tokens: int | None = None
) -> Iterator[tuple[Query, np.ndarray, bool]]:
    """Each query with its nats at each scored position (float64) and whether every scored token was the likeliest.

    batch_tokens: tokens of one batch (or one sequence, if longer); by default what suits the device.
    """
    for batch in batches(model, queries, guidance, batch_tokens):
        targets_N = torch.from_numpy(np.concatenate([query.ids_T[query.scored] for query in batch])).to(model.device)
        ce, wrong = [], []
        for part, logits_nV in scored_logits(model, batch, guidance):
            ce.append(F.cross_entropy(logits_nV, targets_N[part], reduction="none").double().cpu().numpy())
            wrong.append((logits_nV.argmax(1) != targets_N[part]).cpu().numpy())
        nats_N, wrong_N = np.concatenate(ce), np.concatenate(wrong)
        check_finite(model, nats_N)
        start = 0
        for query in batch:
            part = slice(start, start := start + len(query.scored))
            yield query, nats_N[part], not wrong_N[part].any()


def check_finite(model: Model, values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        where = f" of {model.path}" if model.path else ""
        raise UserError(f"the logits{where} are not finite; the weights are damaged or their training diverged")


def batch_size(model: Model, batch_tokens: int | None) -> int:
    """Tokens of a batch: as given, or what suits the device."""
    if batch_tokens is None:
        return GPU_BATCH_TOKENS if model.device.type == "cuda" else CPU_BATCH_TOKENS
    if not isinstance(batch_tokens, int) or batch_tokens < 1:
        raise UserError(f"batch_tokens is {batch_tokens!r}; give a whole number of at least 1")
    return batch_tokens


def batches(model: Model, queries: Iterable[Query], guidance: float, batch_tokens: int | None) -> Iterator[list[Query]]:
    """Queries in their order, as many at a time as a batch holds."""
    room = batch_size(model, batch_tokens) // (2 if guidance else 1)
    batch: list[Query] = []
    longest = 0
    for query in queries:
        longest = max(longest, len(query.ids_T))
        if batch and longest * (len(batch) + 1) > room:
            yield batch
            batch, longest = [], len(query.ids_T)
        batch.append(query)
    if batch:
        yield batch


def scored_logits(model: Model, batch: list[Query], guidance: float = 0.0) -> Iterator[tuple[slice, torch.Tensor]]:
    """fp32 logits at the scored positions of all queries, one after another, as (which of the N, [n, V])."""
    view = "mask" if guidance and any(query.prompt for query in batch) else None
    for part, logits_nV, blind_nV in paired_logits(model, batch, view):
        if blind_nV is not None:
            logits_nV = blind_nV + (1 + guidance) * (logits_nV - blind_nV)
        yield part, logits_nV


@torch.no_grad()
def paired_logits(
    model: Model, batch: list[Query], view: str | None
) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor | None]]:
    """The same with the prompt in view and without it, as (which of the N, [n, V], [n, V]).

    view: what stands for the prompt where it is not seen (`VIEWS`); None: the second is not computed.
    """
    alignment, device = model.config.alignment, model.device
    rows: dict[bytes, int] = {}  # distinct sequences, by their content
    distinct: list[np.ndarray] = []

    def row(tokens_T: np.ndarray) -> int:
        key = tokens_T.tobytes()
        if key not in rows:
            rows[key] = len(distinct)
            distinct.append(tokens_T)
        return rows[key]

    seen, blind, moved = [], [], []  # rows, and how much further to the left the second one's positions lie
    for query in batch:
        tokens_T = query.ids_T[: alignment.fed(len(query.ids_T))].copy()
        tokens_T[query.masked] = model.config.blank_id
        seen.append(row(tokens_T))
        if view is not None:
            hidden_T = without_prompt(model, tokens_T, query.prompt, view)
            blind.append(row(hidden_T))
            moved.append(len(tokens_T) - len(hidden_T))
    lengths_R = np.array([len(tokens_T) for tokens_T in distinct])
    tokens_RT = np.zeros((len(distinct), lengths_R.max()), dtype=np.int64)
    for r, tokens_T in enumerate(distinct):
        tokens_RT[r, : len(tokens_T)] = tokens_T
    inside_RT = np.arange(tokens_RT.shape[1]) < lengths_R[:, None]

    def put(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(device)

    sees = model.network.sees if inside_RT.all() else model.network.sees & keys(put(inside_RT))
    counts_B = [len(query.scored) for query in batch]
    scored_N = np.concatenate([query.scored for query in batch])
    width = tokens_RT.shape[1] + alignment.first  # tokens that can be told apart
    asked = [np.repeat(np.array(seen) * width, counts_B) + scored_N]
    if blind:
        asked.append(np.repeat(np.array(blind) * width - np.array(moved), counts_B) + scored_N)
    at_P, places = np.unique(np.concatenate(asked), return_inverse=True)
    row_P, place_P = np.divmod(at_P, width)
    hidden_PE = model.network.hidden(put(tokens_RT), sees=sees, at=(put(row_P), put(place_P)))
    where_N, *others = (put(part) for part in places.reshape(len(asked), -1))
    step = max(1, HEAD_ELEMENTS // model.config.vocab_size)
    for start in range(0, len(where_N), step):
        part = slice(start, min(start + step, len(where_N)))
        logits_nV, *blinds = (predictions(model.network, hidden_PE[at_N[part]]).float() for at_N in (where_N, *others))
        yield part, logits_nV, blinds[0] if blinds else None


def without_prompt(model: Model, tokens_T: np.ndarray, prompt: int, view: str) -> np.ndarray:
    """A sequence whose first `prompt` tokens are not to be seen, by one of `VIEWS`."""
    if not prompt:
        return tokens_T
    if view == "drop":  # an ARM needs a token to begin behind
        start = [model.start_id] if model.kind == "arm" and model.start_id is not None else []
        return np.concatenate([np.array(start, dtype=np.int64), tokens_T[prompt:]])
    hidden_T = tokens_T.copy()
    hidden_T[:prompt] = model.mask_id if view == "mask" else model.eos_id
    return hidden_T
