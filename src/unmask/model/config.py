"""The shape of a model, its exact parameter counts, and what of it a checkpoint's ``config.json`` holds.

    ModelConfig(n_layer=6, n_head=4, n_embd=256, vocab_size=32000, causal=False).n_params_non_embedding  # 6_294_784

Source: "Scaling up Masked Diffusion Models on Text" (arXiv 2410.18514), model section. The objective follows from
attention: a bidirectional model is a masked diffusion model (MDM), a causal one an autoregressive model (ARM).

What published weights of other makes have beside it are fields that say nothing at their defaults: biases of queries,
keys and values (Dream), a mask within the vocabulary (LLaDA, Dream), norms of queries and keys (Qwen3), predictions
shifted by one (Dream, DiffuLLaMA). A field at its default is neither written nor part of a hash.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from unmask.errors import UserError, nearest
from unmask.model.alignment import IN_PLACE, NEXT_TOKEN, SHIFTED, Alignment

ROPE_TABLES = ("fp32", "bf16")
LATER = ("eos_ids", "bos", "mask", "shift", "qkv_bias", "qk_norm")  # fields that earlier versions did not write


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of one Transformer. Raises `UserError` naming the field where sizes do not divide or make no sense."""

    n_layer: int
    n_head: int
    n_embd: int
    vocab_size: int  # V: tokens the head can predict; an MDM's embedding has one row more, the mask
    block_size: int = 2048  # context, in tokens
    causal: bool = False
    n_kv_head: int = 0  # 0: as many as n_head (no grouped-query attention)
    intermediate_size: int = 0  # 0: 4 * n_embd
    head_dim: int = 0  # 0: n_embd / n_head
    tie_embeddings: bool = False
    norm_eps: float = 1e-5
    rope_base: float = 10000.0
    rope_table: str = "fp32"  # "bf16": cos/sin tables rounded as in the published SMDM models
    eos_id: int | None = None  # ends a text; the first of `eos_ids`
    eos_ids: tuple[int, ...] = ()  # all tokens that end a text; (): `eos_id` alone
    bos: int | None = None  # the begin token that stands before every text; None: no token does
    mask: int | None = None  # an MDM's mask where it is a token of the vocabulary; None: V, a row of its own
    shift: bool = False  # an MDM's state at t - 1 speaks of token t
    qkv_bias: bool = False
    qk_norm: bool = False  # queries and keys are normed head by head before they are rotated

    def __post_init__(self) -> None:
        for name in ("n_layer", "n_head", "n_embd", "vocab_size", "block_size"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UserError(f"model.{name} is {value!r}; give a whole number of at least 1")
        for name in ("n_kv_head", "intermediate_size", "head_dim"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise UserError(f"model.{name} is {value!r}; give a whole number, or 0 for the default")
        for name in ("norm_eps", "rope_base"):
            if not 0 < getattr(self, name) < math.inf:
                raise UserError(f"model.{name} is {getattr(self, name)!r}; give a number above 0")
        fill = object.__setattr__
        if not self.n_kv_head:
            fill(self, "n_kv_head", self.n_head)
        if not self.intermediate_size:
            fill(self, "intermediate_size", 4 * self.n_embd)
        if not self.head_dim:
            if self.n_embd % self.n_head:
                raise UserError(
                    f"model.n_embd {self.n_embd} does not divide by model.n_head {self.n_head}; "
                    "change one, or set model.head_dim"
                )
            fill(self, "head_dim", self.n_embd // self.n_head)
        if self.head_dim % 2:
            raise UserError(
                f"model.head_dim {self.head_dim} is odd; rotary embedding pairs dimensions, so make it even"
            )
        if self.n_head % self.n_kv_head:
            raise UserError(
                f"model.n_head {self.n_head} does not divide by model.n_kv_head {self.n_kv_head}; "
                "query heads share key heads in equal groups"
            )
        if self.rope_table not in ROPE_TABLES:
            raise UserError(f"model.rope_table is {self.rope_table!r}; give one of {', '.join(ROPE_TABLES)}")
        if not isinstance(self.eos_ids, list | tuple):
            raise UserError(f"model.eos_ids is {self.eos_ids!r}; give a list of token ids")
        for name, ids in {"eos_id": [self.eos_id], "eos_ids": self.eos_ids, "bos": [self.bos]}.items():
            for token in ids:
                if token is None and name != "eos_ids":
                    continue
                if not isinstance(token, int) or isinstance(token, bool) or not 0 <= token < self.vocab_size:
                    raise UserError(f"model.{name} {token!r} lies outside the vocabulary of {self.vocab_size}")
        self._check_mask_and_shift()
        ends = tuple(dict.fromkeys(self.eos_ids))
        if self.eos_id is None and ends:
            fill(self, "eos_id", ends[0])
        elif len(ends) > 1 and self.eos_id != ends[0]:
            raise UserError(f"model.eos_ids begins with {ends[0]}, model.eos_id is {self.eos_id}; make them the same")
        fill(self, "eos_ids", ends if len(ends) > 1 or self.eos_id is None else (self.eos_id,))

    def _check_mask_and_shift(self) -> None:
        if self.causal and (self.mask is not None or self.shift):
            name = "shift" if self.mask is None else "mask"
            raise UserError(f"model.{name} concerns masked diffusion models; leave it out where model.causal is true")
        if self.mask is None:
            return
        if not isinstance(self.mask, int) or isinstance(self.mask, bool) or not 0 <= self.mask <= self.vocab_size:
            raise UserError(
                f"model.mask is {self.mask!r}; give a token id below {self.vocab_size}, or {self.vocab_size} for a row "
                "of its own"
            )
        if self.mask == self.vocab_size:
            object.__setattr__(self, "mask", None)
        if self.mask is not None and self.mask in (self.eos_id, self.bos, *self.eos_ids):
            raise UserError(f"model.mask is {self.mask}, which begins or ends a text too; give another token")

    @property
    def kind(self) -> str:
        """``"mdm"`` (bidirectional) or ``"arm"`` (causal)."""
        return "arm" if self.causal else "mdm"

    @property
    def mask_id(self) -> int | None:
        """The mask's token id: `mask`, or else V, the embedding's last row. None for an ARM."""
        return None if self.causal else self.blank_id

    @property
    def blank_id(self) -> int:
        """What stands on a canvas where there is no token yet: an MDM's mask; V, which is no token, for an ARM."""
        return self.vocab_size if self.mask is None else self.mask

    @property
    def alignment(self) -> Alignment:
        """Which token a hidden state speaks of."""
        if self.causal:
            return NEXT_TOKEN
        return SHIFTED if self.shift else IN_PLACE

    @property
    def start_id(self) -> int | None:
        """What stands before a text that begins: its begin token, or else the end of the one before."""
        return self.eos_id if self.bos is None else self.bos

    @property
    def embedding_rows(self) -> int:
        return max(self.vocab_size, 0 if self.causal else self.blank_id + 1)

    @property
    def n_weights_per_layer(self) -> int:
        """Of the matrices alone."""
        attention = self.n_embd * self.head_dim * (2 * self.n_head + 2 * self.n_kv_head)
        return attention + 3 * self.n_embd * self.intermediate_size

    @property
    def n_params_per_layer(self) -> int:
        biases = (self.n_head + 2 * self.n_kv_head) * self.head_dim if self.qkv_bias else 0
        norms = 2 * self.n_embd + (2 * self.head_dim if self.qk_norm else 0)
        return self.n_weights_per_layer + biases + norms

    @property
    def n_params_non_embedding(self) -> int:
        """N of the scaling laws: layers and final norm, without embedding and head."""
        return self.n_layer * self.n_params_per_layer + self.n_embd

    @property
    def n_params(self) -> int:
        head = 0 if self.tie_embeddings else self.vocab_size * self.n_embd
        return self.n_params_non_embedding + self.embedding_rows * self.n_embd + head

    @property
    def variations(self) -> list[str]:
        """Fields in which the network is another than the paper's, as who writes a published layout must know."""
        unset = {"mask": None, "shift": False, "qkv_bias": False, "qk_norm": False}
        return [name for name, default in unset.items() if getattr(self, name) is not default]

    @property
    def later(self) -> dict[str, Any]:
        """Of the fields that came later those that say something, as JSON values."""
        ends = {"eos_ids": list(self.eos_ids)} if len(self.eos_ids) > 1 else {}
        begins = {} if self.bos is None else {"bos": self.bos}
        return {**ends, **begins, **{name: getattr(self, name) for name in self.variations}}

    def to_dict(self) -> dict[str, Any]:
        """JSON values. Fields that came later are left out where they say nothing, so that hashes stay as they were."""
        fields = dataclasses.asdict(self)
        first = {name: value for name, value in fields.items() if name not in LATER}
        return {**first, **self.later}

    @classmethod
    def from_dict(cls, fields: dict[str, Any], where: str = "model") -> ModelConfig:
        """The config of a mapping; raises `UserError` on unknown, missing or mistyped fields."""
        known = {f.name: f for f in dataclasses.fields(cls)}
        for name, value in fields.items():
            if name not in known:
                raise UserError(f"{where}.{name} is not a field of the model{nearest(name, known)}")
            kind = known[name].type
            if kind == "bool" and not isinstance(value, bool):
                raise UserError(f"{where}.{name} is {value!r}; give true or false")
            if kind == "float" and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise UserError(f"{where}.{name} is {value!r}; give a number")
        required = [f.name for f in known.values() if f.default is dataclasses.MISSING]
        missing = [name for name in required if name not in fields]
        if missing:
            raise UserError(f"{where}.{missing[0]} is missing")
        return cls(**fields)
