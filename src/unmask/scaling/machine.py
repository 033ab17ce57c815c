"""What a run's numbers may depend on beside its settings: the processor, the types it has, the code.

machine()            # "AMD EPYC, 2 cores"
has_type("bf16")     # whether that type is in hardware here
"""

from __future__ import annotations

import torch

from unmask.model.number_types import processor_has_bf16
from unmask.provenance import machine as facts


def machine() -> str:
    """Processor and cores, or the GPU; no name of the host."""
    known = facts()
    model = torch.cuda.get_device_name() if torch.cuda.is_available() else known["cpu"] or known["architecture"]
    return f"{model}, {known['cores']} cores"


def has_type(precision: str) -> bool:
    """Whether training in that type is no emulation on this machine."""
    return precision != "bf16" or torch.cuda.is_available() or processor_has_bf16()
