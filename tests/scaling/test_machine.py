"""What a run's numbers may depend on beside its settings."""

from __future__ import annotations

import os
import platform

import pytest

from unmask.scaling import machine as here
from unmask.scaling.machine import has_type, machine


def test_the_machine_is_its_processor_and_its_cores_without_a_name() -> None:
    said = machine()
    assert said.endswith(" cores") and int(said.split(", ")[-1].split()[0]) >= 1
    assert os.uname().nodename not in said or os.uname().nodename in platform.machine()


def test_bf16_is_there_where_the_processor_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(here.torch.cuda, "is_available", lambda: False)
    for there in (True, False):
        monkeypatch.setattr(here, "processor_has_bf16", lambda there=there: there)
        assert has_type("fp32") and has_type("bf16") is there
