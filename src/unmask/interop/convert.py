"""What `unmask convert` does: one call in, one call out, for every published format.

bring_in("llama", "SmolLM2-135M", "models/smollm2")          # a `Model`
send_out("smdm", "runs/mdm", "mdm.safetensors")              # the path written
"""

from __future__ import annotations

from pathlib import Path

from unmask.errors import UserError
from unmask.hub import is_name, not_here
from unmask.interop import gguf, llama, smdm
from unmask.model.folder import Model, load

SMDM_ONLY = ("config", "size", "rope")


def bring_in(format: str, source: str, out: str, **options: str) -> Model:
    """A model folder at `out` from published weights; returns it loaded.

    options: `tokenizer` for all formats; for smdm `config` or `size`, and `rope`.
    """
    if not Path(source).exists() and (format == "llama" or is_name(source)):
        raise UserError(not_here(source, "give the folder or file of the published weights"))
    if format == "smdm":
        if ("config" in options) == ("size" in options):
            raise UserError("give exactly one of --config JSON and --size NAME")
        config = options.pop("config", None)
        return load(smdm.convert(source, config, out, **options))
    _refuse(format, options, SMDM_ONLY)
    importer = {"llama": llama.import_llama, "gguf": gguf.import_gguf}[format]
    return load(importer(source, out, **options))


def send_out(format: str, source: str, out: str, verify: bool | None = None, **options: str) -> Path:
    """One of our models in a published layout at `out`; `verify` as of `unmask.load`."""
    _refuse(f"{format} --export", options, (*SMDM_ONLY, "tokenizer"))
    if format == "gguf":
        raise UserError("models are not written as gguf; use llama --export and llama.cpp's own converter")
    return {"smdm": smdm.export, "llama": llama.export_llama}[format](source, out, verify)


def _refuse(what: str, options: dict[str, str], names: tuple[str, ...]) -> None:
    for name in names:
        if name in options:
            raise UserError(f"--{name} does not concern {what}; leave it out")
