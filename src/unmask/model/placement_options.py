"""Where a model lies and in which type of number: options that every verb with a model has."""

from __future__ import annotations

from dataclasses import dataclass

from unmask.options import Options, option


@dataclass(frozen=True, kw_only=True)
class VerifyOptions(Options):
    """Of what loads a model."""

    verify: bool | None = option(
        None, "check the files of a checkpoint against their sums; by default those of at most 1 GiB"
    )


@dataclass(frozen=True, kw_only=True)
class PlacementOptions(VerifyOptions):
    """Of what runs one."""

    device: str = option("auto", "auto, cpu, cuda or cuda:N; auto: CUDA where there is one")
    dtype: str = option("fp32", "of the weights: fp32, bf16, or auto: bf16 where that is faster")


@dataclass(frozen=True, kw_only=True)
class TypesOptions(VerifyOptions):
    """Of what measures one in several types."""

    device: str = option("auto", "auto, cpu, cuda or cuda:N; auto: CUDA where there is one")
    dtype: list[str] = option(["fp32"], "fp32, bf16, or auto: bf16 where that is faster; repeatable, side by side")
