"""Two processes share the tests, a file each at a time (pyproject.toml); the longest files begin first."""

import os

import pytest

import workflow  # noqa: F401  leaves out a grammar that jsonschema would build for a second

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported: see lczlib.compute
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

LONGEST = ("test_notebooks", "test_published_artefacts", "test_demo_page", "test_run", "test_world_measures",
           "test_transfer", "test_sam_masks", "test_threads", "test_places")  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))
