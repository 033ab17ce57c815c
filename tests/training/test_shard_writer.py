"""The sums made while shards are written are those of the files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp

from unmask.files import file_sha256
from unmask.training.shard_writer import Summed, SummingWriter, save_shards


def test_sums_are_those_of_the_files_and_the_state_comes_back(tmp_path: Path) -> None:
    state = {"a": torch.randn(300, 7), "b": torch.arange(5), "empty": torch.zeros(0), "step": torch.tensor(3.0)}
    writer = SummingWriter(tmp_path / "shards")
    dcp.save(dict(state), storage_writer=writer, no_dist=True)
    files = {path.name: path for path in (tmp_path / "shards").iterdir()}
    assert {*files} == {*writer.sums} == {".metadata", "__0_0.distcp"}
    for name, path in files.items():
        assert writer.sums[name] == (path.stat().st_size, file_sha256(path))
    back = {name: torch.full_like(tensor, 9) for name, tensor in state.items()}
    dcp.load(back, checkpoint_id=tmp_path / "shards", no_dist=True)
    assert all(torch.equal(back[name], tensor) for name, tensor in state.items())


def test_what_cannot_be_written_is_an_error_of_files(tmp_path: Path) -> None:
    with distributed_alone():
        sums = save_shards({"a": torch.ones(2)}, tmp_path / "shards", None)()
        assert {*sums} == {path.name for path in (tmp_path / "shards").iterdir()}
        (tmp_path / "file").write_text("")
        with pytest.raises(OSError, match="Not a directory"):
            save_shards({"a": torch.ones(2)}, tmp_path / "file" / "shards", None)()


@contextmanager
def distributed_alone() -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_what_has_been_summed_cannot_be_written_over(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        stream = Summed(file)  # type: ignore[arg-type]
        stream.write(b"abc")
        assert stream.tell() == 3
        with pytest.raises(AttributeError):
            stream.seek(0)
