# SPDX-License-Identifier: Apache-2.0
"""Debian packages and the Python environment of the services; quick when both are there already."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from lab.settings import LOCK, VENV, VENV_BIN, LabError, claim_directory, lock_hash

PACKAGES = (
    "ceph-mon",
    "ceph-osd",
    "ceph-mgr",
    "ceph-common",
    "python3-rbd",
    "python3-rados",
    # os-reimage and volume upload let qemu-img speak rbd.
    "qemu-utils",
    "qemu-block-extra",
    "mariadb-server",
    "mariadb-client",
    "postgresql",
    "rabbitmq-server",
    "memcached",
    # uWSGI has no wheel.
    "python3-venv",
    "python3-dev",
    "gcc",
    "libffi-dev",
    "libssl-dev",
    # So that the tests can install mysqlclient.
    "libmariadb-dev",
    "pkg-config",
)
# Debian's own, as its rbd and rados modules are made for it.
PYTHON = "/usr/bin/python3"
DEBIAN_MODULES = Path("/usr/lib/python3/dist-packages")
POLICY = Path("/usr/sbin/policy-rc.d")
STAMP = VENV / "lock-hash"


def install() -> None:
    claim_directory()
    install_packages()
    install_environment()


def install_packages(packages: Sequence[str] = PACKAGES) -> None:
    missing = [name for name in packages if not is_installed(name)]
    if not missing:
        print("apt: all packages are installed")
        return
    print("apt: installing", *missing)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with no_autostart():
        command(["apt-get", "update", "-q"], environment)
        command(["apt-get", "install", "-q", "-y", "--no-install-recommends", *missing], environment)


def is_installed(package: str) -> bool:
    asked = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Status}", package], capture_output=True, text=True, check=False
    )
    return asked.stdout == "install ok installed"


@contextlib.contextmanager
def no_autostart() -> Iterator[None]:
    """Keep the packages from starting their services: the lab runs its own, on its own ports."""
    if POLICY.exists() and subprocess.run([POLICY, "any", "start"], check=False).returncode == 101:
        yield
        return
    saved = POLICY.with_name("policy-rc.d.before-lab")
    if POLICY.exists():
        POLICY.rename(saved)
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()
        if saved.exists():
            saved.rename(POLICY)


def is_ready() -> bool:
    return STAMP.exists() and STAMP.read_text() == lock_hash()


def install_environment() -> None:
    if is_ready():
        print("venv: made from this lock already")
        return
    print("venv: installing from", LOCK.name)
    STAMP.unlink(missing_ok=True)
    shutil.rmtree(VENV, ignore_errors=True)
    command([PYTHON, "-m", "venv", VENV])
    # pip would cache the wheel that it builds and give it to another Python 3.11, where it does not run.
    uwsgi = next(line for line in LOCK.read_text().splitlines() if line.lower().startswith("uwsgi=="))
    pip = [VENV_BIN / "pip", "install", "-q", "--disable-pip-version-check"]
    command([*pip, "--no-cache-dir", uwsgi])
    command([*pip, "-r", LOCK])
    command([VENV_BIN / "pip", "check"])
    link_modules(VENV, ("rbd.cpython-*.so", "rados.cpython-*.so"))
    STAMP.write_text(lock_hash())


def link_modules(environment: Path, patterns: Sequence[str]) -> None:
    """Lend an environment just these of Debian's Python modules."""
    site = next((environment / "lib").glob("python3*")) / "site-packages"
    for pattern in patterns:
        module = next(DEBIAN_MODULES.glob(pattern))
        (site / module.name).symlink_to(module)
    names = ", ".join(pattern.partition(".")[0] for pattern in patterns)
    command([environment / "bin" / "python", "-c", f"import {names}"])


def command(words: Sequence[object], environment: dict[str, str] | None = None) -> None:
    if subprocess.run([str(word) for word in words], env=environment, check=False).returncode:
        raise LabError(f"install: `{' '.join(map(str, words))}` failed; its output is above")
