"""Low-rank adapters (LoRA, arXiv 2106.09685): the weights stay, a product of two thin matrices is learned beside each.

    add_adapters(network, LoRAFields(rank=8, alpha=16), seed=0)
    merged_weights(network)                     # named as before, W + alpha/rank B A: what a model folder holds
    load_adapter(base.network, "runs/x/checkpoints/step-00000500/adapter.safetensors")

A is drawn uniformly, B is zero, so that the first step starts from the model as it was. There is no dropout on the
adapters' input.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import nn

from unmask.errors import UserError
from unmask.files import reading
from unmask.model.config import ModelConfig
from unmask.model.flops import attention_flops, forward_flops
from unmask.model.linear import Linear
from unmask.model.lora_fields import LoRAFields
from unmask.model.sharded import is_sharded, sharded_like
from unmask.model.transformer import Attention, SwiGLU, Transformer

A, B = "lora_a", "lora_b"


class AdaptedLinear(Linear):
    """A linear map whose own weight is frozen, with an adapter; its weight keeps its name."""

    def __init__(self, base: nn.Linear, rank: int, scale: float, generator: torch.Generator) -> None:
        super().__init__(base.in_features, base.out_features, device="meta")
        self.weight = base.weight.requires_grad_(False)
        self.bias = base.bias  # frozen as well, where there is one
        bound = 1 / math.sqrt(base.in_features)
        a = torch.rand(rank, base.in_features, generator=generator) * 2 * bound - bound
        self.lora_a = nn.Parameter(a.to(base.weight.device))
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, rank, device=base.weight.device))
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        base = self.weight if self.copy is None or not torch.is_grad_enabled() else self.copy
        y = F.linear(x, base) + self.scale * F.linear(F.linear(x, self.lora_a), self.lora_b)
        return y if self.bias is None else y + self.bias.to(y.dtype)

    @torch.no_grad()
    def merged(self) -> torch.Tensor:
        """The one weight that does the same; of a sharded weight sharded alike (a collective)."""
        a, b = (t.full_tensor() if is_sharded(t) else t for t in (self.lora_a, self.lora_b))
        change = self.scale * (b @ a)
        if is_sharded(self.weight):
            change = sharded_like(change, self.weight)
        return self.weight.detach() + change


def add_adapters(network: Transformer, fields: LoRAFields, seed: int) -> None:
    """Freezes all weights and puts an adapter on the named maps of each layer, in place."""
    generator = torch.Generator().manual_seed(seed)
    network.requires_grad_(False)
    for part in [module for module in network.layers.modules() if isinstance(module, Attention | SwiGLU)]:
        for name, base in list(part.named_children()):
            if name in fields.names and isinstance(base, nn.Linear):
                setattr(part, name, AdaptedLinear(base, fields.rank, fields.alpha / fields.rank, generator))


def merged_weights(network: Transformer) -> dict[str, torch.Tensor]:
    """The weights of the network without adapters that computes the same."""
    weights = {name: t for name, t in network.state_dict().items() if not name.endswith((A, B))}
    for name, module in network.named_modules():
        if isinstance(module, AdaptedLinear):
            weights[f"{name}.weight"] = module.merged()
    return weights


def adapter_metadata(fields: LoRAFields) -> dict[str, str]:
    """What a file of adapters says beside their tensors."""
    return {"format": "unmask-lora", **{name: str(value) for name, value in vars(fields).items()}}


def load_adapter(network: Transformer, path: str | Path) -> None:
    """Adds to a base model, in place, the adapters of a checkpoint's ``adapter.safetensors``.

    Raises `UserError` where the file is none, or is another model's.
    """
    try:
        with reading(), open(path, "rb"), safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    if metadata.get("format") != "unmask-lora":
        raise UserError(f"{path} holds no adapters of unmask; give a checkpoint's adapter.safetensors")
    add_adapters(network, LoRAFields(int(metadata["rank"]), float(metadata["alpha"]), metadata["targets"]), seed=0)
    own = {name: t.shape for name, t in network.state_dict().items() if name.endswith((A, B))}
    if own != {name: t.shape for name, t in tensors.items()}:
        raise UserError(f"{path} is of another model than this one; its tensors have other names or shapes")
    network.load_state_dict(tensors, strict=False)


def adapter_flops_per_token(
    config: ModelConfig, fields: LoRAFields, length: int, head_share: float, rule: str = "exact"
) -> float:
    """FLOPs per trained token: frozen maps need no gradient of their weights, so their backward pass costs one forward.

    The rule ``6nd`` knows no difference.
    """
    if rule == "6nd":
        return 6.0 * config.n_params_non_embedding
    e, f = config.n_embd, config.intermediate_size
    q, kv = config.n_head * config.head_dim, config.n_kv_head * config.head_dim
    ends = {"qkv": e + q + 2 * kv, "out": q + e, "gate_up": e + 2 * f, "down": f + e}
    adapters = config.n_layer * fields.rank * sum(ends[name] for name in set(fields.names))
    frozen = 2.0 * forward_flops(config, length, head_share * length) + attention_flops(config, length)
    return frozen / length + 6.0 * adapters
