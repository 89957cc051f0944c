# SPDX-License-Identifier: Apache-2.0
"""The documents that come from the code are current, and what the README tells to type is there."""

import re
import subprocess
import sys
from pathlib import Path

from bfv.cli import parser

ROOT = Path(__file__).parent.parent


def test_generated_documents_are_current():
    done = subprocess.run([sys.executable, "docs/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")


def test_every_command_in_the_documents_parses():
    found = []
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        if page.name == "cli.md":
            continue
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL):
            found += [line for line in block.splitlines() if line.startswith("bfv ")]
    assert len(found) > 10
    for line in found:
        words = line.split("#")[0].split()[1:]
        parser().parse_args(words)


def test_every_make_target_in_the_documents_is_there():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set()
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        named |= set(re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(), re.MULTILINE))
    assert named
    assert named - targets - {"sure"} == set()
