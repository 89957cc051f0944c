# SPDX-License-Identifier: Apache-2.0
"""What a server leaves in nova's pool, removed by exact names and only when nobody has any of it open.

Nova removes every image whose name begins with the server's id (``nova/storage/rbd_utils.py:cleanup_volumes``), also a
backup that an operator called so, and tries again and again while a guest still has it open.
"""

import contextlib
import re

from imagebackends.errors import HasSnapshots, InUse, NotFound
from imagebackends.rbd.disks import PROJECT, server_name
from imagebackends.rbd.pool import Pool
from imagebackends.rbd.types import Id, Image

# nova/virt/libvirt/imagebackend.py and driver.py:_create_image name them so.
SUFFIX = r"(\.(local|swap|config|rescue|eph\d+))?"
DELETED = "bfv-deleted-"
RESIZE = "nova-resize"  # nova/virt/libvirt/utils.py:RESIZE_SNAPSHOT_NAME


def leftovers(pool: Pool, server_id: str) -> list[Image]:
    """Return the disks of a server, root, ephemeral, swap and config drive, by exact names."""
    names = re.compile(re.escape(server_name(server_id)) + SUFFIX)
    found = map(pool.find, sorted(name for name in pool.names() if names.fullmatch(name)))
    return [each for each in found if each]


def clean(pool: Pool, server_id: str) -> list[str]:
    """Remove all of a server's disks and return their names; if one is in use or has snapshots, none is.

    The snapshot of a resize that nobody confirmed goes with its disk. Raises InUse, HasSnapshots.
    """
    found = leftovers(pool, server_id)
    for image in found:
        refuse_used(image)
        strange = [each.name for each in image.snapshots if each.name != RESIZE or each.trashed]
        if strange:
            raise HasSnapshots(f"{pool.name}/{image.name} has snapshots ({', '.join(strange)}); remove them first.")
    for image in found:
        for each in image.snapshots:
            pool.drop_snapshot(image.name, each.name)
        pool.remove(image.name)
        if claimed := pool.value(image.id):
            pool.swap(image.id, claimed, "")
    return [image.name for image in found]


def remove(pool: Pool, image: Image) -> None:
    """Remove a disk of ours; one whose snapshots live on under clones goes to the trash and with the last of them.

    Raises InUse, HasSnapshots, NotFound.
    """
    # The trash takes an image that is open, too.
    refuse_used(image)
    if image.snapshots:
        # In the trash it would still be found by its id: so it gets a name that is no disk's, and loses its project.
        gone = f"{DELETED}{image.id}"
        pool.set_metadata(Id(image.id), {PROJECT: None})
        pool.rename(image.name, gone)
        pool.trash(gone)
        return
    pool.remove(image.name)
    parent = image.parent
    if parent and parent.pool == pool.name and parent.image.startswith(DELETED):
        with contextlib.suppress(HasSnapshots, InUse, NotFound):
            pool.purge(parent.image.removeprefix(DELETED))


def refuse_used(image: Image) -> None:
    """Raise InUse for an image that is watched or locked: a lock alone may be of a host that is only cut off."""
    if image.watchers:
        raise InUse(f"{image.name} is open at {', '.join(image.watchers)}; stop what uses it first.")
    if image.lockers:
        held = ", ".join(f"{each.client} at {each.address}" for each in image.lockers)
        raise InUse(
            f"{image.name} is locked by {held}, and not open there now. If that host is dead, and only then, break "
            f"the lock (rbd lock rm)."
        )
