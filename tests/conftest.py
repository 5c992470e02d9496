"""Hypothesis profiles, the width of tables, and where the real conversations are."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
settings.register_profile("dev", max_examples=100, deadline=None, suppress_health_check=QUIET)
settings.register_profile(
    "ci", max_examples=100, deadline=None, suppress_health_check=QUIET, derandomize=True
)
settings.register_profile(
    "coverage", max_examples=20, deadline=None, suppress_health_check=QUIET, derandomize=True
)
settings.register_profile(
    "nightly", max_examples=20_000, deadline=None, suppress_health_check=QUIET
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


def pytest_configure(config: pytest.Config) -> None:
    """Make tables 200 columns wide where tests run: they are compared, on any terminal or none."""
    if config.getoption("dist", "no") == "no":  # or else the workers run them
        os.environ["COLUMNS"] = "200"


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of recorded conversations; tests that need it are skipped where it is absent."""
    default = Path(__file__).parents[1] / "../shared/data"
    folder = Path(os.environ.get("CTXWIN_DATA", default))
    if not (folder / "MANIFEST.json").exists():
        pytest.skip(f"no recorded conversations at {folder}: set CTXWIN_DATA")
    return folder
