"""Low-rank adapters as keys of a recipe; no heavy import, since `unmask train --help` lists them.

    lora: {rank: 8, alpha: 16, targets: "qkv,out"}
"""

from __future__ import annotations

from dataclasses import dataclass

from unmask.errors import UserError, nearest
from unmask.options import Options, option

TARGETS = ("qkv", "out", "gate_up", "down")  # the linear maps of a layer


@dataclass(frozen=True)
class LoRAFields(Options):
    """Adapters in a recipe; only they are trained."""

    prefix = "lora."

    rank: int = option(8, "columns of an adapter's first matrix", least=1)
    alpha: float = option(16.0, "the product is scaled by alpha / rank", above=0)
    targets: str = option(",".join(TARGETS), "the linear maps of a layer that get one")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.names:
            if name not in TARGETS:
                mend = f"{nearest(name, TARGETS)}; give some of {','.join(TARGETS)}"
                raise UserError(f"lora.targets names {name!r}{mend}", field="lora.targets")

    @property
    def names(self) -> list[str]:
        return [name.strip() for name in self.targets.split(",")]
