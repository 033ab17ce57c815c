"""Who died: real processes, of which one is killed, or their launcher is; every survivor knows, and one says it."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from unmask.training.checkpoint import checkpoints, newest_checkpoint
from unmask.training.heartbeat import Name, epitaph
from unmask.training.shards import shard_names

# A rank's life: `victim` ends in the way `how`; the collectives of the others fail, that of the last one only after the
# first has looked, spoken and left.
LIFE = """
import os, signal, sys, time, torch
from unmask.errors import SaidElsewhere, UserError
from unmask.training import heartbeat
from unmask.training.distribution import Ranks
heartbeat.BEAT_SECONDS = 0.4
victim, how = int(sys.argv[1]), sys.argv[2]
try:
    with Ranks(torch.device("cpu")) as ranks, ranks.watched():
        signal.signal(signal.SIGTERM, lambda *_: None)
        ranks.together(lambda: None)
        if ranks.rank == victim:
            if how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(0.5)
            raise UserError("a reason of its own")
        if ranks.rank == max({0, 1, 2} - {victim}):
            time.sleep(3)
        elif how != "killed":
            time.sleep(1.5)
        raise RuntimeError("as of a collective whose partner is gone")
except SaidElsewhere:
    sys.exit(2)
except UserError as error:
    print(f"unmask: error: {error}", file=sys.stderr)
    sys.exit(2)
"""


def lives(folder: Path, launcher: str, victim: int, how: str) -> list[str]:
    """What three ranks say, started by torchrun or each by itself."""
    script = folder / "life.py"
    script.write_text(LIFE)
    words = [str(script), str(victim), how]
    if launcher == "torchrun":
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "3", *words]
        said = subprocess.run(command, capture_output=True, text=True, timeout=100).stderr
    else:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "3"}
        alone = [
            subprocess.Popen(
                [sys.executable, *words],
                env=os.environ | place | {"RANK": str(rank)},
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(3)
        ]
        said = "".join(process.communicate(timeout=100)[1] for process in alone)
    return [line for line in said.splitlines() if "unmask: " in line or "RuntimeError" in line]


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("launcher", "victim"), [("torchrun", 2), *(pytest.param("none", rank, marks=SLOW) for rank in (2, 0))]
)
def test_every_survivor_knows_who_died_and_one_says_it(tmp_path: Path, launcher: str, victim: int) -> None:
    """With no launcher the store that they look into lives in rank 0."""
    told = lives(tmp_path, launcher, victim, "killed")
    assert len(told) == 1, told
    line = rf"unmask: .*rank {victim} \(process \d+ on [^)]*\) died, so all ranks stop; start again with --resume, .*"
    assert re.fullmatch(line, told[0]), told


def test_a_rank_that_leaves_with_an_error_has_said_it_for_all(tmp_path: Path) -> None:
    assert lives(tmp_path, "none", 1, "refuses") == ["unmask: error: a reason of its own"]


def heed_hangups() -> None:
    """In a child: `nohup` has its children ignore them, and these tests may run under it."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def begun(run: Path) -> bool:
    """Whether a step has been taken."""
    return (run / "metrics.jsonl").is_file() and "\n" in (run / "metrics.jsonl").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_without_their_launcher_ranks_stop_after_a_step_saved(lab: Any, number: int) -> None:
    """Killed, which tells them nothing, or hung up with its terminal, which it hands on."""
    run = lab.folder / "orphans"
    recipe = lab.file("orphans", steps=100000, log_every=1, checkpoint__every=100000, validation__every=100000)
    launcher = subprocess.Popen(
        lab.torchrun(2, "train", recipe, "--parallel.kind", "fsdp"),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_hangups,
    )
    ranks = []
    deadline = time.monotonic() + 60
    while not begun(run):
        assert launcher.poll() is None and time.monotonic() < deadline
        ranks = psutil.Process(launcher.pid).children()
        time.sleep(0.02)
    launcher.send_signal(number)
    assert len(ranks) == 2
    gone, left = psutil.wait_procs(ranks, timeout=30)
    for process in left:
        process.kill()
    assert not left, "they train on"
    said = launcher.communicate(timeout=30)[1]
    assert "unmask: error" not in said, said
    stopped = re.search(r"launcher or terminal is gone: stopped after step (\d+); saved, go on with --resume", said)
    newest = newest_checkpoint(run)
    assert stopped and newest is not None and newest.name == f"step-{int(stopped[1]):08d}", said
    assert checkpoints(run) == [newest]
    assert json.loads((newest / "train_state/state.json").read_text())["step"] == int(stopped[1])
    assert len(shard_names(newest / "train_state/shards")) == 45, "three of each parameter"


def test_a_run_whose_terminal_closes_is_saved(lab: Any) -> None:
    """The terminal's other end goes away: what is written there fails from then on."""
    recipe = lab.file("closed", steps=100000, log_every=1, checkpoint__every=100000, validation__every=100000)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        lab.command("train", recipe), stdout=theirs, stderr=theirs, stdin=theirs, start_new_session=True,
        preexec_fn=lambda: (fcntl.ioctl(0, termios.TIOCSCTTY, 0), heed_hangups()),
    )  # fmt: skip
    os.close(theirs)
    deadline = time.monotonic() + 60
    while not begun(lab.folder / "closed"):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.close(ours)
    assert process.wait(timeout=30) == 128 + signal.SIGTERM
    (saved,) = checkpoints(lab.folder / "closed")
    assert newest_checkpoint(lab.folder / "closed") == saved


def test_a_process_that_lives_is_not_said_to_have_died() -> None:
    own = Name.own()
    assert own.lives and "does not answer" in epitaph({1: own})
    elsewhere = Name(own.process, "node7", "another boot")
    assert elsewhere.lives is None and f"rank 1 (process {own.process} on node7) died" in epitaph({1: elsewhere})
    over = subprocess.Popen([sys.executable, "-c", ""])
    time.sleep(1)  # it has ended, and nobody has asked for its status: a zombie
    assert Name(over.pid, own.host, own.place).lives is False
    over.wait()
    assert Name(over.pid, own.host, own.place).lives is False
