# SPDX-License-Identifier: Apache-2.0
"""The example of the page can be copied as it is: its tests pass, nothing is skipped, and its name is found."""

import re
import sys
import tomllib
from importlib.metadata import EntryPoint

from imagebackends.conformance import BackendConformance
from tests.imagebackends.conftest import EXAMPLE, PAGE, TESTS, run_example

SUITE = {name for name in dir(BackendConformance) if name.startswith("test_")}


def test_the_example_passes_the_whole_suite(tmp_path):
    done = run_example(tmp_path, {"memory_backend.py": EXAMPLE, "test_memory.py": TESTS})

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(rf"^{len(SUITE)} passed in", done.stdout, re.MULTILINE), done.stdout


def test_the_entry_point_of_the_page_names_the_example(tmp_path, monkeypatch):
    [text] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "memory_backend.py").write_text(EXAMPLE)
    monkeypatch.syspath_prepend(tmp_path)
    [(name, where)] = tomllib.loads(text)["project"]["entry-points"]["imagebackends"].items()

    try:
        assert EntryPoint(name, where, "imagebackends").load().__name__ == "MemoryBackend"
    finally:
        sys.modules.pop("memory_backend", None)


def test_the_page_tells_of_each_fixture_that_may_be_supplied():
    fixtures = {"late_seconds", "ready_seconds", "tick_seconds", "connector", "other_image_id", "snapshot_id"}

    assert {name for name in fixtures if f"`{name}`" not in PAGE} == set()
    assert {
        name for name in fixtures - {"other_image_id", "snapshot_id"} if not hasattr(BackendConformance, name)
    } == set()
