# SPDX-License-Identifier: Apache-2.0
"""All options, in one place, and the small values that the flows take from them.

Configuration is an argument and never a global: ``load`` makes a ``ConfigOpts``, ``settings`` turns it
into frozen values. ``etc/bfv.conf.sample`` and ``docs/configuration.md`` are generated from these tables.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from keystoneauth1 import loading
from oslo_config import cfg, types

from bfv.decide import Rules
from bfv.drivers import example
from bfv.errors import BadConfig
from bfv.fit import Placing
from cells.limits import DEFAULTS
from imagebackends.http import Settings as StorageSettings
from imagebackends.types import Ceph, Target

HANDLING = ["driver", "volume", "refuse"]

DEFAULT_OPTS: list[cfg.Opt] = [
    cfg.ListOpt(
        "cells",
        default=[],
        help="Names of the cells, in the order in which they are preferred among "
        "equals. Each has a section [cell:NAME] here and a cell mapping in the API database.",
    ),
]
DATABASE_OPTS = [
    cfg.StrOpt("api_connection", secret=True, help="SQLAlchemy URL of the API database (nova's schema)."),
    cfg.StrOpt("connection", secret=True, help="SQLAlchemy URL of bfv's own database, which holds the journal."),
    cfg.FloatOpt("connect_timeout", default=5.0, min=0.1, help="Seconds that a connect to a database may take."),
    cfg.FloatOpt("statement_timeout", default=30.0, min=0.1, help="Seconds that one statement may take."),
    cfg.IntOpt(
        "pool_size", default=5, min=1, help="Connections kept for each database and process; mysqlclient: twice."
    ),
    cfg.BoolOpt(
        "sqlite_durable",
        default=True,
        help="Bring each commit to the disk before it counts, where a database is SQLite. False is for clouds that are "
        "lost with their machine anyway, like that of `bfv demo`: a killed process still loses nothing, but after a "
        "power cut the journal does not know what was asked for.",
    ),
    cfg.FloatOpt(
        "cell_timeout",
        default=5.0,
        min=0.1,
        help="Seconds that a request waits for the cells that it asks, all together; it goes on without those that "
        "have not answered. These are down then, and cost later requests nothing, until a probe finds them again.",
    ),
    cfg.IntOpt(
        "cell_threads",
        default=4,
        min=1,
        help="Requests that ask one cell at once, in one process. A cell that hangs holds these and no others.",
    ),
    cfg.IntOpt(
        "cell_failures",
        default=3,
        min=1,
        help="Quick failures in a row after which a cell is down. One that took cell_slow seconds is enough by itself.",
    ),
    cfg.FloatOpt("cell_slow", default=1.0, min=0.01, help="Seconds from which on an answer of a cell is a slow one."),
    cfg.FloatOpt(
        "probe_interval",
        default=1.0,
        min=0.01,
        help="Seconds between the first two probes of a cell that is down. Doubles up to probe_interval_max.",
    ),
    cfg.FloatOpt(
        "probe_interval_max",
        default=30.0,
        min=0.01,
        help="Longest time in seconds between two probes: so long it takes at most until a cell is used again.",
    ),
]
STORAGE_OPTS = [
    cfg.StrOpt("region_name", help="Region of the services in the catalog."),
    cfg.StrOpt("interface", default="public", choices=["public", "internal", "admin"], help="Catalog interface."),
    cfg.StrOpt("volume_endpoint", help="URL of cinder instead of the catalog's. May hold %(project_id)s."),
    cfg.StrOpt("image_endpoint", help="URL of glance instead of the catalog's."),
    cfg.FloatOpt("connect_timeout", default=5.0, min=0.1, help="Seconds that a connect to a service may take."),
    cfg.FloatOpt("read_timeout", default=60.0, min=0.1, help="Seconds that an answer may take."),
    cfg.IntOpt(
        "read_retries",
        default=2,
        min=0,
        help="How often a read is repeated. What changes something is never repeated blindly.",
    ),
    cfg.IntOpt("pool_size", default=64, min=1, help="Connections kept to each service."),
    cfg.StrOpt("cafile", help="CA bundle for TLS."),
    cfg.BoolOpt("insecure", default=False, help="Do not verify TLS certificates. For tests only."),
    cfg.StrOpt(
        "ceph_python",
        help="Folder of the distribution's python3-rbd (modules rados and rbd) when Python itself has none; "
        "unset: Debian's. Read only where a cell has a ceph_conf.",
    ),
]
BOOT_OPTS = [
    cfg.StrOpt(
        "root",
        default="volume",
        choices=["volume", "local"],
        help="What a root disk is where no other rule says: a volume, or a disk that the compute host makes.",
    ),
    cfg.DictOpt("root_by_project", default={}, help="Project id to volume or local."),
    cfg.IntOpt("min_volume_size", default=1, min=1, help="Smallest automatic root volume, in GiB."),
    cfg.StrOpt(
        "ephemeral",
        default="driver",
        choices=HANDLING,
        help="Who makes the flavor's ephemeral disk: the "
        "compute host's driver, cinder as a blank volume, or nobody: the boot is refused.",
    ),
    cfg.StrOpt("swap", default="driver", choices=HANDLING, help="The same for the flavor's swap disk."),
    cfg.StrOpt("config_drive", default="driver", choices=["driver", "refuse"], help="The same for a config drive."),
    cfg.FloatOpt(
        "volume_timeout",
        default=300.0,
        min=0.1,
        help="Seconds that a volume may take to be made, before volume_timeout_per_gib.",
    ),
    cfg.FloatOpt(
        "volume_timeout_per_gib",
        default=20.0,
        min=0.0,
        help="Further seconds for each GiB of the image, which cinder may have to download and convert.",
    ),
    cfg.FloatOpt("delete_timeout", default=300.0, min=0.1, help="Seconds that a volume may take to be removed."),
    cfg.FloatOpt(
        "late_answer",
        default=90.0,
        min=0.0,
        help="Seconds after which a request whose answer was lost "
        "can no longer take effect: the longest time-out of cinder's API and of load balancers before it.",
    ),
    cfg.FloatOpt("clock_skew", default=60.0, min=0.0, help="Seconds by which the services' clocks may differ."),
    cfg.FloatOpt(
        "poll_interval",
        default=0.1,
        min=0.01,
        help="Seconds between two looks at a volume that was just "
        "asked for. Grows to poll_interval_max; one look serves all that wait.",
    ),
    cfg.FloatOpt("poll_interval_max", default=2.0, min=0.01, help="Longest time in seconds between two looks."),
]
IMAGES_OPTS: list[cfg.Opt] = [
    cfg.ListOpt(
        "sources",
        item_type=types.String(choices=["glance", "snapshot", "cache"]),
        default=["glance", "snapshot", "cache"],
        help="What a warm-up may make, the first that a cell allows: glance, a copy in the cell's own store of Glance; "
        "snapshot, one snapshot of ours of which volumes of all projects are cloned; cache, cinder's image-volume.",
    ),
    cfg.BoolOpt(
        "warm_on_boot",
        default=True,
        help="Let the first boot of an image in a cold cell warm it, and all others wait for that: one download for a "
        "storm. When off, boots only join a warm-up that runs.",
    ),
    cfg.ListOpt(
        "keep",
        default=[],
        help="Images that are kept warm, in every cell or in one that stands before: id:UUID, name:PATTERN, "
        "property:NAME=VALUE, cell1/name:debian-*.",
    ),
    cfg.FloatOpt("keep_interval", default=300.0, min=1.0, help="Seconds between two looks of `bfv serve` at these."),
    cfg.IntOpt("parallel", default=4, min=1, help="Places in which one command warms an image at once."),
    cfg.IntOpt(
        "parallel_per_cell",
        default=4,
        min=1,
        help="Warm-ups that a process runs at once in one cell, those of boots too; others wait for their turn.",
    ),
    cfg.StrOpt(
        "cache_project",
        help="cinder_internal_tenant_project_id of cinder.conf. With it a warm-up deletes an image-volume that cinder "
        "cannot clone, so that cinder makes a new one; without it such a one is told, and nothing is deleted.",
    ),
    cfg.StrOpt(
        "notifications",
        secret=True,
        help="oslo.messaging URL of the bus on which cinder and Glance send notifications, "
        "rabbit://user:password@host; `bfv serve` then learns from them. Needs bfv[notifications]. Unset: it is off.",
    ),
    cfg.ListOpt("notification_topics", default=["notifications"], help="Topics that are listened to on that bus."),
    cfg.ListOpt(
        "notification_exchanges", default=["openstack", "glance"], help="control_exchange of cinder and Glance."
    ),
    cfg.StrOpt(
        "notification_pool",
        default="bfv",
        help="All processes of bfv share one queue of this name, and take no message from other listeners.",
    ),
    cfg.FloatOpt(
        "places_fresh",
        default=300.0,
        min=0.0,
        help="Seconds for which what cinder and Glance tell of their pools, types and stores is used again.",
    ),
]
ENGINE_OPTS = [
    cfg.IntOpt("workers_per_cell", default=32, min=1, help="Flows that run at once for one cell in this process."),
    cfg.FloatOpt(
        "lease",
        default=60.0,
        min=1.0,
        help="Seconds without a heartbeat after which another process may take a flow over.",
    ),
    cfg.FloatOpt("ask_again", default=2.0, min=0.01, help="Seconds before a flow whose outcome is unknown asks again."),
    cfg.FloatOpt(
        "give_up",
        default=300.0,
        min=0.0,
        help="Seconds after which a flow of unknown outcome is left to `bfv repair`.",
    ),
]
COMPUTE_OPTS = [
    cfg.StrOpt(
        "driver",
        help="Compute driver that runs the servers, by its entry point in bfv.drivers; it has a section of its own. "
        "Unset: servers end as ready to connect, and whoever runs them connects.",
    ),
    cfg.FloatOpt(
        "report_interval",
        default=10.0,
        min=0.1,
        help="Seconds between two reports of the driver's hosts: nova's option of this name. Keep service_down_time "
        "some times longer.",
    ),
]
SCHEDULER_OPTS = [
    cfg.StrOpt(
        "default_availability_zone",
        default="nova",
        help="Availability zone of hosts that no aggregate puts in one: nova's option of this name.",
    ),
    cfg.FloatOpt(
        "initial_cpu_allocation_ratio",
        default=4.0,
        min=0.01,
        help="Virtual CPUs for each CPU of a host that reports no ratio of its own. Nova's defaults here and below.",
    ),
    cfg.FloatOpt("initial_ram_allocation_ratio", default=1.0, min=0.01, help="The same for memory."),
    cfg.FloatOpt("initial_disk_allocation_ratio", default=1.0, min=0.01, help="The same for a host's own disks."),
    cfg.FloatOpt(
        "service_down_time",
        default=60.0,
        min=1.0,
        help="Seconds without a report after which a host gets no servers: nova's option of this name.",
    ),
    cfg.FloatOpt(
        "hosts_fresh",
        default=3.0,
        min=0.0,
        help="Seconds for which what cells tell of their hosts is used again, so that many boots at once ask each cell "
        "once. What was promised meanwhile is counted always.",
    ),
]
PLACEMENT_OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "endpoint_override",
        help="URL of nova's placement service instead of the catalog's: nova's option of this name. Where neither has "
        "one, no allocations are written.",
    ),
]
CINDER_OPTS: list[cfg.Opt] = [
    cfg.BoolOpt(
        "cross_az_attach",
        default=True,
        help="Let servers have volumes of other availability zones: nova's option of this name. When off, a server "
        "goes only to a host whose zone is that of its volumes, and this is decided before it has a cell.",
    ),
]
MIGRATE_OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "guests",
        default="none",
        choices=["none", "nova"],
        help="Who switches guests off and on, and locks them, while their disks become volumes, where no compute "
        "driver of ours runs them. none: only servers that are off are converted; lock and start them yourself.",
    ),
    cfg.StrOpt(
        "adopt",
        default="manage",
        choices=["manage", "placeholder"],
        help="How a disk becomes cinder's. manage: cinder manages it, which needs an administrator's right in cinder. "
        "placeholder: cinder makes an empty volume for the owner while the server still runs, and the disk takes the "
        "place of its image, which needs none and leaves no call to cinder for the time off.",
    ),
    cfg.StrOpt("compute_endpoint", help="URL of nova's API instead of the catalog's."),
    cfg.FloatOpt("guest_timeout", default=300.0, min=1.0, help="Seconds that a guest may take to stop or to start."),
    cfg.IntOpt("slots", default=2, min=1, help="Disks that are copied, flattened or compared at once in each cluster."),
    cfg.FloatOpt(
        "health_timeout",
        default=3600.0,
        min=0.0,
        help="Seconds that copying waits for a cluster whose health is HEALTH_ERR, or that recovers, before it is left "
        "to the next run.",
    ),
]
QUOTA_OPTS: list[cfg.Opt] = [
    *(
        cfg.IntOpt(
            "injected_file_path_length" if name == "injected_file_path_bytes" else name,
            default=value,
            min=-1,
            help=f"{what}, where no limit is set; -1 is none. Nova's option of this name.",
        )
        for (name, value), what in zip(
            DEFAULTS.items(),
            (
                "Servers of a project",
                "Virtual CPUs of a project",
                "Memory of a project, in MiB",
                "Metadata items of a server",
                "Injected files of a server",
                "Bytes of an injected file",
                "Length of an injected file's path",
                "Key pairs of a user",
                "Server groups of a project",
                "Servers of a user in a server group",
            ),
            strict=True,
        )
    ),
    cfg.StrOpt(
        "down_cell",
        default="block",
        choices=["block", "api"],
        help="What happens to boots of a project that has servers in a cell that does not answer. block: they are "
        "refused, for what the project uses is not known. api: these servers count as they were asked for, which is "
        "exact but for servers of nova that are being resized or whose deletion failed.",
    ),
    cfg.ListOpt(
        "cell_down_roles",
        default=["admin"],
        help="Who has one of these roles is let through where block would refuse, and counts as with api.",
    ),
]
API_OPTS: list[cfg.Opt] = [
    cfg.StrOpt("host", default="127.0.0.1", help="Address that `bfv serve` listens on."),
    cfg.PortOpt("port", default=8774, help="Port that it listens on; 0 takes a free one."),
    cfg.IntOpt("threads", default=32, min=1, help="Requests that are answered at once."),
    cfg.StrOpt(
        "certificate",
        help="File with the certificate, and those that lead to its root, in PEM: `bfv serve` then speaks TLS alone.",
    ),
    cfg.StrOpt("private_key", help="File with the key of certificate. Unset: it is in that file, too."),
    cfg.StrOpt("public_endpoint", help="URL before /v2.1 in links, where clients come through a proxy; else theirs."),
    cfg.IntOpt("max_limit", default=1000, min=1, max=1000, help="Most servers or flavors in one page."),
    cfg.FloatOpt(
        "resume_interval",
        default=30.0,
        min=0.1,
        help="Seconds between two looks for what ended workers left open; this process goes on with it.",
    ),
    cfg.FloatOpt("stop_timeout", default=60.0, min=0.0, help="Seconds that requests, then flows, have at SIGTERM."),
]
CELL_OPTS = [
    cfg.StrOpt("availability_zone", help="Cinder availability zone of this cell's storage."),
    cfg.StrOpt("volume_type", help="Cinder volume type that leads to this cell's storage."),
    cfg.StrOpt(
        "backend",
        help="Where a volume must land: host@backend#pool, or cluster@backend#pool where volume services are "
        "active-active. Not checked when unset.",
    ),
    cfg.DictOpt(
        "tiers",
        default={},
        help="Further tiers that users may ask for, with their volume type in this "
        "cell: fast:cell1-fast,slow:cell1-slow.",
    ),
    cfg.DictOpt(
        "tier_backends",
        default={},
        help="Where volumes of these tiers must land, when elsewhere than backend: fast:host@fast#pool.",
    ),
    cfg.StrOpt("root", choices=["volume", "local"], help="What a root disk is in this cell."),
    cfg.StrOpt(
        "ceph_conf",
        help="This cell's ceph.conf, for what calls Ceph itself: the deprecated image backend rbd. "
        "Unset: it is off here.",
    ),
    cfg.StrOpt("ceph_user", default="nova", help="cephx user for it, without the leading client."),
    cfg.FloatOpt(
        "ceph_timeout",
        default=30.0,
        min=1.0,
        help="Seconds that one call to it may take, after at most 5 for connecting; then this cell's storage is down.",
    ),
    cfg.StrOpt("nova_pool", default="vms", help="Pool of nova's local disks (images_rbd_pool)."),
    cfg.StrOpt(
        "glance_pool",
        help="Pool of Glance's store on this cluster, looked into for an image whose locations Glance does not tell.",
    ),
    cfg.StrOpt("libvirt_secret", help="uuid of the libvirt secret of that user (rbd_secret_uuid). Unset: the fsid."),
]
GROUPS: dict[str | None, list[cfg.Opt]] = {
    None: DEFAULT_OPTS,
    "database": DATABASE_OPTS,
    "storage": STORAGE_OPTS,
    "boot": BOOT_OPTS,
    "images": IMAGES_OPTS,
    "engine": ENGINE_OPTS,
    "compute": COMPUTE_OPTS,
    "scheduler": SCHEDULER_OPTS,
    "cinder": CINDER_OPTS,
    "placement": PLACEMENT_OPTS,
    "migrate": MIGRATE_OPTS,
    "quota": QUOTA_OPTS,
    "api": API_OPTS,
}
SERVICE_GROUP = "service_user"


@dataclass(frozen=True)
class Timing:
    """Deadlines and intervals of the flows, all in seconds."""

    volume: float
    volume_per_gib: float
    delete: float
    late_answer: float
    clock_skew: float
    poll: float
    poll_max: float
    ask_again: float
    give_up: float


@dataclass(frozen=True)
class Quota:
    """The limits of projects that have none of their own, by resource, and what holds while a cell is down."""

    limits: Mapping[str, int]
    down_cell: str = "block"
    cell_down_roles: frozenset[str] = frozenset({"admin"})


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Return all options by group, for oslo.config's generators."""
    groups = [(name or "DEFAULT", list(opts)) for name, opts in GROUPS.items()]
    auth = loading.get_auth_common_conf_options() + loading.get_auth_plugin_conf_options("v3password")
    return [*groups, *example.list_opts(), (SERVICE_GROUP, auth), ("cell:NAME", list(CELL_OPTS))]


def load(path: str | Path | None = None) -> cfg.ConfigOpts:
    """Read a configuration file. Raises BadConfig that names what is wrong."""
    conf = cfg.ConfigOpts()
    files = [str(path)] if path else cfg.find_config_files("bfv")
    try:
        conf([], project="bfv", default_config_files=files)
        for group, opts in GROUPS.items():
            conf.register_opts(copy.deepcopy(opts), group=group)
        loading.register_auth_conf_options(conf, SERVICE_GROUP)
        for name in conf.cells:
            conf.register_opts(copy.deepcopy(CELL_OPTS), group=f"cell:{name}")
        for group in (*GROUPS, *(f"cell:{name}" for name in conf.cells)):
            _touch(conf, group)
    except (cfg.Error, ValueError) as error:
        raise BadConfig(f"{', '.join(files) or 'no configuration file'}: {error}") from error
    return conf


def _touch(conf: cfg.ConfigOpts, group: str | None) -> None:
    """Read every option once, so that a bad value is found at the start and not in the middle of a flow."""
    opts = CELL_OPTS if group and group.startswith("cell:") else GROUPS[group]
    for opt in opts:
        getattr(conf[group] if group else conf, opt.name)


def required(conf: cfg.ConfigOpts, group: str, name: str) -> str:
    """Return a string option that must be set. Raises BadConfig."""
    value = conf[group][name]
    if not value:
        raise BadConfig(f"Set [{group}] {name} in the configuration file.")
    return str(value)


def rules(conf: cfg.ConfigOpts) -> Rules:
    """Return the operator's rules for the decision."""
    boot = conf.boot
    by_cell = {name: conf[f"cell:{name}"].root for name in conf.cells if conf[f"cell:{name}"].root}
    return Rules(
        default=boot.root,
        by_project=dict(boot.root_by_project),
        by_cell=by_cell,
        min_size=boot.min_volume_size,
        ephemeral=boot.ephemeral,
        swap=boot.swap,
        config_drive=boot.config_drive,
    )


def placing(conf: cfg.ConfigOpts) -> Placing:
    """Return the operator's rules for the choice of a host."""
    scheduler = conf.scheduler
    return Placing(
        cpu_allocation_ratio=scheduler.initial_cpu_allocation_ratio,
        ram_allocation_ratio=scheduler.initial_ram_allocation_ratio,
        disk_allocation_ratio=scheduler.initial_disk_allocation_ratio,
        default_availability_zone=scheduler.default_availability_zone,
        cross_az_attach=conf.cinder.cross_az_attach,
        down_after=scheduler.service_down_time,
    )


def quota(conf: cfg.ConfigOpts) -> Quota:
    """Return the operator's limits."""
    names = [opt.dest for opt in QUOTA_OPTS]
    limits = {name: conf.quota[option] for name, option in zip(DEFAULTS, names, strict=False)}
    return Quota(limits, conf.quota.down_cell, frozenset(conf.quota.cell_down_roles))


def targets(conf: cfg.ConfigOpts) -> Sequence[Target]:
    """Return where disks go, for each cell and tier, in configured order. Raises BadConfig."""
    found = []
    for name in conf.cells:
        cell = conf[f"cell:{name}"]
        if not (cell.volume_type or cell.availability_zone):
            raise BadConfig(
                f"[cell:{name}] needs a volume_type or an availability_zone: nothing else leads a volume "
                "to this cell's storage."
            )
        found.append(Target(name, "default", cell.volume_type, cell.availability_zone, cell.backend))
        found += [
            Target(name, tier, volume_type, cell.availability_zone, cell.tier_backends.get(tier, cell.backend))
            for tier, volume_type in cell.tiers.items()
        ]
    return tuple(found)


def storage(conf: cfg.ConfigOpts) -> StorageSettings:
    """Return what the storage floor needs to reach its services."""
    return StorageSettings(**{opt.name: conf.storage[opt.name] for opt in STORAGE_OPTS}, ceph=_ceph(conf))


def _ceph(conf: cfg.ConfigOpts) -> dict[str, Ceph]:
    """Return the clusters of those cells that name one."""
    named = ((name, conf[f"cell:{name}"]) for name in conf.cells)
    return {
        name: Ceph(
            cell.ceph_conf,
            cell.ceph_user,
            cell.nova_pool,
            cell.glance_pool,
            cell.libvirt_secret,
            timeout=cell.ceph_timeout,
        )
        for name, cell in named
        if cell.ceph_conf
    }


def timing(conf: cfg.ConfigOpts) -> Timing:
    """Return the deadlines and intervals."""
    boot = conf.boot
    return Timing(
        volume=boot.volume_timeout,
        volume_per_gib=boot.volume_timeout_per_gib,
        delete=boot.delete_timeout,
        late_answer=boot.late_answer,
        clock_skew=boot.clock_skew,
        poll=boot.poll_interval,
        poll_max=boot.poll_interval_max,
        ask_again=conf.engine.ask_again,
        give_up=conf.engine.give_up,
    )
