# SPDX-License-Identifier: Apache-2.0
"""The example driver on a folder of its own, and guests for it."""

import uuid

import pytest
from oslo_config import cfg

from bfv import config
from bfv.drivers import Guest
from bfv.drivers.example import GROUP, ExampleDriver
from cells.types import BlockDevice, Flavor

pytest.register_assert_rewrite("bfv.drivers.conformance")
SMALL = Flavor(id=1, flavorid="small", name="small", vcpus=2, memory_mb=1024, root_gb=1)


def new_guest(**changes):
    """Return a guest with a root volume that is connected, and a local swap disk."""
    root = BlockDevice(
        uuid=str(uuid.uuid4()), source_type="image", destination_type="volume", boot_index=0,
        volume_id=str(uuid.uuid4()), attachment_id=str(uuid.uuid4()), volume_size=1,
        connection_info={"driver_volume_type": "rbd", "data": {"name": "pool/volume-1", "auth_password": "s3cret"},
                         "serial": "1"},
    )  # fmt: skip
    swap = BlockDevice(uuid=str(uuid.uuid4()), source_type="blank", destination_type="local", boot_index=-1,
                       volume_size=3, guest_format="swap")  # fmt: skip
    values = {"server_id": str(uuid.uuid4()), "name": "vm", "hostname": "vm", "project_id": "p", "flavor": SMALL,
              "devices": (root, swap)}  # fmt: skip
    return Guest(**{**values, **changes})


@pytest.fixture
def options(tmp_path):
    """Writes a configuration with these options of the driver and reads it."""

    def load(cells="cell1,cell2", **options) -> cfg.ConfigOpts:
        lines = ["[DEFAULT]", f"cells = {cells}", f"[{GROUP}]", f"state_path = {tmp_path}/guests"]
        lines += [f"{name} = {value}" for name, value in options.items()]
        path = tmp_path / "bfv.conf"
        path.write_text("\n".join(lines))
        return config.load(path)

    return load


@pytest.fixture
def make(options):
    """Makes an example driver with these options."""
    return lambda **given: ExampleDriver(options(**given))
