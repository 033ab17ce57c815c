"""What every test runs under: one thread, no hub, fixed hypothesis examples; and the `shared` fixture.

`make test` runs the fast tests, `make test-slow` the rest; HYPOTHESIS_PROFILE=explore searches new examples. Golden
numbers are a processor's, so a GPU is hidden unless UNMASK_TEST_DEVICE=cuda asks for it, which puts the models of the
tests of decoding and likelihood there, and what tests/test_devices.py computes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

# Before torch and the hub client are imported anywhere: they read these once.
os.environ.update(
    OMP_NUM_THREADS="1",
    MKL_NUM_THREADS="1",
    TOKENIZERS_PARALLELISM="false",
    HF_HUB_OFFLINE="1",
    TRANSFORMERS_OFFLINE="1",
    MPLBACKEND="Agg",
)
if not os.environ.get("UNMASK_TEST_DEVICE", "").startswith("cuda"):
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

import hypothesis
import pytest
import torch

from small_demo import corpus, demo, demo_run, summary  # noqa: F401

ROOT = Path(__file__).resolve().parent.parent

torch.set_num_threads(1)

# Derandomised, so that a red test is red for everyone; no deadline, since a busy machine is not a bug.
hypothesis.settings.register_profile("fixed", deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile("explore", deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-frozen", action="store_true", help="write the files of tests/frozen anew")


@pytest.fixture
def no_plugins() -> Iterator[None]:
    """None is loaded, and none outlives its test."""
    from unmask.decoding.rules import REGISTRIES, plugins

    kept, modules = {kind: dict(registry) for kind, registry in REGISTRIES.items()}, set(sys.modules)
    yield
    for kind, registry in REGISTRIES.items():
        registry.clear()
        registry.update(kept[kind])
    plugins.FILES.clear()
    plugins.installed.cache_clear()
    for name in set(sys.modules) - modules:
        if name.startswith(("plugin_", "their_rules")):
            del sys.modules[name]


@pytest.fixture(scope="session")
def device() -> torch.device:
    """Where the models of a test lie: the CPU, or what UNMASK_TEST_DEVICE says."""
    return torch.device(os.environ.get("UNMASK_TEST_DEVICE", "cpu"))


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(params=["own", "handed"])
def published(request: pytest.FixtureRequest) -> Path:
    """Tiny models in the published SMDM layout with what they compute: by plain NumPy of our own, which every clone has
    (interop/published.py), and by the original code, where that is at hand.
    """
    if request.param == "own":
        return ROOT / "tests" / "fixtures" / "smdm"
    folder: Path = request.getfixturevalue("shared") / "fixtures" / "smdm"
    return folder


@pytest.fixture(scope="session")
def shared() -> Path:
    """Fixtures and data beside the repository, or at $UNMASK_SHARED; the test skips where there are none."""
    folder = Path(os.environ.get("UNMASK_SHARED", ROOT.parent / "shared"))
    if not (folder / "fixtures").is_dir():
        pytest.skip("needs the shared fixtures: ../shared beside the repository, or $UNMASK_SHARED")
    return folder
