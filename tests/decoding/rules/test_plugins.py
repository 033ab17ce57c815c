"""Rules of a user's own: loaded by name, refused in one line, recorded by sha256, asked for where they are needed."""

from __future__ import annotations

import importlib.metadata
import json
import re
from pathlib import Path

import pytest

import unmask
from decoding.oracle import SHARP, oracle
from plugged import HEAD, LAST, sha256, write
from unmask.cli import main
from unmask.decoding import generate
from unmask.decoding.rules import REGISTRIES, plugins
from unmask.errors import UserError
from unmask.model.config import ModelConfig
from unmask.model.defaults import write_defaults
from unmask.model.folder import save
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer

PAGE = Path(__file__).parents[3] / "docs" / "plugins.md"
MODEL = oracle(SHARP, context=64)
pytestmark = pytest.mark.usefixtures("no_plugins")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sizes = {"n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 64, "vocab_size": 257}
    network = Transformer(ModelConfig(**sizes, eos_id=0), seed=0)
    return save(tmp_path_factory.mktemp("model") / "mdm", network, Tokenizer.plain_bytes())


def called(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    """Status, stdout, stderr."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    shown = capsys.readouterr()
    return int(ended.value.code or 0), shown.out, shown.err


# ------------------------------------------------------------------ loading


def test_an_order_of_a_file(tmp_path: Path) -> None:
    loaded = unmask.plugin(write(tmp_path, LAST))
    assert loaded.name == "mine.py" and loaded.rules == (("order", "last"),) and loaded.sha256 == sha256(loaded.path)
    (g,) = generate(MODEL, [[1]], length=5, order="last", quota="even")
    assert g.steps == [4, 3, 2, 1, 0]
    assert unmask.plugin(tmp_path / "mine.py") is loaded, "once"


def test_every_kind_of_rule(tmp_path: Path) -> None:
    source = LAST + """
@QUOTAS.register("pairs")
class Pairs(Quota):
    "Two a step."

    def count(self, turn):
        return turn.left_R.clamp(max=2)


@QUOTAS.register("likely")
@dataclass(frozen=True)
class Likely(Adaptive):
    "Those whose rank is odd and whose surprise is small."

    reads = ("surprise",)
    most: float = parameter(1.0, 0, 5)

    def admit(self, turn, ranked):
        return ranked["surprise"] < self.most


@STATISTICS.register("surprise")
class Surprise(Statistic):
    "-log p of the likeliest."

    def of(self, law):
        return -law.best_N.log()


@ELIGIBLE.register("even-places")
class EvenPlaces(Eligibility):
    "Every second open position."

    def within(self, turn):
        return turn.open_RL & (turn.open_RL.cumsum(1) % 2 == 1)


@REVISIONS.register("none")
class Nothing(Revision):
    "Takes nothing back."

    needs_steps = False

    def after(self, step):
        step.reopen_RL = torch.zeros_like(step.turn.open_RL)


@SCHEDULES.register("power")
@dataclass(frozen=True)
class Power(Schedule):
    "w (1 - t)^n."

    n: float = parameter(2.0)

    def at(self, t):
        return (1 - t) ** self.n
"""
    loaded = unmask.plugin(write(tmp_path, source))
    assert {kind for kind, _ in loaded.rules} == set(REGISTRIES)
    (pairs,) = generate(MODEL, [[1]], length=6, order="last", quota="pairs", eligible="even-places", revise="none")
    assert sorted(pairs.steps) == [0, 0, 1, 1, 2, 3], "of one open position no two are eligible"
    (likely,) = generate(MODEL, [[1]], length=6, order="confidence", quota="likely:most=5")
    assert likely.nfe == 1
    options = {"length": 6, "order": "left-to-right", "guidance": 1.0, "seed": 3}
    (two,) = generate(MODEL, [[1]], guidance_schedule="power", **options)
    (one,) = generate(MODEL, [[1]], guidance_schedule="power:1", **options)
    (linear,) = generate(MODEL, [[1]], guidance_schedule="linear", **options)
    assert one.probabilities == linear.probabilities and two.nfe == linear.nfe
    assert plugins.used({"quota": "likely:2"}) == {"plugins": {"mine.py": loaded.sha256}}
    assert plugins.used({"quota": "even", "order": "confidence"}) == {}


def test_a_file_that_has_changed_is_loaded_anew_and_as_a_whole(tmp_path: Path) -> None:
    first = unmask.plugin(write(tmp_path, LAST))
    second = unmask.plugin(write(tmp_path, LAST.replace('"last"', '"behind"')))
    assert second.sha256 != first.sha256 and "behind" in REGISTRIES["order"] and "last" not in REGISTRIES["order"]
    with pytest.raises(UserError, match="plug-in mine.py cannot be run: ZeroDivisionError"):
        unmask.plugin(write(tmp_path, LAST + "\n1 / 0"))
    assert "behind" in REGISTRIES["order"] and "last" not in REGISTRIES["order"] and plugins.FILES["mine.py"] is second
    (tmp_path / "other").mkdir()
    with pytest.raises(UserError, match="two plug-ins are called mine.py, .*; rename one"):
        unmask.plugin(write(tmp_path / "other", "x = 1"))


BAD = [
    ("x = (", r"plug-in mine.py cannot be run: SyntaxError: .* \(line 4\); mend the file"),
    ("import no_such_module", r"cannot be run: ModuleNotFoundError: No module named 'no_such_module' \(line 4\); mend"),
    ("raise SystemExit(3)", r"cannot be run: SystemExit: 3 \(line 4\)"),
    ("x = 1", "plug-in mine.py registers nothing; give it a rule"),
    (LAST + LAST, "plug-in mine.py: order 'last' is registered twice; give one of the two another name"),
    (LAST.replace('"last"', '"margin"'), "plug-in mine.py: order 'margin' is registered twice"),
    (LAST.replace('"last"', '"a:b"'), "plug-in mine.py: order 'a:b' is no name of a rule"),
    (LAST.replace("(Order)", ""), "order 'last' is no class that extends Order"),
    (LAST.replace("    def", "    n: float = parameter(1)\n\n    def"), "is no dataclass; add @dataclass"),
    (LAST.replace("def priority", "def prioritys"), "plug-in mine.py: order 'last' has no priority; give it one"),
    ("@QUOTAS.register('q')\nclass Q(Adaptive):\n    pass", "quota 'q' has no admit"),
    ("@STATISTICS.register('tokens')\nclass T(Statistic):\n    pass", "statistic 'tokens' is registered twice"),
]


@pytest.mark.parametrize(("source", "line"), BAD, ids=[line[:40] for _, line in BAD])
def test_a_bad_file_is_one_line_and_leaves_nothing(
    source: str, line: str, tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {kind: list(registry) for kind, registry in REGISTRIES.items()}
    status, out, err = called(capsys, "sample", model, "--plugin", write(tmp_path, source), "--length", "2")
    assert (status, out) == (2, "") and err.count("\n") == 1 and re.search(line, err), err
    assert {kind: list(registry) for kind, registry in REGISTRIES.items()} == before and not plugins.FILES


def test_a_file_that_is_not_there(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = called(capsys, "sample", model, "--plugin", "nowhere.py")
    why = "cannot be read: No such file or directory; give a Python file"
    assert (status, err) == (2, f"unmask: error: plug-in nowhere.py {why}\n")


def test_a_bad_parameter(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = LAST.replace("class", "@dataclass(frozen=True)\nclass")
    path = write(tmp_path, source.replace("    def", "    n: float = parameter(1, 0, 2)\n\n    def"))
    status, _, err = called(capsys, "sample", model, "--plugin", path, "--order", "last:3", "--length", "2")
    assert (status, err) == (2, "unmask: error: order last: n is 3; give a number in [0, 2]\n")


# ------------------------------------------------------------------ what is recorded


def test_results_and_traces_name_it(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, trace = write(tmp_path, LAST), tmp_path / "trace.json"
    words = ("sample", model, "--plugin", path, "--length", "3", "--json")
    (row,) = json.loads(called(capsys, *words, "--order", "last", "--trace", trace)[1])
    names = {"mine.py": sha256(path)}
    assert row["settings"]["plugins"] == names and json.loads(trace.read_text())["settings"]["plugins"] == names
    (row,) = json.loads(called(capsys, *words)[1])
    assert "plugins" not in row["settings"], "loaded, and not used"


def test_an_exact_likelihood_names_it(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, LAST)
    words = ("score", model, "abc", "--method", "duel", "--order", "last", "--json")
    status, _, err = called(capsys, *words)
    assert status == 2 and "order 'last' is unknown" in err
    (row,) = json.loads(called(capsys, *words, "--plugin", path)[1])
    assert row["plugins"] == {"mine.py": sha256(path)} and row["logprob"] < 0
    chance = LAST.replace('first."', 'first."\n\n    chance = True')
    status, _, err = called(capsys, *words, "--plugin", write(tmp_path, chance, "other.py"))
    assert status == 2 and "plug-in other.py: order 'last' is registered twice" in err
    status, _, err = called(capsys, *words, "--plugin", write(tmp_path, chance))
    assert status == 2 and "order 'last' draws positions" in err


def test_lines_written_with_another_file_are_written_anew(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts, out = tmp_path / "prompts.txt", tmp_path / "out.jsonl"
    prompts.write_text("one\n")
    path = write(tmp_path, LAST)
    words = ("sample", model, "--plugin", path, "--order", "last", "--prompts", prompts, "--length", "3", "--out", out)
    assert called(capsys, *words)[0] == 0
    first = json.loads(out.read_text())
    assert called(capsys, *words)[0] == 0 and json.loads(out.read_text()) == first
    write(tmp_path, LAST + "\n# changed")
    assert called(capsys, *words)[0] == 0
    second = json.loads(out.read_text())
    assert second["settings_hash"] != first["settings_hash"]
    assert second["settings"]["plugins"] == {"mine.py": sha256(path)} != first["settings"]["plugins"]


def test_defaults_of_a_model_need_it_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = {"n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 64, "vocab_size": 257}
    folder = save(tmp_path / "mdm", Transformer(ModelConfig(**sizes, eos_id=0), seed=0), Tokenizer.plain_bytes())
    path = write(tmp_path, LAST)
    write_defaults(folder, {"order": "last", "quota": "even"}, {}, {"mine.py": sha256(path)})
    words = ("sample", folder, "--length", "3", "--json")
    status, out, err = called(capsys, *words)
    assert (status, out) == (2, "")
    assert err == f"unmask: error: {folder}/generation.json needs the plug-in mine.py; add --plugin mine.py\n"
    with pytest.raises(UserError, match="needs the plug-in mine.py"):
        unmask.generate(unmask.load(folder), ["a"], length=3)
    assert called(capsys, *words, "--order", "confidence")[0] == 0, "the defaults are not asked"
    status, out, err = called(capsys, *words, "--plugin", path)
    assert status == 0 and json.loads(out)[0]["settings"]["plugins"] == {"mine.py": sha256(path)}
    write(tmp_path, LAST + "\n# changed")
    status, _, err = called(capsys, *words, "--plugin", path)
    assert status == 2 and err.count("\n") == 1
    assert re.search(r"json needs the plug-in mine.py of sha256 \w{12}, and this is \w{12}; give --plugin the", err)


# ------------------------------------------------------------------ packages


def test_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_rules.py").write_text(HEAD + LAST)
    monkeypatch.syspath_prepend(tmp_path)
    entry = importlib.metadata.EntryPoint("theirs", "their_rules", plugins.GROUP)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [entry] if group == plugins.GROUP else [])
    plugins.installed.cache_clear()
    (g,) = generate(MODEL, [[1]], length=4, order="last", quota="even")
    assert g.steps == [3, 2, 1, 0]
    assert plugins.used({"order": "last"}) == {"plugins": {"theirs": sha256(tmp_path / "their_rules.py")}}
    assert plugins.given() == {}
    plugins.need({"theirs": sha256(tmp_path / "their_rules.py")}, "a result")
    (tmp_path / "their_rules2.py").write_text("import no_such_module")
    entry2 = importlib.metadata.EntryPoint("broken", "their_rules2", plugins.GROUP)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [entry2])
    plugins.installed.cache_clear()
    with pytest.raises(UserError, match=r"broken: its rules \(unmask.rules: broken\) cannot be imported: ModuleNot"):
        generate(MODEL, [[1]], length=4)


# ------------------------------------------------------------------ the page


def test_the_page(tmp_path: Path) -> None:
    source = re.search(r"```python\n(# lean\.py.*?)```", PAGE.read_text(), re.S)
    assert source is not None
    path = tmp_path / "lean.py"
    path.write_text(source[1])
    loaded = unmask.plugin(path)
    assert loaded.rules == (("order", "lean"),)
    options = {"length": 8, "quota": "even", "temperature": 0}
    (steep,) = generate(MODEL, [[1]], order="lean:1000", **options)
    assert steep.steps == list(range(8)), "from the left, however sure"
    (flat,) = generate(MODEL, [[1]], order="lean:0", **options)
    (sure,) = generate(MODEL, [[1]], order="confidence", **options)
    assert flat.tokens == sure.tokens and flat.steps == sure.steps
