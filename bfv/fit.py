# SPDX-License-Identifier: Apache-2.0
"""Which hosts of a cell can take a server, and why the others cannot. Pure.

What a host has left is what its cell's database says, less what was promised to servers that it does not know yet.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cells.hosts import is_up
from cells.types import Host

NAMED = 3


@dataclass(frozen=True)
class Size:
    """What one server or several take of a host: ``memory_mb`` in MiB, ``disk_gb`` in GiB of the host's own disks.

    A root or another disk that is a volume takes none of ``disk_gb``.
    """

    vcpus: int = 0
    memory_mb: int = 0
    disk_gb: int = 0


NOTHING = Size()


@dataclass(frozen=True)
class Placing:
    """What the operator configured about hosts; ``down_after`` in seconds.

    The ratios are for hosts that report none (``nova/objects/compute_node.py:ComputeNode._from_db_object``).
    What a host keeps for itself is in what it reports as used
    (``nova/compute/resource_tracker.py:_update_usage_from_instances``), so there is no option for it here.
    """

    cpu_allocation_ratio: float = 4.0
    ram_allocation_ratio: float = 1.0
    disk_allocation_ratio: float = 1.0
    default_availability_zone: str = "nova"
    cross_az_attach: bool = True
    down_after: float = 60.0


@dataclass(frozen=True)
class Needs:
    """What a server needs of its host. ``only`` None lets it be any but those of ``never`` (a server group's rule).

    ``volume_zone`` is the zone of its volumes, if the host must be in the same.
    """

    size: Size = NOTHING
    availability_zone: str | None = None
    volume_zone: str | None = None
    only: frozenset[str] | None = None
    never: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Fit:
    """The hosts of a cell that can take a server, the one with most left first, and for each reason who cannot.

    ``free_mb`` is the memory in MiB that all of the former have left together.
    """

    hosts: tuple[str, ...] = ()
    free_mb: int = 0
    left_out: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def tell(self, *, names: bool = False) -> str:
        """Return who cannot and why, in a few words: ``2 full, 1 disabled``; ``names`` adds some of their names."""
        return ", ".join(
            f"{len(hosts)} {reason}{f' ({_some(hosts)})' if names else ''}" for reason, hosts in self.left_out.items()
        )


def fit(hosts: Iterable[Host], needs: Needs, zones: Mapping[str, str], claimed: Mapping[str, Size], placing: Placing,
        now: dt.datetime) -> Fit:  # fmt: skip
    """Sort the hosts of a cell by whether they can take a server.

    ``zones`` has the zone of each host that is in one, ``claimed`` what was promised on each host and is not yet in
    its ``used``, ``now`` is naive UTC. The most free memory is best (nova/scheduler/weights/ram.py), then vcpus.
    """
    able: dict[str, Size] = {}
    left_out: dict[str, list[str]] = {}
    for host in hosts:
        left = free(host, claimed.get(host.host, NOTHING), placing)
        zone = zones.get(host.host, placing.default_availability_zone)
        reason = _unusable(host, now, placing) or _unwanted(host, zone, needs) or _too_small(host, left, needs.size)
        if reason:
            left_out.setdefault(reason, []).append(host.host)
        else:
            able[host.host] = left
    best = sorted(able, key=lambda name: (-able[name].memory_mb, -able[name].vcpus, name))
    return Fit(tuple(best), sum(left.memory_mb for left in able.values()), left_out)


def free(host: Host, claimed: Size, placing: Placing) -> Size:
    """Return what a host has left; below zero where it is overcommitted already."""
    return Size(
        int(host.vcpus * (host.cpu_allocation_ratio or placing.cpu_allocation_ratio))
        - host.vcpus_used - claimed.vcpus,
        int(host.memory_mb * (host.ram_allocation_ratio or placing.ram_allocation_ratio))
        - host.memory_mb_used - claimed.memory_mb,
        int(host.local_gb * (host.disk_allocation_ratio or placing.disk_allocation_ratio))
        - host.local_gb_used - claimed.disk_gb,
    )  # fmt: skip


def _unusable(host: Host, now: dt.datetime, placing: Placing) -> str | None:
    if host.disabled:
        return "disabled"
    if host.forced_down:
        return "forced down"
    return None if is_up(host, now, placing.down_after) else "not reporting"


def _unwanted(host: Host, zone: str, needs: Needs) -> str | None:
    if needs.availability_zone and zone != needs.availability_zone:
        return "in another availability zone"
    if needs.volume_zone and zone != needs.volume_zone:
        return f"not in zone {needs.volume_zone} of the volumes"
    if host.host in needs.never or (needs.only is not None and host.host not in needs.only):
        return "against the rule of the server group"
    return None


def _too_small(host: Host, left: Size, size: Size) -> str | None:
    # A server never overcommits against itself (nova/virt/libvirt/driver.py:update_provider_tree, max_unit). Who asks
    # for none of a thing is no matter to a host that has less than none of it.
    if size.vcpus and size.vcpus > min(host.vcpus, left.vcpus):
        return "without enough vcpus"
    if size.memory_mb and size.memory_mb > min(host.memory_mb, left.memory_mb):
        return "without enough memory"
    if size.disk_gb and size.disk_gb > min(host.local_gb, left.disk_gb):
        return "without enough disk"
    return None


def _some(names: Sequence[str]) -> str:
    shown = sorted(set(names))
    return ", ".join(shown[:NAMED]) + (", ..." if len(shown) > NAMED else "")
