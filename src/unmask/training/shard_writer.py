"""Sharded tensors to disk, each rank its own part, with the sums of all ranks' files made while they are written.

    finish = save_shards(tensors, folder, group)        # on every rank; goes on in the background
    finish()                                            # on rank 0: {"__0_0.distcp": Sum(size, sha256), ...}

Importing this file costs most of a second, which only sharded runs pay.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.filesystem import FileSystem, FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata, MetadataIndex
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner
from torch.distributed.checkpoint.storage import WriteResult
from torch.futures import Future

from unmask.model.checkpoints import Sum
from unmask.training.shards import reason_of

SUMS = "sums of a rank's files"  # no tensor's name


def save_shards(
    tensors: dict[str, torch.Tensor], folder: Path, group: dist.ProcessGroup | None
) -> Callable[[], dict[str, Sum]]:
    """Copies the tensors and begins to write them; what it returns waits for the end.

    That gives the sums of all ranks' files on the first rank, and raises OSError where files could not be written.
    """
    writer = SummingWriter(folder)
    written: Any = dcp.async_save(tensors, storage_writer=writer, process_group=group)

    def finish() -> dict[str, Sum]:
        try:
            written.result()
        except dcp.CheckpointException as error:
            raise OSError(reason_of(error)) from error
        return writer.sums

    return finish


class SummingWriter(FileSystemWriter):
    """The library's writer; with the results that ranks send to the first one go the sums of their files."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._streams = SummingFiles()
        self.fs = self._streams
        self.sums: dict[str, Sum] = {}  # of all ranks, on the first, once all is written

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        results = super().write_data(plan, planner).wait()
        written: Future[list[WriteResult]] = Future()
        written.set_result([*results, WriteResult(MetadataIndex(SUMS), 0, dict(self._streams.sums))])
        return written

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """On the first rank, when all have written."""
        for rank in results:
            for result in rank:
                if result.index.fqn == SUMS:
                    self.sums |= result.storage_data
        super().finish(metadata, [[r for r in rank if r.index.fqn != SUMS] for rank in results])
        self.sums |= {name.removesuffix(".tmp"): checksum for name, checksum in self._streams.sums.items()}


class SummingFiles(FileSystem):
    """Files that are summed while they are written, from front to back."""

    def __init__(self) -> None:
        self.sums: dict[str, Sum] = {}

    @contextmanager
    def create_stream(self, path: Any, mode: str) -> Iterator[io.IOBase]:
        with super().create_stream(path, mode) as stream:
            if "r" in mode:
                yield stream
                return
            summed = Summed(stream)
            yield cast(io.IOBase, summed)
        self.sums[Path(path).name] = Sum(summed.size, summed.sha256.hexdigest())


class Summed:
    """A stream to write to; all but writing is the stream's own."""

    def __init__(self, stream: io.IOBase) -> None:
        self._stream, self.sha256, self.size = cast(Any, stream), hashlib.sha256(), 0

    def write(self, data: Any) -> int:
        written = int(self._stream.write(data))
        self.sha256.update(data)
        self.size += written
        return written

    def __getattr__(self, name: str) -> Any:
        if name in ("seek", "truncate"):
            raise AttributeError(name)  # what has been summed stays where it is
        return getattr(self._stream, name)
