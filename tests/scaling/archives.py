"""Small packages as package managers deliver them: a wheel, a tarball, a Debian package."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path


def as_bytes(files: dict[str, str | bytes]) -> dict[str, bytes]:
    return {name: data.encode() if isinstance(data, str) else data for name, data in files.items()}


def wheel(path: Path, files: dict[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in as_bytes(files).items():
            archive.writestr(name, data)
    return path


def tarball(files: dict[str, str | bytes], mode: str = "w:gz") -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode=mode) as archive:
        for name, data in as_bytes(files).items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return held.getvalue()


def tgz(path: Path, files: dict[str, str | bytes]) -> Path:
    path.write_bytes(tarball(files))
    return path


def deb(path: Path, files: dict[str, str | bytes]) -> Path:
    data = b"!<arch>\n"
    members = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", "data.tar.xz": tarball(files, "w:xz")}
    for name, content in members.items():
        data += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode() + content
        data += b"\n" * (len(content) % 2)
    path.write_bytes(data)
    return path
