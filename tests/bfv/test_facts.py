# SPDX-License-Identifier: Apache-2.0
"""What a server's rows say for and against a conversion, each fact alone."""

import dataclasses

import pytest

from bfv.migrate.facts import facts_of
from cells import Flavor
from cells.candidates import Candidate

SERVER = {"uuid": "s", "project_id": "p", "user_id": "u", "display_name": "web", "host": "h1", "node": "n1",
          "vm_state": "stopped", "task_state": None, "power_state": 4, "image_ref": "i", "kernel_id": "",
          "ramdisk_id": "", "availability_zone": "z", "root_device_name": "/dev/vda", "config_drive": "",
          "locked": False, "hidden": False, "ephemeral_key_uuid": None}  # fmt: skip
ROOT = {"instance_uuid": "s", "source_type": "image", "destination_type": "local", "boot_index": 0,
        "guest_format": None, "device_type": "disk", "disk_bus": "virtio", "device_name": "/dev/vda",
        "volume_id": None, "volume_size": None, "encrypted": False}  # fmt: skip
DATA = {**ROOT, "source_type": "volume", "destination_type": "volume", "boot_index": None, "volume_id": "v"}
FLAVOR = Flavor(7, "f", "m1.small", 2, 2048, 20)
PLAIN = Candidate(SERVER, FLAVOR, (ROOT,), {"disk_format": "raw"}, None, False)


def told(found=PLAIN, *, server=None, root=None, more=(), **changes):
    """Return the facts of the plain server with some of it changed."""
    devices = ({**ROOT, **(root or {})}, *more)
    return facts_of(dataclasses.replace(found, server={**SERVER, **(server or {})}, devices=devices, **changes))


def test_a_plain_server_can_be_converted():
    facts = told()
    assert (facts.refusals, facts.notes, facts.is_off, facts.is_volume_backed) == ((), (), True, False)
    assert (facts.server_id, facts.project_id, facts.host, facts.image_id, facts.root_gb) == ("s", "p", "h1", "i", 20)


def test_one_that_runs_can_be_converted_once_it_is_off():
    facts = told(server={"vm_state": "active", "power_state": 1})
    assert (facts.refusals, facts.is_off) == ((), False)


@pytest.mark.parametrize(
    ("state", "power", "off"),
    [("stopped", 4, True), ("stopped", 0, True), ("stopped", 1, False), ("error", 0, True), ("error", 1, False),
     ("active", 4, False)],
)  # fmt: skip
def test_it_is_off_where_no_guest_of_it_can_run(state, power, off):
    assert told(server={"vm_state": state, "power_state": power}).is_off is off


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"server": {"task_state": "rebooting"}}, "at work (rebooting): wait"),
        ({"server": {"vm_state": "building"}}, "building: wait until it is built"),
        ({"server": {"vm_state": "paused"}}, "unpause it, then stop it"),
        ({"server": {"vm_state": "suspended"}}, "resume it, then stop it"),
        ({"server": {"vm_state": "rescued"}}, "unrescue it"),
        ({"server": {"vm_state": "resized"}}, "confirm or revert its resize"),
        ({"server": {"vm_state": "shelved"}}, "unshelve it"),
        ({"server": {"vm_state": "shelved_offloaded"}}, "unshelve it"),
        ({"server": {"vm_state": "soft-delete"}}, "restore it"),
        ({"server": {"vm_state": "error"}}, "reset its state"),
        ({"server": {"vm_state": "crashed?"}}, "bring it to active or stopped"),
        ({"server": {"power_state": 1}}, "its guest runs: wait"),
        ({"server": {"hidden": True}}, "resize between cells"),
        ({"server": {"host": None}}, "on no host"),
        ({"server": {"kernel_id": "k"}}, "AMI image"),
        ({"server": {"ramdisk_id": "r"}}, "AMI image"),
        ({"server": {"ephemeral_key_uuid": "k"}}, "encrypted by nova"),
        ({"server": {"image_ref": ""}}, "local disk of no image"),
        ({"root": {"source_type": "blank"}}, "local disk of no image"),
        ({"root": {"device_type": "cdrom"}}, "ISO image"),
        ({"root": {"device_name": "/dev/sda"}}, "/dev/vda in one row and /dev/sda in another"),
        ({"root": {"encrypted": True}}, "encrypted by nova"),
        ({"root": {"boot_index": 1}}, "0 root devices"),
        ({"more": ({**ROOT},)}, "2 root devices"),
        ({"image": {"disk_format": "iso"}}, "ISO image"),
        ({"image": {"hw_ephemeral_encryption": "true"}}, "encrypted by nova"),
        ({"flavor": dataclasses.replace(FLAVOR, extra_specs={"hw:ephemeral_encryption": "True"})}, "encrypted by nova"),
        ({"move": "resize", "resizing": True}, "A resize of it is under way"),
        ({"resizing": True}, "migration context"),
    ],
)
def test_what_stands_against_it_is_told_with_what_lifts_it(changes, words):
    (refusal,) = told(**changes).refusals
    assert words in refusal


def test_all_that_stands_against_it_is_told_at_once():
    facts = told(server={"task_state": "resizing", "kernel_id": "k"}, move="resize")
    assert len(facts.refusals) == 3


def test_of_a_server_on_a_volume_its_disk_is_not_looked_at():
    root = {"destination_type": "volume", "volume_id": "v", "encrypted": True}
    facts = told(root=root, server={"image_ref": "", "kernel_id": "k"})
    assert (facts.is_volume_backed, facts.refusals, facts.notes) == (True, (), ())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"flavor": dataclasses.replace(FLAVOR, ephemeral_gb=5)}, "ephemeral disks (5 GiB) stay"),
        ({"flavor": dataclasses.replace(FLAVOR, swap=64)}, "swap disk (64 MiB) stays"),
        ({"server": {"config_drive": "True"}}, "config drive stays"),
        ({"flavor": dataclasses.replace(FLAVOR, extra_specs={"quota:disk_read_iops_sec": "9"})}, "quota:disk_read"),
        ({"root": {"disk_bus": "scsi"}, "more": (DATA,)}, "on SCSI"),
    ],
)
def test_what_stays_as_it_is_or_changes_for_the_guest_is_noted(changes, words):
    facts = told(**changes)
    assert facts.refusals == ()
    assert [words in note for note in facts.notes] == [True]
