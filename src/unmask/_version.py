"""The version, in one place: `pyproject.toml` reads it when building, `unmask --version` when running."""

__version__ = "0.1.0"
