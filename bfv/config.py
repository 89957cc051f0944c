# SPDX-License-Identifier: Apache-2.0
"""All options, in one place, and the small values that the flows take from them.

Configuration is an argument and never a global: ``load`` makes a ``ConfigOpts``, ``settings`` turns it
into frozen values. ``etc/bfv.conf.sample`` and ``docs/configuration.md`` are generated from these tables.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from keystoneauth1 import loading
from oslo_config import cfg

from bfv.decide import Rules
from bfv.errors import BadConfig
from imagebackends.http import Settings as StorageSettings
from imagebackends.types import Target

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
    cfg.IntOpt("pool_size", default=5, min=1, help="Connections kept for each database and process."),
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
CELL_OPTS = [
    cfg.StrOpt("availability_zone", help="Cinder availability zone of this cell's storage."),
    cfg.StrOpt("volume_type", help="Cinder volume type that leads to this cell's storage."),
    cfg.StrOpt("backend", help="Where a volume must land: host@backend#pool. Not checked when unset."),
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
]
GROUPS: dict[str | None, list[cfg.Opt]] = {
    None: DEFAULT_OPTS,
    "database": DATABASE_OPTS,
    "storage": STORAGE_OPTS,
    "boot": BOOT_OPTS,
    "engine": ENGINE_OPTS,
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


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Return all options by group, for oslo.config's generators."""
    groups = [(name or "DEFAULT", list(opts)) for name, opts in GROUPS.items()]
    auth = loading.get_auth_common_conf_options() + loading.get_auth_plugin_conf_options("v3password")
    return [*groups, (SERVICE_GROUP, auth), ("cell:NAME", list(CELL_OPTS))]


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
    return StorageSettings(**{opt.name: conf.storage[opt.name] for opt in STORAGE_OPTS})


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
