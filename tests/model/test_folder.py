"""A model folder comes back as it was written, appears whole or not at all, and names what is wrong with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

import unmask
from unmask.errors import UserError
from unmask.model import folder as module
from unmask.model.config import ModelConfig
from unmask.model.folder import Model, load, resolve, save
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer

SIZES: dict[str, Any] = {"n_layer": 1, "n_head": 2, "n_embd": 8, "block_size": 16}


def network(seed: int = 0, **fields: Any) -> Transformer:
    tokenizer = Tokenizer.plain_bytes()
    return Transformer(ModelConfig(**{**SIZES, "vocab_size": tokenizer.vocab_size, **fields}), seed=seed)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return save(tmp_path / "model", network(eos_id=0), Tokenizer.plain_bytes())


@pytest.mark.parametrize(
    "fields",
    [
        *({}, {"causal": True}, {"tie_embeddings": True}, {"n_kv_head": 1, "eos_id": 3}, {"eos_ids": (3, 5), "bos": 1}),
        {"mask": 0, "shift": True, "qkv_bias": True, "qk_norm": True},
    ],
    ids=str,
)
def test_comes_back_bit_for_bit(tmp_path: Path, fields: dict[str, Any]) -> None:
    before = network(**fields)
    save(tmp_path / "deep" / "model", before, Tokenizer.plain_bytes())
    model = unmask.load(tmp_path / "deep" / "model")
    assert model.config == before.config and not model.network.training
    after = model.network.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.state_dict().items())
    ids_BT = torch.tensor([[1, 2, 3]])
    assert torch.equal(model.network(ids_BT), before.eval()(ids_BT))
    assert torch.equal(model.network.head(model.network.hidden(ids_BT)), model.network(ids_BT))


def test_what_older_releases_cannot_read_is_of_another_schema(tmp_path: Path) -> None:
    ends, begins, masks = {"eos_ids": (3, 5)}, {"eos_id": 3, "bos": 3}, {"eos_id": 3, "mask": 0}
    for fields, schema in (({"eos_id": 3}, 1), (ends, 2), (begins, 2), (masks, 2)):
        folder = save(tmp_path / str(fields), network(**fields), Tokenizer.plain_bytes())
        assert json.loads((folder / "config.json").read_text())["schema_version"] == schema
        model = unmask.load(folder)
        assert model.eos_ids == tuple(fields.get("eos_ids", (3,))) and model.start_id == 3


def test_a_model_without_end_tokens_has_its_tokenizers() -> None:
    assert Model(network(), Tokenizer.plain_bytes()).eos_ids == (0,) and Model(network()).eos_ids == ()
    assert Model(network(), Tokenizer.plain_bytes()).start_id == 0 and Model(network()).start_id is None
    with pytest.raises(UserError, match="has no tokenizer.json; give token ids"):
        Model(network()).pieces()


def test_the_face(saved: Path) -> None:
    model = unmask.load(saved)
    assert (model.kind, model.mask_id, model.path) == ("mdm", model.config.vocab_size, saved)
    assert model.tokenizer is not None and model.decode(model.encode("Übung")) == "Übung"
    assert model.encode([1, 2, model.mask_id]) == [1, 2, model.mask_id]
    with pytest.raises(UserError, match="token id 258 lies outside the vocabulary of 258"):
        model.encode([258])
    config = json.loads((saved / "config.json").read_text())
    assert (config["schema_version"], config["kind"], config["mask_id"]) == (1, "mdm", 257)
    assert sorted(p.name for p in saved.iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]


def test_without_a_tokenizer_ids_work_and_text_is_refused(tmp_path: Path) -> None:
    model = unmask.load(save(tmp_path / "model", network()))
    assert model.tokenizer is None and model.decode([1]) is None
    assert len(unmask.generate(model, [[1, 2]], length=3)[0].tokens) == 3
    assert unmask.score(model, [([1], [2, 3])], draws=4)[0].logprob < 0
    with pytest.raises(UserError, match="has no tokenizer.json; give token ids, or add the file"):
        unmask.generate(model, ["text"], length=3)


def test_a_run_means_its_newest_checkpoint(tmp_path: Path) -> None:
    for step in (5, 200, 40):
        save(tmp_path / "run" / "checkpoints" / f"step-{step:08d}", network(seed=step))
    (tmp_path / "run" / "checkpoints" / "step-00000999").mkdir()  # not whole: no config
    assert resolve(tmp_path / "run").name == "step-00000200"
    assert resolve(tmp_path / "run" / "checkpoints" / "step-00000040").name == "step-00000040"
    expected = network(seed=200).state_dict()
    assert torch.equal(load(tmp_path / "run").network.state_dict()["norm.weight"], expected["norm.weight"])


def test_saving_again_replaces(saved: Path) -> None:
    other = network(seed=9)
    save(saved, other)
    model = load(saved)
    assert model.tokenizer is None
    assert torch.equal(model.network.embedding.weight, other.embedding.weight)
    assert [p.name for p in saved.parent.iterdir()] == ["model"]


def weights_without(path: Path, name: str) -> None:
    tensors = load_file(path / "model.safetensors")
    del tensors[name]
    save_file(tensors, path / "model.safetensors")


def weights_with(path: Path, **changed: torch.Tensor) -> None:
    tensors = load_file(path / "model.safetensors")
    save_file({**tensors, **{name.replace("__", "."): t for name, t in changed.items()}}, path / "model.safetensors")


def cut(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 40])


def config_with(path: Path, **changed: Any) -> None:
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, **changed}))


def another_tokenizer(path: Path) -> None:
    (path / "tokenizer.json").unlink()
    Tokenizer.train_bpe(257, ["a text to train on "]).save(path)


DAMAGE: list[tuple[str, Callable[[Path], object], str]] = [
    ("gone", shutil.rmtree, "does not exist; give a run, a checkpoint or a model folder"),
    ("no config", lambda p: (p / "config.json").unlink(), "is not a model: it has no config.json"),
    ("broken config", lambda p: (p / "config.json").write_text("{"), "config.json cannot be read as JSON"),
    ("foreign config", lambda p: (p / "config.json").write_text('{"hidden": 4}'), "brought in by `unmask convert`"),
    ("no number as schema", lambda p: config_with(p, schema_version="x"), "is of schema 'x'"),
    ("newer schema", lambda p: config_with(p, schema_version=99), "is of schema 99, this version reads 1"),
    ("unknown field", lambda p: config_with(p, model={"n_layer": 1, "width": 8}), "model.width is not a field"),
    ("no weights", lambda p: (p / "model.safetensors").unlink(), "model.safetensors cannot be read"),
    ("cut weights", lambda p: cut(p / "model.safetensors"), "the file is missing or cut short"),
    ("no weights but a pickle", lambda p: (p / "model.safetensors").write_bytes(b"\x80\x04."), "cannot be read"),
    ("missing tensor", lambda p: weights_without(p, "norm.weight"), "lacks the tensor norm.weight"),
    (
        "misshapen tensor",
        lambda p: weights_with(p, norm__weight=torch.ones(9)),
        r"tensor norm.weight has shape \[9\], config.json implies \[8\]",
    ),
    ("extra tensor", lambda p: weights_with(p, bias=torch.ones(1)), "has the unknown tensor bias"),
    ("another tokenizer", another_tokenizer, "is not the tokenizer this model was trained with"),
    ("broken tokenizer", lambda p: (p / "tokenizer.json").write_text("{}"), "tokenizer.json"),
]


@pytest.mark.parametrize(("damage", "message"), [case[1:] for case in DAMAGE], ids=[case[0] for case in DAMAGE])
def test_damage_is_named(saved: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(saved)
    with pytest.raises(UserError, match=message) as caught:
        unmask.load(saved)
    assert str(saved) in str(caught.value) and "\n" not in str(caught.value)


def test_a_run_without_a_checkpoint_is_said(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("")
    with pytest.raises(UserError, match="is a run without a checkpoint yet; train it first"):
        unmask.load(tmp_path)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SafetensorError("I/O error: no space left")])
def test_no_room_leaves_what_was_there(saved: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def full(path: Path, tensors: object) -> None:
        path.write_bytes(b"half")
        raise error

    monkeypatch.setattr(module, "write_tensors", full)
    before = load(saved).network.state_dict()
    with pytest.raises(UserError, match="(?i)model cannot be written: .*no space left"):
        save(saved, network(seed=1))
    assert [p.name for p in saved.parent.iterdir()] == ["model"]
    assert torch.equal(load(saved).network.state_dict()["norm.weight"], before["norm.weight"])


def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file/model cannot be written: "):
        save(tmp_path / "file" / "model", network())


def test_published_bf16_weights_load_as_fp32(saved: Path) -> None:
    tensors = {name: tensor.bfloat16() for name, tensor in load_file(saved / "model.safetensors").items()}
    save_file(tensors, saved / "model.safetensors")
    assert all(tensor.dtype == torch.float32 for tensor in load(saved).network.state_dict().values())


def test_a_model_can_be_put_together_by_hand() -> None:
    model = Model(network(causal=True))
    assert (model.kind, model.mask_id, model.path, str(model.device)) == ("arm", None, None, "cpu")


@pytest.mark.parametrize("where", ["_orig_mod.{}", "module._orig_mod.{}", "{}"], ids=["compiled", "both", "inside"])
def test_what_a_wrapper_puts_before_names_is_taken_off(saved: Path, where: str) -> None:
    before = unmask.load(saved).network.state_dict()
    inside = where == "{}"
    renamed = {
        name.replace("layers.0.", "layers.0._orig_mod.") if inside else where.format(name): tensor
        for name, tensor in load_file(saved / "model.safetensors").items()
    }
    save_file(renamed, saved / "model.safetensors")
    after = unmask.load(saved).network.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    save_file({**renamed, "norm.weight": torch.zeros(8)}, saved / "model.safetensors")
    if not inside:  # two tensors for one name: neither is taken
        with pytest.raises(UserError, match="lacks the tensor|has the unknown tensor"):
            unmask.load(saved)


def test_a_folder_that_holds_models_names_them(tmp_path: Path) -> None:
    demo = tmp_path / "demo"
    save(demo / "mdm" / "checkpoints" / "step-00000010", network())
    with pytest.raises(UserError, match=f"{demo} holds a model, but is none itself; give it: {demo / 'mdm'}$"):
        load(demo)
    save(demo / "arm", network(causal=True))
    (demo / "data").mkdir()
    with pytest.raises(UserError, match=f"demo holds 2 models, .* give one: {demo / 'arm'}, {demo / 'mdm'}$") as caught:
        load(demo)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="is not a model: it has no config.json"):
        load(demo / "data")


def test_from_python_a_model_is_on_the_cpu_unless_told(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert str(unmask.load(saved).device) == "cpu"
    assert str(unmask.load(saved, device=torch.device("meta")).device) == "meta"


def test_what_ends_a_text_is_the_configs_word_or_the_tokenizers() -> None:
    tokenizer = Tokenizer.plain_bytes()
    assert Model(network(eos_id=3), tokenizer).eos_id == 3 and Model(network(), tokenizer).eos_id == tokenizer.eos_id
    assert Model(network()).eos_id is None
