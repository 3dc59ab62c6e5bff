"""Shared by the tests: where the repository is, and what settings.ini says."""
import os
import signal
from configparser import ConfigParser
from pathlib import Path

import pytest
from command import data, run  # noqa: F401  (fixtures that several files use)

os.environ.setdefault("MPLBACKEND", "agg")
# A shell starts what runs in its background deaf to Ctrl-C, and children inherit that; some tests press Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    "The top of the repository."
    return ROOT


@pytest.fixture(scope="session")
def settings() -> dict[str, str]:
    "settings.ini, read without nbdev."
    parser = ConfigParser(delimiters=["="])
    parser.read(ROOT / "settings.ini", encoding="utf-8")
    return dict(parser["DEFAULT"])


def pytest_terminal_summary(terminalreporter):
    "What tests have measured, printed at the end, also when they ran in other processes."
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "measured": terminalreporter.write_line(value)
