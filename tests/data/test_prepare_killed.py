"""What an early end of `prepare` leaves, by real processes: nothing, or a folder that is whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from data.prepared import folder_hash
from unmask.data.manifest import Manifest
from unmask.data.shards import TokenData
from unmask.errors import UserError


def run(code, **options):
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, **options)


def test_full_disk(texts, tmp_path):
    code = f"""
import resource
from unmask.data.prepare import *
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    prepare(PrepareOptions([{str(texts)!r}], {str(tmp_path / "data")!r}, tokenizer="bytes"))
except UserError as error:
    print(error)
"""
    assert f"cannot write {tmp_path / 'data'}: File too large; free some space" in run(code).communicate()[0]
    assert os.listdir(tmp_path) == ["texts"]

STOPPING = """
import sys, time
from unmask.data import encoding
from unmask.data.prepare import prepare
from unmask.data.options import PrepareOptions

class Stopping:
    def note(self, line): ...
    def update(self, phase, done, total):
        if phase == "encoding" and done > total / 2:
            print("half", flush=True)
            time.sleep(60)

encoding.BATCH_CHARS = 500
options = dict(tokenizer="bpe:300", split="random:0.5", shard_tokens=100, workers={workers})
prepare(PrepareOptions([{texts!r}], {out!r}, **options), Stopping())
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_in_the_middle(make, texts, tmp_path, workers):
    out = tmp_path / "data"
    process = run(STOPPING.format(texts=str(texts), out=str(out), workers=workers))
    assert process.stdout.readline() == "half\n"
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= workers - 1
    with pytest.raises(UserError, match="another process is writing"):
        make(sources=[texts], out=out, tokenizer="bpe:300", shard_tokens=100)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive  # the workers noticed
    left = tmp_path / ".data.partial"
    assert sorted(os.listdir(tmp_path)) == [".data.partial", "texts"]
    assert any(left.glob("train-*.bin")) and not (left / "manifest.json").exists()
    for folder in (out, left):
        with pytest.raises(UserError):
            TokenData(folder, "train")
    assert make(sources=[texts], out=out, tokenizer="bpe:300", shard_tokens=100).created
    assert sorted(os.listdir(tmp_path)) == ["data", "texts"]
    make(sources=[texts], out=tmp_path / "fresh", tokenizer="bpe:300", shard_tokens=100)
    assert folder_hash(out) == folder_hash(tmp_path / "fresh")


def test_killed_at_any_moment(make, texts, tmp_path):
    out = tmp_path / "data"
    code = STOPPING.replace("time.sleep(60)", "pass").format(texts=str(texts), out=str(out), workers=1)
    for delay in (0.05, 0.1, 0.15, 0.2, 0.25, 0.3):
        process = run(code, stderr=subprocess.DEVNULL)
        time.sleep(delay)
        process.kill()
        process.communicate()
        if out.exists():  # then it is whole
            TokenData(out, "train"), TokenData(out, "validation")
    make(sources=[texts], out=out, tokenizer="bpe:300", shard_tokens=100)
    assert sorted(os.listdir(tmp_path)) == ["data", "texts"]
    assert TokenData(out, "train").n_documents == Manifest.load(out).splits["train"].documents > 0


def test_interrupted_by_the_keyboard(texts, tmp_path):
    code = STOPPING.format(texts=str(texts), out=str(tmp_path / "data"), workers=2)
    # What runs the tests may itself ignore the signal (`nohup make test &`), and would hand that down.
    heeding = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    process = run(code, stderr=subprocess.PIPE, start_new_session=True, **heeding)
    assert process.stdout.readline() == "half\n"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, said = process.communicate(timeout=30)
    assert process.returncode != 0 and said.count("Traceback") == 1  # the workers keep quiet
    assert os.listdir(tmp_path) == ["texts"]


def test_a_kill_while_the_folder_gets_its_name_leaves_it_whole(make, texts, tmp_path):
    """Ended between the folder's name and all that follows it, by the command's own process."""
    code = f"""
import os
from pathlib import Path
from unmask.data.prepare import prepare
from unmask.data.options import PrepareOptions
rename = Path.rename
def last(self, target):
    rename(self, target)
    os._exit(7)
Path.rename = last
prepare(PrepareOptions([{str(texts)!r}], {str(tmp_path / "data")!r}, tokenizer="bytes", split="random:0.5"))
"""
    assert run(code, stderr=subprocess.DEVNULL).wait() == 7
    assert sorted(os.listdir(tmp_path / "data")) == [
        "manifest.json",
        "tokenizer.json",
        "train-00000.bin",
        "validation-00000.bin",
    ]
    assert not make(sources=[texts], out=tmp_path / "data").created
