# SPDX-License-Identifier: Apache-2.0
"""Libvirt and QEMU without systemd: two daemons, the secret of a cell's Ceph, and what guests are there."""

import contextlib
import sys

from lab.process import Service, run
from lab.settings import CELLS, HERE, LAB, LabError, write

PACKAGES = (
    "qemu-system-x86",
    "qemu-block-extra",
    "seabios",
    "ipxe-qemu",
    "libvirt-daemon",
    "libvirt-daemon-system",
    "libvirt-daemon-driver-qemu",
    "libvirt-daemon-driver-storage-rbd",
    "libvirt-clients",
    "python3-libvirt",
    "genisoimage",
    # The guest is made of a line of assembler for each of its bytes.
    "binutils",
)
CONF = LAB / "etc" / "libvirt" / "libvirtd.conf"
SECRET = """\
<secret ephemeral='no' private='no'>
  <uuid>{uuid}</uuid>
  <usage type='ceph'><name>{name} cinder</name></usage>
</secret>
"""


def answers() -> bool:
    try:
        virsh("list")
    except LabError:
        return False
    return True


VIRTLOGD = Service("virtlogd", ("/usr/sbin/virtlogd",))
LIBVIRTD = Service(
    "libvirtd",
    (sys.executable, "-m", "lab.reaper", "/usr/sbin/libvirtd", "--config", str(CONF)),
    ready=answers,
    env={"PYTHONPATH": str(HERE.parent)},
)


def configure() -> None:
    write(CONF, 'auth_unix_ro = "none"\nauth_unix_rw = "none"\nlog_outputs = "3:stderr"\n')


def define_secret() -> None:
    """Tell libvirt the key of the first cell's client for volumes."""
    cell = CELLS[0]
    xml = LAB / "etc" / "libvirt" / "secret.xml"
    write(xml, SECRET.format(uuid=cell.secret_uuid, name=cell.name))
    with contextlib.suppress(LabError):
        virsh("secret-undefine", cell.secret_uuid)
    virsh("secret-define", str(xml))
    key = run("virsh", ["ceph-authtool", "-p", "-n", "client.cinder", cell.keyring("cinder")]).strip()
    virsh("secret-set-value", cell.secret_uuid, key)


def guests() -> list[str]:
    """Return the names of all guests, also of those that are off."""
    return virsh("list", "--all", "--name").split()


def end_guests() -> None:
    for name in guests():
        with contextlib.suppress(LabError):
            virsh("destroy", name)
        virsh("undefine", name)


def virsh(*words: str) -> str:
    """Run virsh as root of this machine. Raises LabError."""
    return run("virsh", ["virsh", "-c", "qemu:///system", "-q", *words], 60)
