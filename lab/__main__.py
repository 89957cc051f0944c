# SPDX-License-Identifier: Apache-2.0
"""The command line of the lab: ``python3 -m lab up`` and its neighbours."""

import argparse
import signal
import sys
import time
from collections.abc import Callable

from lab import ceph, driver, extras, install, nova, process, report
from lab.process import Service
from lab.settings import CELLS, LabError

COMMANDS = {
    "install": "Debian packages and the Python environment of the services",
    "up": "start everything, from nothing or from data; repairs what a crash left",
    "down": "stop everything, in reverse order",
    "wipe": "down, and remove all data but the Python environment",
    "status": "one line for each service; exit 1 unless all serve",
    "env": "print KEY=VALUE lines, and write clouds.yaml and lab.env",
    "nova-up": "install and start a real nova with placement and libvirt on a lab that is up",
    "nova-down": "end it with all its guests; its databases stay",
    "test-env": "the same as `export` lines, for eval in a shell",
}
FAULTS = {
    "start": "start one service and wait until it serves",
    "stop": "stop one service as `down` would",
    "kill": "SIGKILL one service and its workers",
    "pause": "SIGSTOP one service and its workers",
    "resume": "SIGCONT them",
}
BACKENDS = {
    "backend-up": "start one more backend on a lab that is up: one without a cache, or two services without a lock",
    "backend-down": "remove it with its volumes, services and type",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in COMMANDS.items():
        commands.add_parser(name, help=text)
    for name, text in FAULTS.items():
        fault = commands.add_parser(name, help=text)
        fault.add_argument(
            "service", choices=sorted(driver.SERVICES), metavar="SERVICE", help=", ".join(driver.SERVICES)
        )
    for name, text in BACKENDS.items():
        backend = commands.add_parser(name, help=text)
        backend.add_argument("backend", choices=sorted(extras.EXTRAS), metavar="BACKEND", help=", ".join(extras.EXTRAS))
    installs = commands.add_parser("nova-install", help="a real nova from the package index, for tests and benchmarks")
    installs.add_argument("release", nargs="?", default=nova.NEWEST, choices=nova.RELEASES)
    arguments = parser.parse_args()
    try:
        if arguments.command == "nova-install":
            nova.install(arguments.release)
            return 0
        if arguments.command in BACKENDS:
            driver.extra(arguments.command == "backend-up", extras.EXTRAS[arguments.backend])
            return 0
        if arguments.command in FAULTS:
            return inject(arguments.command, driver.SERVICES[arguments.service])
        return run_command(arguments.command)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1


def run_command(name: str) -> int:
    if name == "status":
        return 0 if driver.status() else 1
    if name in ("env", "test-env"):
        text = report.lines() if name == "env" else report.exports()
        report.write_all()
        print(text, end="")
        return 0
    actions: dict[str, Callable[[], None]] = {
        "install": install.install,
        "up": driver.up,
        "down": driver.down,
        "wipe": driver.wipe,
        "nova-up": driver.nova_up,
        "nova-down": driver.nova_down,
    }
    actions[name]()
    return 0


def inject(fault: str, service: Service) -> int:
    began = time.monotonic()
    if fault == "start":
        process.start(service)
        process.wait(service)
    elif fault == "stop":
        process.stop(service)
    elif fault == "kill":
        process.kill(service)
    else:
        process.send(service, signal.SIGSTOP if fault == "pause" else signal.SIGCONT)
        for cell in CELLS:
            if fault == "resume" and service.name == f"ceph-osd-{cell.name}":
                ceph.rejoin(cell)
    driver.say(began, f"{fault} {service.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
