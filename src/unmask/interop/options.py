"""What `unmask convert` takes; no heavy import, since its help is shown from here.

    unmask convert llama SmolLM2-135M --out models/smollm2
    unmask convert smdm runs/mdm --export --out mdm.safetensors
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from unmask.model.placement_options import VerifyOptions
from unmask.options import NEEDED, Result, argument, option


@dataclass(frozen=True)
class ConvertOptions(VerifyOptions):
    """Converts published weights into a model folder, or with --export one of our models into theirs."""

    usage = "unmask convert FORMAT SOURCE [--export] --out OUT [options]"

    format: Literal["smdm", "llama", "gguf"] = argument(
        "FORMAT", "smdm (the paper's checkpoints), llama (LlamaForCausalLM) or gguf"
    )
    source: str = argument("SOURCE", "a .safetensors (smdm), a folder (llama), a .gguf; or a RUN")
    out: str = option(NEEDED, "the folder to make (with --export smdm: the file)", metavar="OUT")
    export: bool = option(False, "the way back: SOURCE is a run or model folder of ours")
    config: str | None = option(None, "smdm: its dimensions", metavar="JSON")
    size: str | None = option(None, "smdm: or one of the paper's sizes, such as 170M")
    rope: Literal["bf16", "fp32"] | None = option(None, "smdm: rotary tables, by default bf16")
    tokenizer: str | None = option(None, "a folder or tokenizer.json to put beside")

    def run(self) -> Result:
        from unmask.interop.convert import bring_in, send_out

        given = {name: value for name in ("config", "size", "rope", "tokenizer") if (value := getattr(self, name))}
        if self.export:
            out = send_out(self.format, self.source, self.out, verify=self.verify, **given)
            return Result({"out": str(out), "format": self.format}, f"{out}: written in the {self.format} layout")
        model = bring_in(self.format, self.source, self.out, **given)
        result = {"out": str(model.path), "kind": model.kind, "parameters": model.config.n_params}
        return Result(result, f"{model.path}: {model.kind}, {model.config.n_params:,} parameters")
