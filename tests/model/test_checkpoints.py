"""A checkpoint's list of its files finds whatever is altered, and `load` says so instead of taking another one."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import unmask
from unmask.cli import main
from unmask.errors import UserError
from unmask.model import checkpoints as module
from unmask.model import folder as folder_module
from unmask.model.checkpoints import FILES, Sum, checkpoints, flaw, newest_checkpoint, read_list, step_of, write_list
from unmask.model.config import ModelConfig
from unmask.model.folder import save
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer


def write(run: Path, step: int) -> Path:
    """A checkpoint as training writes it, but for the state that only training reads."""
    tokenizer = Tokenizer.plain_bytes()
    config = ModelConfig(n_layer=1, n_head=2, n_embd=8, block_size=16, vocab_size=tokenizer.vocab_size)
    folder = save(run / "checkpoints" / f"step-{step:08d}", Transformer(config, seed=step), tokenizer)
    (folder / "train_state").mkdir()
    (folder / "train_state" / "state.json").write_text(json.dumps({"step": step}))
    write_list(folder, "abc")
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for step in (6, 12, 18):
        write(tmp_path / "run", step)
    return tmp_path / "run"


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def test_any_bit_of_the_list_counts(run: Path) -> None:
    folder = checkpoints(run)[-1]
    whole = (folder / FILES).read_bytes()
    assert flaw(folder) is None and read_list(folder).run == "abc"
    for bit in range(0, 8 * len(whole), 13):
        flip(folder / FILES, bit)
        assert flaw(folder) == f"{FILES} does not match its own sha256"
        (folder / FILES).write_bytes(whole)
    for text in ("", "{}", "[]", "null", "[" * 100_000, whole[:-1], whole + b" ", b'{"a": true}'):
        (folder / FILES).write_bytes(text if isinstance(text, bytes) else text.encode())
        assert flaw(folder) == f"{FILES} does not match its own sha256", text[:20]


def test_a_newer_list_is_not_called_damage(run: Path) -> None:
    folder = checkpoints(run)[-1]
    content = {**json.loads((folder / FILES).read_text()), "schema_version": 3}
    del content["sha256"]
    (folder / FILES).write_text(module._rendered(content))
    with pytest.raises(UserError, match="files.json is of schema 3, this version reads 2; upgrade unmask"):
        flaw(folder)


def test_what_is_known_is_not_read_again(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = checkpoints(run)[-1]
    known = read_list(folder).files
    monkeypatch.setattr(module, "file_sha256", lambda path: pytest.fail(f"{path} was read"))
    write_list(folder, "abc", known)
    assert read_list(folder).files == known and flaw(folder, full=False) is None


def test_a_list_of_before_has_sizes_alone(run: Path) -> None:
    folder = checkpoints(run)[-1]
    sizes = {name: found.size for name, found in read_list(folder).files.items()}
    (folder / FILES).write_text(json.dumps(sizes) + "\n")
    listed = read_list(folder)
    assert (listed.run, listed.has_sums, listed.files["config.json"]) == (None, False, Sum(sizes["config.json"], None))
    flip(folder / "model.safetensors", 80_000)
    assert flaw(folder) is None and unmask.load(run).path == folder
    (folder / "config.json").write_text("{}")
    assert str(flaw(folder)).startswith("config.json is cut short (2 of ")


def test_only_folders_of_steps_that_hold_something_are_checkpoints(run: Path) -> None:
    place = run / "checkpoints"
    for name in ("damaged-step-00000024", "step-00000024.bak", ".step-00000024.partial", "notes"):
        shutil.copytree(place / "step-00000006", place / name)
    (place / "step-00000030").mkdir()
    (place / "step-00000036").write_text("a file")
    (place / "step-00000042").symlink_to("nowhere")
    write(run, 100_000_000)  # a digit more
    assert [step_of(p.name) for p in checkpoints(run)] == [6, 12, 18, 100_000_000]
    assert newest_checkpoint(run) == place / "step-100000000"
    assert checkpoints(run / "none") == [] and checkpoints(place / "step-00000036") == []


DAMAGE: list[tuple[Callable[[Path], object], str]] = [
    (lambda p: flip(p / "model.safetensors", 30_000), "model.safetensors does not match its sha256"),
    (lambda p: flip(p / "config.json", 100), "config.json does not match its sha256"),
    (lambda p: flip(p / "tokenizer.json", 100), "tokenizer.json does not match its sha256"),
    (lambda p: flip(p / FILES, 100), f"{FILES} does not match its own sha256"),
    (lambda p: (p / "config.json").unlink(), "config.json is missing"),
    (lambda p: (p / "model.safetensors").unlink(), "model.safetensors is missing"),
    (lambda p: os.truncate(p / "model.safetensors", 4000), "model.safetensors is cut short (4,000 of "),
    (lambda p: (p / "config.json").open("a").write(" "), "config.json has "),
]


@pytest.mark.parametrize(("damage", "what"), DAMAGE, ids=[what for _, what in DAMAGE])
def test_a_damaged_newest_checkpoint_names_the_one_before(run: Path, damage: Any, what: str) -> None:
    damage(run / "checkpoints" / "step-00000018")
    flip(run / "checkpoints" / "step-00000012" / "model.safetensors", 30_000)  # so the one before that
    for path in (run, run / "checkpoints" / "step-00000018"):
        with pytest.raises(UserError) as caught:
            unmask.load(path)
        said = str(caught.value)
        assert said.startswith(f"{run}/checkpoints/step-00000018 is damaged: {what}") and "\n" not in said
        assert f"; give the one before it, {run}/checkpoints/step-00000006" in said
    assert unmask.load(run / "checkpoints" / "step-00000006").kind == "mdm"
    with pytest.raises(UserError, match="step-00000012 is damaged"):
        unmask.load(run / "checkpoints" / "step-00000012")
    flip(run / "checkpoints" / "step-00000006" / "model.safetensors", 30_000)
    with pytest.raises(UserError, match="put back a whole copy, there is none before it"):
        unmask.load(run)


def test_what_load_does_not_read_is_not_its_concern(run: Path) -> None:
    newest = run / "checkpoints" / "step-00000018"
    flip(newest / "train_state" / "state.json", 3)
    assert unmask.load(run).path == newest
    (newest / "generation.json").write_text('{"schema_version": 1, "options": {"steps": 4}}')  # put there by `tune`
    assert unmask.load(run, verify=True).defaults == {"steps": 4}


def test_large_files_are_checked_only_when_asked(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    newest = run / "checkpoints" / "step-00000018"
    flip(newest / "model.safetensors", 8 * (newest / "model.safetensors").stat().st_size - 1)
    with pytest.raises(UserError, match="does not match its sha256"):
        unmask.load(run)
    assert unmask.load(run, verify=False).path == newest
    monkeypatch.setattr(folder_module, "LARGEST_CHECKED", 3000)
    assert unmask.load(run).path == newest
    with pytest.raises(UserError, match="does not match its sha256"):
        unmask.load(run, verify=True)


def test_a_folder_without_a_list_loads_and_says_what_it_could_not_do(run: Path) -> None:
    newest = run / "checkpoints" / "step-00000018"
    shutil.rmtree(newest / "train_state")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert unmask.load(newest).path == newest
    with pytest.warns(UserWarning, match="has no train_state/files.json, so there is nothing to verify it against"):
        unmask.load(newest, verify=True)


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A folder that any user may enter."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)


class NotRoot:
    """A user whom permissions concern."""

    def __enter__(self) -> None:
        self.root = os.geteuid() == 0
        if self.root:
            os.seteuid(65534)

    def __exit__(self, *error: object) -> None:
        if self.root:
            os.seteuid(0)


@pytest.mark.parametrize(
    "closed",
    ["", "checkpoints", "checkpoints/step-00000018", *("checkpoints/step-00000018/" + n for n in (
        "config.json", "model.safetensors", "tokenizer.json", FILES,
    ))],
)  # fmt: skip
def test_a_missing_permission_is_called_one(open_place: Path, closed: str) -> None:
    run = open_place / "run"
    write(run, 18)
    assert unmask.load(run).kind == "mdm"
    (run / closed).chmod(0)
    with NotRoot(), pytest.raises(UserError, match="no permission to read .*; ask its owner") as caught:
        unmask.load(run)
    assert str(run / closed) in str(caught.value)
    (run / closed).chmod(0o755)
    with NotRoot():
        assert unmask.load(run).kind == "mdm"


def test_weights_without_a_list_that_may_not_be_read(open_place: Path) -> None:
    write(open_place / "run", 18)
    folder = checkpoints(open_place / "run")[0]
    shutil.rmtree(folder / "train_state")
    (folder / "model.safetensors").chmod(0)
    with NotRoot(), pytest.raises(UserError, match="no permission to read .*model.safetensors; ask its owner"):
        unmask.load(folder)


@pytest.mark.parametrize(
    "verb",
    [
        ["sample", "RUN", "--length", "2", "--steps", "1"],
        ["score", "RUN", "text"],
        ["eval", "RUN", "--tasks", "lambada", "--limit", "1"],
        ["tune", "RUN", "--data", "nowhere"],
        ["bench", "decode", "RUN", "--data", "nowhere"],
        ["convert", "smdm", "RUN", "--export", "--out", "OUT.safetensors"],
    ],
    ids=lambda words: " ".join(words[:2]).removesuffix(" RUN"),
)
def test_every_verb_that_takes_a_model_checks_it(
    run: Path, tmp_path: Path, verb: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = run / "checkpoints" / "step-00000018"
    flip(newest / "model.safetensors", 8 * (newest / "model.safetensors").stat().st_size - 1)
    words = [{"RUN": str(run), "OUT.safetensors": str(tmp_path / "out.safetensors")}.get(word, word) for word in verb]

    def told(*more: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main([*words, *more])
        return int(ended.value.code or 0), capsys.readouterr().err

    damaged = f"unmask: error: {newest} is damaged: model.safetensors does not match its sha256; give the one before it"
    if verb[0] == "eval":
        pytest.importorskip("lm_eval")
    status, said = told()
    assert status == 2 and said.splitlines()[-1].startswith(damaged)
    assert "is damaged" not in told("--no-verify")[1]
    monkeypatch.setattr(folder_module, "LARGEST_CHECKED", 3000)
    assert "is damaged" not in told()[1]
    assert said == told("--verify")[1]
