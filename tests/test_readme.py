"""The README's commands run, in order, as they are printed: `make test ARGS=tests/test_readme.py`.

Every line of every ```bash block is dealt with by one rule below, or the test fails:

    unmask ...                 for real, in one temporary folder, in the order of the page
    unmask train ...           for real, with TINY behind it, so that it ends in seconds
    unmask ... FOLDER ...      (capitals: a blank to fill in) its --help, which must know each option named
    make ..., python -m pytest parsed by make (`-n`), collected by pytest; neither runs
    python -m unmask...        its --help
    git, cd, pip, ...          not ours to run

Where a command reads a run under runs/ that an earlier one did not write (that of `make demo`, which takes
minutes), a tiny random model stands there. ```python blocks run in the same folder after the commands.
Relative links in the README, in docs/ and in results/ must point at files and headings that exist.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sysconfig
from pathlib import Path

import pytest

from unmask.cli import chosen

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PAGES = [README, ROOT / "CHANGELOG.md", *sorted([*(ROOT / "docs").rglob("*.md"), *(ROOT / "results").rglob("*.md")])]

# What makes any training small, put behind a README's `unmask train` line.
TINY = "--steps 2 --precision fp32 --batch_size 2 --model.n_layer 1 --model.n_head 2 --model.n_embd 32"
NOT_OURS = ("git", "cd", "source", "pip", "python3 -m venv", ".venv/bin/pip", ".venv/bin/python -m pip")
RUN_FOLDER = re.compile(r"\bruns/[\w.-]+(?:/[\w.-]+)*")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.M | re.S)


def commands(page: str) -> list[str]:
    """The commands of the page's bash blocks: continued lines joined, `&&` parted, comments dropped."""
    lines = re.split(r"\n| && ", "".join(blocks(page, "bash")).replace("\\\n", " "))
    lines = [" ".join(shlex.split(line, comments=True, posix=False)).removeprefix("$ ") for line in lines]
    return [line.replace(".venv/bin/unmask", "unmask") for line in lines if line]


def rule(command: str) -> str:
    """Which of the rules above takes a command; an empty string for none."""
    if command.startswith(NOT_OURS):
        return "not ours"
    words = shlex.split(command)
    if module := re.match(r"(?:\.venv/bin/)?python3? -m (\w+)", command):
        return {"pytest": "collect", "unmask": "help"}.get(module[1], "")
    if words[0] == "make":
        return "make"
    if words[0] != "unmask":
        return ""
    if any(re.fullmatch(r"[A-Z][A-Z_]+(\.\.\.)?", word) for word in words) and "--help" not in words:
        return "help"
    return "train" if words[1:2] == ["train"] and "--help" not in words else "real"


def run(command: str, cwd: Path) -> str:
    """A shell's reading of the command, with this environment's `unmask` and `python` first on the path."""
    environment = {**os.environ, "PATH": os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])}
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def place_tiny_model(folder: Path) -> None:
    """A random model over bytes, causal if its path says `arm`."""
    from unmask.model.config import ModelConfig
    from unmask.model.folder import save
    from unmask.model.tokenizers import Tokenizer
    from unmask.model.transformer import Transformer

    tokenizer = Tokenizer.resolve("bytes", [])
    sizes = {"n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 256, "vocab_size": tokenizer.vocab_size}
    config = ModelConfig(**sizes, causal="arm" in folder.parts[-1], eos_id=tokenizer.eos_id)
    save(folder, Transformer(config, seed=0), tokenizer)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory) -> Path:
    """Where the commands run: an empty folder with the repository's recipes and docs at hand."""
    folder = tmp_path_factory.mktemp("readme")
    for name in ("recipes", "docs", "tests"):
        if (ROOT / name).exists():
            (folder / name).symlink_to(ROOT / name)
    return folder


def place_missing_runs(text: str, workshop: Path) -> None:
    """A model at every runs/... that the text reads and nobody wrote (what it will write follows `--out`)."""
    for name in RUN_FOLDER.findall(re.sub(r"--out[ =]\S+", "", text)):
        if not (workshop / name).exists():
            place_tiny_model(workshop / name)


def page_text() -> str:
    return README.read_text() if README.exists() else ""


def test_the_page_has_commands_and_every_one_has_a_rule():
    listed = commands(page_text())
    assert {"make demo", "make test"} <= set(listed)
    assert [command for command in listed if not rule(command)] == []


@pytest.mark.parametrize("command", commands(page_text()))
def test_command(command, workshop):
    if command.startswith("unmask lm-eval"):
        pytest.importorskip("lm_eval")
    kind, command = rule(command), command.removeprefix(".venv/bin/")
    if kind == "real":
        place_missing_runs(command, workshop)
        run(command, workshop)
    elif kind == "train":
        run(f"{command} {TINY}", workshop)
    elif kind == "help":
        words = 2 if command.startswith("unmask") and not command.startswith(("unmask bench", "unmask scale")) else 3
        program = " ".join(command.split()[:words])
        shown = run(f"{program} --help", workshop)
        for option in re.findall(r"--[\w-]+", command):
            assert re.search(rf"{option}\b", shown), f"{option} is not in the help of {program}"
    elif kind == "make":
        run(command.replace("make", "make -n", 1), ROOT)
    elif kind == "collect":
        run(f"{command} --collect-only -q", ROOT)
    else:
        assert kind == "not ours"


@pytest.mark.parametrize("number", range(len(blocks(page_text(), "python"))))
def test_python_block(number, workshop):
    code = blocks(page_text(), "python")[number]
    place_missing_runs(code, workshop)
    run(f"python -c {shlex.quote(code)}", workshop)


def test_the_rules_take_what_they_should():
    page = "```bash\n$ cd x && make demo   # long\nunmask sample runs/a \\\n  --prompt 'The #1 state'\n```\n"
    assert commands(page) == ["cd x", "make demo", "unmask sample runs/a --prompt 'The #1 state'"]
    expected = {
        "unmask --version": "real",
        "unmask sample runs/a --prompt 'I AM'": "real",
        "unmask train recipes/a.yaml --steps 9": "train",
        "unmask train --help": "real",
        "unmask convert smdm WEIGHTS --out FOLDER": "help",
        "python -m pytest tests/model -k presets": "collect",
        ".venv/bin/python -m unmask.experiments.table runs/reversal": "help",
        "python -m http.server": "",
        "make test": "make",
        "git clone somewhere": "not ours",
        "rm -rf runs": "",
    }
    assert {command: rule(command) for command in expected} == expected


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_relative_links_lead_somewhere(page):
    targets = re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def headings(page: Path) -> set[str]:
    """As links name them: small letters, no punctuation, a hyphen for a space."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", title.strip().lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_into_a_page_lead_to_a_heading(page):
    for target, heading in re.findall(r"\]\((?!\w+:)([^)#\s]*)#([^)\s]+)\)", page.read_text()):
        assert heading in headings(page.parent / target if target else page), f"{target}#{heading}"


def test_files_that_the_pages_name_are_there():
    """`tests/data/test_x.py`, `model/folder.py`; capitals stand for a name to fill in."""
    rooms = "|".join(sorted(path.name for path in (ROOT / "src" / "unmask").iterdir() if path.is_dir()))
    named = re.compile(rf"`((?:src|tests|docs|results|recipes|{rooms})/[\w./-]+\.(?:py|md|json|yaml))`")
    missing = [
        f"{page.name}: {name}"
        for page in PAGES
        for name in named.findall(page.read_text())
        if not any((home / name).exists() for home in (ROOT, ROOT / "src" / "unmask"))
    ]
    assert missing in ([], ["scaling.md: scaling/ours.json"])  # shipped once our sweep has run


def test_every_kept_result_stands_in_the_table_once_and_none_in_docs():
    listed = re.findall(r"^\| \[[\w.-]+\.json\]\(([\w.-]+)\) \|", (ROOT / "results" / "README.md").read_text(), re.M)
    assert sorted(listed) == sorted(path.name for path in (ROOT / "results").glob("*.json"))
    assert not list((ROOT / "docs").glob("*.json"))


SHOWN = [line for line in "".join(blocks(README.read_text(), "console")).splitlines() if line.startswith("$ ")]


@pytest.mark.parametrize("line", SHOWN)
def test_commands_that_are_shown_with_their_output_are_options_that_exist(line: str) -> None:
    """What they print comes from a trained demo, which takes minutes; that they would run is checked here."""
    name, cls, words = chosen(shlex.split(line)[2:])
    assert cls is not None
    options, _ = cls.from_words(words, f"unmask {name}")
    assert options.__class__ is cls
