"""Two processes share the tests, a file each at a time (pyproject.toml); the longest test of all begins first."""

import os

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported: see lczlib.compute
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("notebooks") is None)
