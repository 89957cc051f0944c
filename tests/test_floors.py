# SPDX-License-Identifier: Apache-2.0
"""The house has floors: an import may go down, never up or sideways; and no file tells where it was written.

A wrong import works on the day it is made and is paid for later, so a test says no at once.
"""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS, AROUND = {"bfv", "cells", "imagebackends"}, {"tests", "lab", "bench"}
SQL = {"sqlalchemy", "alembic", "sqlite3", "pymysql", "MySQLdb", "psycopg"}
HTTP = {"requests", "urllib3", "http.client", "urllib.request", "keystoneauth1", "cinderclient", "openstack"}
FORBIDDEN = {  # where: what may not be imported there; the longest place that fits counts
    "cells/": {"bfv", "imagebackends", *AROUND, *HTTP},
    "imagebackends/": {"bfv", "cells", *AROUND, *SQL},
    "bfv/mockcloud/": OURS | AROUND,
    "bfv/embedded.py": {"bfv.cloud", *AROUND},
    "bfv/": {"bfv.cloud", "bfv.mockcloud", *AROUND},
    "": {"bfv.mockcloud"},
}
DOOR = re.compile(r"bfv/(cli|api)(_\w+)?(\.py|/.*)|bfv/__(init|main)__\.py")
MACHINE = re.compile(rb"/wo" rb"rk/|/ro" rb"ot/")
INDEX = re.compile(rb"(?i)index" rb"[-_]url|pypi\." rb"org/simple|python" rb"hosted\.org|deb +https?" rb"://")


def imported(path, source):
    """Yield all that a file imports, by full name: also by a relative import, and by name at run time."""
    package = Path(path).parent.parts
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*start, *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield from (each.value for each in node.args[:1] if isinstance(each, ast.Constant))


def wrong(path, source):
    """Return the imports of a file that its floor does not allow."""
    place = max((place for place in FORBIDDEN if path.startswith(place)), key=len)
    banned = FORBIDDEN[place] - ({"bfv.cloud"} if DOOR.fullmatch(path) else set())
    found = {name for name in imported(path, source) for ban in banned if f"{name}.".startswith(f"{ban}.")}
    return {name for name in found if not (place == "bfv/mockcloud/" and f"{name}.".startswith("bfv.mockcloud."))}


def tracked():
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in done.stdout.split("\0") if (ROOT / name).is_file()]


def tells(data):
    """Return whether a text names a place on a machine, or a package index."""
    return b"\0" not in data and any(pattern.search(data) for pattern in (MACHINE, INDEX))


def test_imports_go_down():
    paths = [str(path.relative_to(ROOT)) for top in (OURS | AROUND) - {"tests"} for path in (ROOT / top).rglob("*.py")]
    assert {path.split("/")[0] for path in paths} >= OURS
    found = {path: wrong(path, (ROOT / path).read_text()) for path in paths}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("cells/listing.py", "from bfv.errors import Refused"),
        ("cells/listing.py", "from imagebackends import Target"),
        ("cells/listing.py", "import requests"),
        ("cells/listing.py", "from http import client"),
        ("cells/listing.py", "import importlib\nimportlib.import_module('keystoneauth1.session')"),
        ("imagebackends/cinder/x.py", "def f():\n    from cells import servers"),
        ("imagebackends/x.py", "import sqlalchemy as sa"),
        ("bfv/boot.py", "from bfv import cloud"),
        ("bfv/boot.py", "from . import cloud"),
        ("bfv/client.py", "from .cloud import Cloud"),
        ("bfv/flows/boot.py", "from ..cloud import Cloud"),
        ("bfv/boot.py", "from bfv.mockcloud.server import Server"),
        ("bfv/cli/demo.py", "import bfv.mockcloud"),
        ("bfv/embedded.py", "from bfv.cloud import Cloud"),
        ("bfv/boot.py", "from tests import sites"),
        ("bfv/mockcloud/server.py", "from bfv.journal import Journal"),
        ("bfv/mockcloud/server.py", "from ..journal import Journal"),
        ("bfv/mockcloud/server.py", "import imagebackends"),
        ("bfv/mockcloud/server.py", "import bfv"),
        ("bench/boot.py", "from bfv import mockcloud"),
    ],
)
def test_the_guard_sees_a_wrong_import(path, source):
    assert wrong(path, source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("bfv/cli/servers.py", "from bfv.cloud import Cloud"),
        ("bfv/cli.py", "from .cloud import Cloud"),
        ("bfv/api/handlers.py", "from bfv.cloud import Cloud"),
        ("bfv/__init__.py", "from bfv.cloud import Cloud"),
        ("bfv/embedded.py", "from bfv import mockcloud"),
        ("bfv/mockcloud/server.py", "from . import state\nfrom bfv.mockcloud import wire"),
        ("bfv/boot.py", "from cells import servers\nfrom bfv.cloudy import x"),
        ("imagebackends/x.py", "from imagebackends.http import Settings\nimport requests"),
    ],
)
def test_the_guard_lets_a_right_import_pass(path, source):
    assert wrong(path, source) == set()


def test_no_file_names_a_machine_or_a_package_index():
    assert [name for name in tracked() if tells((ROOT / name).read_bytes())] == []


@pytest.mark.parametrize(
    "text", ["see /wo" + "rk/main", "HOME=/ro" + "ot/x", "PIP_INDEX" + "_URL=x", "--index" + "-url x"]
)
def test_the_guard_sees_a_planted_place(text):
    assert tells(text.encode())
    assert not tells(b"a network/main or boot/x")
