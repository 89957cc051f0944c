# SPDX-License-Identifier: Apache-2.0
"""The house has floors: an import may go down, never up or sideways."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SQL, HTTP = {"sqlalchemy", "alembic"}, {"requests", "keystoneauth1", "cinderclient", "http.client", "urllib.request"}
FORBIDDEN = {  # where: what may not be imported there
    "cells/": {"bfv", "imagebackends", "tests", *HTTP},
    "imagebackends/": {"bfv", "cells", "tests", *SQL},
    "bfv/mockcloud/": {"bfv", "cells", "imagebackends", "tests"},
    "bfv/": {"tests", "bfv.mockcloud"},
}
DOORS = ("bfv/cli/", "bfv/api/", "bfv/__init__.py", "bfv/__main__.py")


def imported(source):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def wrong(path, source):
    """Return the imports of a file that its floor does not allow."""
    place = next((place for place in sorted(FORBIDDEN, key=len, reverse=True) if path.startswith(place)), None)
    banned = set(FORBIDDEN.get(place, ()))
    if place == "bfv/mockcloud/":
        return {name for name in _hits(source, banned) if not f"{name}.".startswith("bfv.mockcloud.") and name != "bfv"}
    if path == "bfv/embedded.py":
        banned.discard("bfv.mockcloud")
    if not path.startswith(DOORS):
        banned.add("bfv.cloud")
    return _hits(source, banned)


def _hits(source, banned):
    return {name for name in imported(source) for ban in banned if name == ban or name.startswith(f"{ban}.")}


FILES = [path for top in ("bfv", "cells", "imagebackends") for path in (ROOT / top).rglob("*.py")]


@pytest.mark.parametrize("path", sorted(str(path.relative_to(ROOT)) for path in FILES))
def test_imports_go_down(path):
    assert wrong(path, (ROOT / path).read_text()) == set()


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("cells/listing.py", "from bfv.errors import Refused"),
        ("cells/listing.py", "import requests"),
        ("imagebackends/cinder/x.py", "def f():\n    from cells import servers"),
        ("imagebackends/x.py", "import sqlalchemy as sa"),
        ("bfv/boot.py", "from bfv import cloud"),
        ("bfv/boot.py", "from bfv.mockcloud.server import Server"),
        ("bfv/mockcloud/server.py", "from bfv.journal import Journal"),
        ("bfv/mockcloud/server.py", "import imagebackends"),
    ],
)
def test_the_guard_sees_a_wrong_import(path, source):
    assert wrong(path, source)


def test_no_file_names_a_machine_or_a_package_index():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    pattern = re.compile("/wo" + "rk/|/ro" + "ot/|index" + "-url|extra" + "-index|deb +https?:" + "//")
    found = []
    for name in tracked.stdout.splitlines():
        path = ROOT / name
        if path.is_file() and pattern.search(path.read_text(errors="replace")):
            found.append(name)
    assert found == []
