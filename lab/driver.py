# SPDX-License-Identifier: Apache-2.0
"""The order of things: which step of `up` needs which, and the way back down."""

import contextlib
import fcntl
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_futures
from dataclasses import dataclass
from functools import partial
from graphlib import TopologicalSorter

from lab import backing, ceph, cloud, extras, identity, install, process, ready, realnova, report
from lab.process import Service
from lab.settings import CELLS, DATA, LAB, MARK, LabError, claim_directory

CEPH = {cell.name: ceph.services(cell) for cell in CELLS}
MONS, MGRS, OSDS = ([kinds[place] for kinds in CEPH.values()] for place in range(3))
# Who leaves together, in order: clients before what they talk to, OSDs before their monitor.
DOWN: tuple[Sequence[Service], ...] = (
    (
        *cloud.CINDER_VOLUMES,
        cloud.CINDER_SCHEDULER,
        cloud.CINDER_API,
        cloud.GLANCE,
        cloud.KEYSTONE,
        cloud.NOVASTUB,
    ),
    (backing.MEMCACHED, backing.RABBITMQ, backing.MARIADB, backing.POSTGRESQL, *OSDS, *MGRS),
    MONS,
)
SERVICES = {service.name: service for group in reversed(DOWN) for service in group}


@dataclass(frozen=True)
class Step:
    """One part of `up` and the parts that must be done before it."""

    name: str
    work: Callable[[], None]
    needs: tuple[str, ...] = ()


def started(service: Service) -> Callable[[], None]:
    def work() -> None:
        process.start(service)
        process.wait(service)

    return work


CLUSTERS = tuple(f"ceph {cell.name}" for cell in CELLS)
STEPS = (
    *(Step(f"ceph {cell.name}", partial(ceph.up, cell)) for cell in CELLS),
    Step("mariadb", backing.up_mariadb),
    Step("postgresql", backing.up_postgresql),
    Step("rabbitmq", backing.up_rabbitmq),
    Step("memcached", backing.up_memcached),
    Step("novastub", started(cloud.NOVASTUB)),
    Step("keystone schema", cloud.keystone_schema, ("mariadb",)),
    Step("glance schema", cloud.glance_schema, ("mariadb",)),
    Step("cinder schema", cloud.cinder_schema, ("mariadb",)),
    Step("keystone bootstrap", cloud.keystone_bootstrap, ("keystone schema",)),
    Step("keystone", started(cloud.KEYSTONE), ("keystone schema", "memcached")),
    Step("identities", identity.up, ("keystone", "keystone bootstrap")),
    Step("glance", started(cloud.GLANCE), ("glance schema", "memcached", *CLUSTERS)),
    Step("cinder-api", started(cloud.CINDER_API), ("cinder schema", "rabbitmq", "memcached")),
    Step("cinder-scheduler", partial(process.start, cloud.CINDER_SCHEDULER), ("cinder schema", "rabbitmq")),
    Step("cinder-volume", cloud.up_cinder_volume, ("cinder schema", "rabbitmq", "identities", *CLUSTERS)),
    Step("volume types", ready.make_volume_types, ("cinder-api", "identities")),
    Step("a user's token and image list", ready.check_user, ("identities", "glance")),
    Step("cinder serves", cloud.wait_cinder, ("volume types", "cinder-scheduler", "cinder-volume")),
)


def up() -> None:
    """Bring the whole lab up from whatever is there: nothing, data, or the rest of a crash."""
    if os.geteuid():
        raise LabError("the lab needs root: Ceph's and MariaDB's files, and a mount namespace")
    claim_directory()
    if not install.is_ready():
        raise LabError("the environment is not made: run `python3 -m lab install` first")
    began = time.monotonic()
    with alone():
        end_strays()
        cloud.configure()
        run_steps(STEPS)
        report.write_all()
    say(began, "the lab is up")


def run_steps(steps: Sequence[Step]) -> None:
    """Run each step as soon as its needs are done; on a failure, start no more and name all that failed."""
    began = time.monotonic()
    work = {step.name: step.work for step in steps}
    order = TopologicalSorter({step.name: step.needs for step in steps})
    order.prepare()
    running: dict[Future[None], str] = {}
    failures: list[str] = []
    with ThreadPoolExecutor(max(1, len(steps))) as pool:
        while running or (order.is_active() and not failures):
            if not failures:
                running |= {pool.submit(work[name]): name for name in order.get_ready()}
            for future in wait_futures(running, return_when=FIRST_COMPLETED).done:
                name = running.pop(future)
                if error := future.exception():
                    failures.append(str(error) if isinstance(error, LabError) else f"{name}: {error!r}")
                else:
                    say(began, name)
                    order.done(name)
    if failures:
        raise LabError("\n".join(failures))


def down() -> None:
    if not MARK.exists():
        raise LabError(f"{LAB} is not a lab")
    began = time.monotonic()
    with alone():
        realnova.down()
        for group in (extras.SERVICES, *DOWN):
            run_steps(
                [
                    Step(service.name, partial(process.stop, service))
                    for service in group
                    if process.main_pid(service) or process.members(service.name)
                ]
            )
        end_strays()
    say(began, "the lab is down")


def nova_up() -> None:
    """Bring a nova that runs guests up on a lab that is up."""
    began = time.monotonic()
    with alone():
        realnova.install_all()
        realnova.up()
    say(began, "nova is up")


def nova_down() -> None:
    began = time.monotonic()
    with alone():
        realnova.down()
    say(began, "nova is down")


def extra(up: bool, backend: extras.Extra) -> None:
    """Add a backend to a lab that is up, or remove one; one that did not come up is removed."""
    began = time.monotonic()
    with alone():
        if up:
            try:
                extras.up(backend)
            except BaseException:
                extras.down(backend)
                raise
        else:
            extras.down(backend)
    say(began, f"{backend.name} is {'up' if up else 'gone'}")


def wipe() -> None:
    """Down, then remove all data; the environment stays."""
    down()
    for name in DATA:
        path = LAB / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    print("data removed")


def status() -> bool:
    """Print one line for each service; return whether all of them run and serve."""
    good = True
    for service in SERVICES.values():
        pid = process.main_pid(service)
        state = "down"
        if pid:
            reason = process.obstacle(service)
            state = f"runs, but: {reason.splitlines()[0]}" if reason else "serves"
        elif process.members(service.name):
            state = "died, and left workers behind"
        good = good and state == "serves"
        print(f"{service.name:18} {pid or '-':>8}  {state}")
    return good


def end_strays() -> None:
    """End processes of this lab that no service owns: one-time commands of a killed driver."""
    known = {*SERVICES, *(service.name for service in (*realnova.SERVICES, *extras.SERVICES))}
    process.end_all(
        lambda: [pid for pid, name in process.marked().items() if name not in known],
        signal.SIGTERM,
        5,
    )


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Two drivers at once would start everything twice."""
    LAB.mkdir(parents=True, exist_ok=True)
    with (LAB / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise LabError("another `python3 -m lab` is at work here") from None
        yield


def say(began: float, text: str) -> None:
    print(f"{time.monotonic() - began:6.1f} s  {text}", flush=True)
