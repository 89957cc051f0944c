# SPDX-License-Identifier: Apache-2.0
"""A guest that starts in no time and writes to its disk at each start: ``templates/guest.S``, made into an image."""

import re
from pathlib import Path

from lab.process import run
from lab.settings import HERE, LabError

SIZE = 64 << 20
SECTOR = 512


def image(target: Path) -> Path:
    """Write the guest's disk, 64 MiB and nearly all of it a hole. Raises LabError."""
    made = {kind: target.with_suffix(f".{kind}") for kind in ("o", "elf", "sector")}
    run("guest", ["as", "--32", "-o", made["o"], HERE / "templates" / "guest.S"])
    run("guest", ["ld", "-m", "elf_i386", "-Ttext", "0x7c00", "-o", made["elf"], made["o"]])
    run("guest", ["objcopy", "-O", "binary", "-j", ".text", made["elf"], made["sector"]])
    sector = made["sector"].read_bytes()
    if len(sector) != SECTOR:
        raise LabError(f"the guest's sector has {len(sector)} bytes")
    with target.open("wb") as disk:
        disk.write(sector)
        disk.truncate(SIZE)
    for path in made.values():
        path.unlink()
    return target


def starts(console: str) -> int:
    """Return how often the guest has started by what it wrote last on its console, 0 before any start."""
    counts = re.findall(r"BFV-BOOT (\d)", console)
    return int(counts[-1]) if counts else 0
