"""A model is a folder: ``model.safetensors``, ``config.json``, ``tokenizer.json`` (which may be absent).

    model = unmask.load("runs/demo/mdm")        # a run (its newest checkpoint), a checkpoint, or any model folder
    model.network(tokens_BT)                    # logits_BTV
    save("my-model", network, tokenizer)

A folder appears under its name only when it is whole. Weights are read from safetensors alone; nothing is unpickled.
A checkpoint's files are checked against the sums that were written with them (`unmask.model.checkpoints`); what `save`
writes, and what others publish, has none: people put files there by hand.
Beside them may lie ``generation.json``, the model's own defaults of decoding (`unmask.model.defaults`).
"""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from unmask._version import __version__
from unmask.errors import UserError
from unmask.files import new_folder, reading, sync_folder, write_tensors
from unmask.hub import not_here
from unmask.model.checkpoints import CHECKPOINTS, FILES, checkpoints, refuse_damage
from unmask.model.config import ModelConfig
from unmask.model.defaults import read_defaults
from unmask.model.pieces import Pieces
from unmask.model.placement import check_dtype, choose_device, choose_dtype
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer
from unmask.settings import read_json

SCHEMA_VERSION = 2  # 2: config.json has fields of the model that came later; without them it is of schema 1 as before
WEIGHTS, CONFIG, TOKENIZER = "model.safetensors", "config.json", "tokenizer.json"
LARGEST_CHECKED = 2**30  # bytes of a file that `load` reads twice unless told not to
# What a compiled, replicated, sharded or checkpointed module calls the module in it.
WRAPPERS = ("_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")


@dataclass
class Model:
    """A loaded model: weights, tokenizer and where it came from."""

    network: Transformer
    tokenizer: Tokenizer | None = None
    path: Path | None = None
    defaults: dict[str, Any] = field(default_factory=dict)  # of `generate`

    @property
    def config(self) -> ModelConfig:
        return self.network.config

    @property
    def kind(self) -> str:
        """``"mdm"`` or ``"arm"``."""
        return self.config.kind

    @property
    def mask_id(self) -> int | None:
        return self.config.mask_id

    @property
    def eos_id(self) -> int | None:
        """What ends a text: the first of `eos_ids`."""
        return self.eos_ids[0] if self.eos_ids else None

    @property
    def device(self) -> torch.device:
        return self.network.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights it computes with: fp32, or bf16 where `load` was told so."""
        return self.network.dtype

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """All tokens that end a text: the config's word, or else the tokenizer's."""
        if self.config.eos_ids or self.tokenizer is None or self.tokenizer.eos_id is None:
            return self.config.eos_ids
        return (self.tokenizer.eos_id,)

    @property
    def start_id(self) -> int | None:
        """What stands before a text that begins: its begin token, or else the end of the one before."""
        return self.eos_id if self.config.bos is None else self.config.bos

    def encode(self, text: str | Sequence[int], special_tokens: bool = False) -> list[int]:
        """Token ids of a text, its begin token before it where the model has one; or checked ids as they are.

        special_tokens: special tokens that a text spells are ids. Raises `UserError` for text without a tokenizer.
        """
        if isinstance(text, str):
            return self.begun(self.pieces().add(text, special_tokens)) if text else []
        ids = [int(i) for i in text]
        rows = self.config.embedding_rows
        for token in ids:
            if not 0 <= token < rows:
                raise UserError(f"token id {token} lies outside the vocabulary of {rows}")
        return ids

    def pieces(self) -> Pieces:
        """To encode a text piece by piece; `begun` then puts the begin token before it."""
        if self.tokenizer is None:
            raise UserError(f"{self.path or 'the model'} has no {TOKENIZER}; give token ids, or add the file")
        return Pieces(self.tokenizer)

    def begun(self, ids: list[int]) -> list[int]:
        """The ids of a text from its beginning, behind its begin token, which stands there once."""
        bos = self.config.bos
        return ids if bos is None or ids[:1] == [bos] else [bos, *ids]

    def decode(self, ids: Sequence[int]) -> str | None:
        return None if self.tokenizer is None else self.tokenizer.decode(ids)

    def decode_behind(self, left: Sequence[int], ids: Sequence[int]) -> str | None:
        """The text that `ids` add to a text that ends in the tokens `left`."""
        return None if self.tokenizer is None else self.tokenizer.decode_behind(left, ids)


def save(folder: str | Path, network: Transformer, tokenizer: Tokenizer | None = None, **extra: Any) -> Path:
    """Writes a model folder atomically; `extra` entries (JSON values) go into config.json. Replaces an old one."""
    folder = Path(folder)
    with new_folder(folder) as partial:
        write_files(partial, network.config, network.state_dict(), tokenizer, **extra)
    return folder


def write_files(
    folder: Path, model: ModelConfig, weights: dict[str, torch.Tensor], tokenizer: Tokenizer | None, **extra: Any
) -> None:
    """The three files of a model folder into an existing folder, flushed to disk."""
    write_tensors(folder / WEIGHTS, weights)
    config = {
        "schema_version": SCHEMA_VERSION if model.later else 1,
        "unmask_version": __version__,
        "kind": model.kind,
        "mask_id": model.mask_id,
        "model": model.to_dict(),
        "tokenizer_hash": tokenizer.hash if tokenizer else None,
        **extra,
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    if tokenizer is not None:
        tokenizer.save(folder)
    sync_folder(folder)


def resolve(path: str | Path) -> Path:
    """The model folder that `path` names: itself, or the newest checkpoint of the run it is, whole or not."""
    path = Path(path)
    with reading():
        if (path / CONFIG).is_file() or (path / FILES).is_file():  # a checkpoint that has lost its config is one
            return path
        if steps := checkpoints(path):
            return steps[-1]
        if inside := models_inside(path):
            names = ", ".join(str(folder) for folder in inside)
            what = "a model" if len(inside) == 1 else f"{len(inside)} models"
            which = "it" if len(inside) == 1 else "one"
            raise UserError(f"{path} holds {what}, but is none itself; give {which}: {names}")
        if not path.exists():
            raise UserError(not_here(path, "give a run, a checkpoint or a model folder"))
        os.listdir(path) if path.is_dir() else None
    if (path / CHECKPOINTS).is_dir() or (path / "recipe.yaml").is_file():
        raise UserError(f"{path} is a run without a checkpoint yet; train it first")
    raise UserError(f"{path} is not a model: it has no {CONFIG}")


def models_inside(path: Path) -> list[Path]:
    """The runs and model folders that lie in a folder, in the order of their names."""
    if not path.is_dir():
        return []
    folders = [folder for folder in sorted(path.iterdir()) if (folder / CONFIG).is_file() or checkpoints(folder)]
    return [folder for folder in folders if not folder.name.startswith(".") and folder.name != "checkpoints"]


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a model folder, its schema checked."""
    path = folder / CONFIG
    config = read_json(path)
    if not isinstance(config, dict) or not isinstance(config.get("model"), dict):
        raise UserError(f"{path} has no `model` entry; published formats are brought in by `unmask convert`")
    version = config.get("schema_version", SCHEMA_VERSION)
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise UserError(f"{path} is of schema {version!r}, this version reads 1 and {SCHEMA_VERSION}; upgrade unmask")
    return config


def load(
    path: str | Path,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype = "fp32",
    *,
    verify: bool | None = None,
) -> Model:
    """The `Model` at `path` (see `resolve`), in evaluation mode.

    device: ``cpu``, ``cuda``, ``cuda:N``, or ``auto``: CUDA where there is one. dtype: of the weights: ``fp32``,
    ``bf16``, or ``auto``: bf16 where that is faster (`unmask.model.placement`); `Model.dtype` says which it became.
    verify: whether a checkpoint's files are checked against their SHA-256, at the cost of reading them twice; None:
    those of at most 1 GiB. A folder without a list of sums is not checked. Raises `UserError` for a missing folder, one
    that may not be read, a damaged checkpoint (naming the one before it), missing or misshapen tensors, a tokenizer
    that is not the model's, defaults of decoding that cannot be read, and a device or type that is not there.
    """
    check_dtype(dtype)
    place = choose_device(device)
    folder = resolve(path)
    if verify is not False:
        refuse_damage(folder, (WEIGHTS, CONFIG, TOKENIZER), math.inf if verify else LARGEST_CHECKED)
    if verify and not (folder / FILES).is_file():
        warnings.warn(f"{folder} has no {FILES}, so there is nothing to verify it against", stacklevel=2)
    settings = read_config(folder)
    config = ModelConfig.from_dict(settings["model"], where=f"{folder / CONFIG}: model")
    network = Transformer(config).hold(choose_dtype(dtype, place, config))
    network.load_state_dict(read_weights(folder / WEIGHTS, network))
    tokenizer = None
    if (folder / TOKENIZER).is_file():
        tokenizer = Tokenizer.from_file(folder)
        expected = settings.get("tokenizer_hash")
        if tokenizer.vocab_size > config.vocab_size or expected not in (None, tokenizer.hash):
            raise UserError(f"{folder / TOKENIZER} is not the tokenizer this model was trained with; put back its own")
    return Model(network.to(place).eval(), tokenizer, folder, read_defaults(folder))


def unwrapped(names: Iterable[str]) -> dict[str, str]:
    """Names without what wrappers of PyTorch put between (``_orig_mod.layers.0...``), each with the one in the file."""
    names = list(names)
    bare = {".".join(part for part in name.split(".") if part not in WRAPPERS): name for name in names}
    return bare if len(bare) == len(names) else {name: name for name in names}


def read_weights(path: Path, network: Transformer) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file, checked against the network's names and shapes, as fp32."""
    try:
        with reading(), path.open("rb"):
            weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"{path} cannot be read: {str(error).splitlines()[0]}; the file is missing or cut short"
        ) from error
    weights = {name: weights[given] for name, given in unwrapped(weights).items()}
    wanted = network.state_dict()
    for name, tensor in wanted.items():
        if name not in weights:
            raise UserError(f"{path} lacks the tensor {name}; is it another model's?")
        if weights[name].shape != tensor.shape:
            raise UserError(
                f"{path}: tensor {name} has shape {list(weights[name].shape)}, config.json implies {list(tensor.shape)}"
            )
    if extra := sorted(set(weights) - set(wanted)):
        raise UserError(f"{path} has the unknown tensor {extra[0]}; is it another model's?")
    return {name: tensor.float() for name, tensor in weights.items()}
