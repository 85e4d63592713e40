"""Shared fixtures: the real models, where they are prepared, and the outside data, where there is any."""

import os
from pathlib import Path

import pytest


def models_folder() -> Path:
    named = os.environ.get("KEFU_MODELS")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kefu" / "models"


def missing(what: str) -> None:
    """A missing optional piece: a visible skip on a user's machine, a failure where CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must provide {what}")
    pytest.skip(f"needs {what}")


def prepared(name: str) -> Path:
    folder = models_folder() / name
    if not (folder / "kefu-model.json").is_file():
        missing(f"the base model {name} (kefu models prepare)")
    return folder


@pytest.fixture(scope="session")
def encoder_folder() -> Path:
    return prepared("multilingual-e5-small")


@pytest.fixture(scope="session")
def generator_folder() -> Path:
    return prepared("qwen2.5-coder-0.5b-instruct")


@pytest.fixture(scope="session")
def bench_data() -> Path:
    """The folder of outside benchmark data; users who have none see a skip."""
    named = os.environ.get("KEFU_BENCH_DATA")
    if not named or not Path(named).is_dir():
        pytest.skip("needs the benchmark data: set KEFU_BENCH_DATA")
    return Path(named)
