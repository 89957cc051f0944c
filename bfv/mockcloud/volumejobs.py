# SPDX-License-Identifier: Apache-2.0
"""What cinder-scheduler and cinder-volume do after the answer: place a volume, make it, write on it, delete it."""

from typing import TYPE_CHECKING

from bfv.mockcloud import cache, callbacks, formats, messages
from bfv.mockcloud.rbd import GIB, Cluster, RbdError, Snapshot
from bfv.mockcloud.state import Cell, Image, Volume

if TYPE_CHECKING:
    from bfv.mockcloud.state import Cloud


def name(volume_id: str) -> str:
    """Return a volume's name in its pool."""
    return f"volume-{volume_id}"


def up(cell: Cell) -> bool:
    """Say whether a cell's Ceph answers: calls into one that hangs wait for it."""
    return cell.storage != "hangs"


def schedule(cloud: "Cloud", volume: Volume) -> None:
    """Leave the choice of a backend to the scheduler (``cinder/scheduler/filter_scheduler.py``)."""
    cloud.pace.later("scheduling", volume.id, lambda: _place(cloud, volume))


def _place(cloud: "Cloud", volume: Volume) -> None:
    if volume.id not in cloud.volumes:
        return
    cell = _choose(cloud, volume)
    if cell is None:
        cloud.touch(volume, status="error")
        messages.add(cloud, volume, "no_backend")
        return
    cloud.touch(volume, host=cell.backend)
    act = _queue if _copies_nothing(cloud, cell, volume) else _begin_download
    cloud.pace.later("creating", volume.id, lambda: act(cloud, cell, volume), lambda: _free(cloud, cell, volume))


def _queue(cloud: "Cloud", cell: Cell, volume: Volume) -> None:
    """Make a volume after those that take a snapshot of the same volume: that lasts as long as ``cloning`` says.

    So are clones by volume and by cache made (``cinder/volume/drivers/rbd.py:create_cloned_volume``), one a second with
    Ceph's own ``paxos_propose_interval``; those of a snapshot or of Glance's image take none.
    """
    source, seconds = _snapped(cloud, cell, volume), cloud.pace.seconds("cloning")
    if source is None or not seconds:
        _create(cloud, cell, volume)
        return
    now = cloud.clock.seconds()
    cell.busy[source] = max(now, cell.busy.get(source, 0.0)) + seconds
    cloud.pace.after(cell.busy[source] - now, volume.id, lambda: _create(cloud, cell, volume))


def _snapped(cloud: "Cloud", cell: Cell, volume: Volume) -> str | None:
    """Return the volume of which a snapshot is taken to make another, if any."""
    image = _image(cloud, volume)
    if volume.snapshot_id or image is None or cloneable(image, cell):
        return volume.source_volid
    entry = cache.find(cloud, cell, image)
    return entry.volume_id if entry else None


def _choose(cloud: "Cloud", volume: Volume) -> Cell | None:
    """Return the backend that passes the filters: source's backend, type, zone, capacity."""
    base = _base(cloud, volume)
    if base is not None:
        cell = cloud.cell_of(base.host)
        return cell if cell is not None and not cell.full else None
    kind = cloud.types.get(volume.type_id)
    wanted = kind.extra_specs.get("volume_backend_name") if kind else None
    for cell in cloud.cells.values():
        room = not cell.full and volume.size <= free_gb(cell)
        if cell.name == volume.availability_zone and wanted in (None, cell.name) and room:
            return cell
    return None


def free_gb(cell: Cell) -> float:
    """Return what a backend says it has left, thin provisioning left out of it."""
    used = sum(image.used for image in cell.cluster.images())
    return 0.0 if cell.full else round(cell.capacity_gb - used / GIB, 2)


def _base(cloud: "Cloud", volume: Volume) -> Volume | None:
    """Return the volume that another is made from, by its snapshot too."""
    snapshot = cloud.snapshots.get(volume.snapshot_id or "")
    return cloud.volumes.get(snapshot.volume_id if snapshot else volume.source_volid or "")


def _image(cloud: "Cloud", volume: Volume) -> Image | None:
    return cloud.images.get(volume.image_id or "")


def _copies_nothing(cloud: "Cloud", cell: Cell, volume: Volume) -> bool:
    image = _image(cloud, volume)
    return image is None or cloneable(image, cell) or cache.find(cloud, cell, image) is not None


def cloneable(image: Image, cell: Cell) -> bool:
    """Say whether an image can be cloned in a cell (``cinder/volume/drivers/rbd.py:_is_cloneable``)."""
    return image.fields["disk_format"] == "raw" and cell.name in image.stores


def _free(cloud: "Cloud", cell: Cell, volume: Volume) -> bool:
    """Wait for a Ceph that hangs, and for the volume that fills a cache with the same image.

    The lock is of the image alone, so cells that share it wait for each other, hits too
    (``cinder/volume/flows/manager/create_volume.py:_prepare_image_cache_entry``); without a cache there is none, nor
    for what is cloned from Glance.
    """
    image = _image(cloud, volume)
    if image is None or cloneable(image, cell) or not cell.cached:
        return up(cell)
    cells = cloud.cells.values() if cloud.settings.shared_lock else (cell,)
    return up(cell) and all(each.filling.get(volume.image_id or "", volume.id) == volume.id for each in cells)


def _begin_download(cloud: "Cloud", cell: Cell, volume: Volume) -> None:
    image = _image(cloud, volume)
    if image is None or _copies_nothing(cloud, cell, volume) or cell.storage == "down":
        _queue(cloud, cell, volume)
        return
    if cell.cached:
        cell.filling[image.id] = volume.id
    cloud.touch(volume, status="downloading")
    cloud.pace.later("downloading", volume.id, lambda: _download(cloud, cell, volume), lambda: up(cell))


def _download(cloud: "Cloud", cell: Cell, volume: Volume) -> None:
    """Copy an image's bytes and fill the cache (``manager.py:_create_image_cache_volume_entry``)."""
    cell.filling.pop(volume.image_id or "", None)
    image = _image(cloud, volume)
    if volume.id not in cloud.volumes:
        return
    if image is None or cell.storage == "down":
        _broken(cloud, volume)
        return
    made = cell.cluster.pools["volumes"].create(name(volume.id), max(image.fields["virtual_size"] or 0, 1))
    data = formats.read(cloud.cells[image.stores[0]], image.id)
    made.resize(max(made.size, len(data)))
    made.fill(data)
    cache.fill(cloud, cell, image, volume)
    made.resize(volume.size * GIB)
    finish(cloud, volume, image)


def _create(cloud: "Cloud", cell: Cell, volume: Volume) -> None:
    """Make a volume without copying: blank, or a clone of what it comes from."""
    if volume.id not in cloud.volumes:
        return
    pool, image = cell.cluster.pools["volumes"], _image(cloud, volume)
    try:
        parent = _parent(cloud, cell, volume, image)
    except (KeyError, RbdError):
        _broken(cloud, volume)
        return
    if cell.storage == "down" or (parent is None and volume.image_id is not None):
        _broken(cloud, volume)
        return
    if parent is None:
        pool.create(name(volume.id), volume.size * GIB)
    else:
        pool.clone(parent, name(volume.id)).resize(volume.size * GIB)
    finish(cloud, volume, image)


def _parent(cloud: "Cloud", cell: Cell, volume: Volume, image: Image | None) -> Snapshot | None:
    """Return what a volume is cloned from, None for a blank one. Raises KeyError, RbdError if it went meanwhile."""
    pool = cell.cluster.pools["volumes"]
    if volume.snapshot_id:
        source = pool.images[name(cloud.snapshots[volume.snapshot_id].volume_id)]
        return source.find(f"snapshot-{volume.snapshot_id}")
    if volume.source_volid:
        return pool.images[name(volume.source_volid)].snapshot(f"{name(volume.id)}.clone_snap", protected=True)
    if image is not None and cloneable(image, cell):
        return cell.cluster.pools["images"].images[image.id].find("snap")
    if image is not None and (entry := cache.find(cloud, cell, image)):
        return pool.images[name(entry.volume_id)].snapshot(f"{name(volume.id)}.clone_snap", protected=True)
    return None


def _broken(cloud: "Cloud", volume: Volume) -> None:
    cloud.touch(volume, status="error")
    messages.add(cloud, volume, "driver_failed")


def finish(cloud: "Cloud", volume: Volume, image: Image | None) -> None:
    """Make a volume available (``CreateVolumeOnFinishTask``); what is reserved meanwhile is overwritten, as there."""
    if image is not None:
        volume.bootable, volume.image_metadata = True, image_metadata(image)
    cloud.touch(volume, status="available")


def image_metadata(image: Image) -> dict[str, str]:
    """Return what a volume keeps of its image (``cinder/volume/flows/manager/create_volume.py``)."""
    own = image.fields
    kept = {
        "image_id": image.id,
        "image_name": own["name"],
        "checksum": own["checksum"],
        "container_format": own["container_format"],
        "disk_format": own["disk_format"],
        "min_disk": str(own["min_disk"]),
        "min_ram": str(own["min_ram"]),
        "size": str(own["size"]),
    }
    return image.properties | kept


def forget(cloud: "Cloud", volume: Volume) -> None:
    """Remove a volume's row and what hangs on it."""
    cloud.volumes.pop(volume.id, None)
    for each in cloud.attachments_of(volume.id):
        del cloud.attachments[each.id]
    cloud.cache = [entry for entry in cloud.cache if entry.volume_id != volume.id]


def delete(cloud: "Cloud", volume: Volume) -> None:
    """Begin to delete a volume and, cascading, its snapshots."""
    cloud.touch(volume, status="deleting")
    cell = cloud.cell_of(volume.host)
    cloud.cache = [entry for entry in cloud.cache if entry.volume_id != volume.id]

    def act() -> None:
        if cell is not None and cell.storage == "down":
            cloud.touch(volume, status="error_deleting")
            return
        for snapshot in cloud.snapshots_of(volume.id):
            del cloud.snapshots[snapshot.id]
            if cell is not None:
                cell.cluster.pools["volumes"].images[name(volume.id)].remove_snapshot(f"snapshot-{snapshot.id}")
        try:
            if cell is not None:
                wipe(cell.cluster, name(volume.id))
        except RbdError:
            # cinder/volume/manager.py:delete_volume: VolumeIsBusy, without a word.
            cloud.touch(volume, status="available")
            return
        forget(cloud, volume)

    cloud.pace.later("deleting", volume.id, act, lambda: cell is None or up(cell))


def wipe(cluster: Cluster, image_name: str) -> None:
    """Remove a volume's bytes (``cinder/volume/drivers/rbd.py:_delete_volume``).

    One that was cloned by volume or cache is only renamed; one whose snapshots went to the trash under clones has
    these flattened first; one with a snapshot that cinder does not know goes to the trash itself.
    """
    pool = cluster.pools["volumes"]
    image = pool.images.get(image_name)
    if image is None:
        return
    if image.moving or image.watchers:
        raise RbdError(f"{image_name} is busy")
    # In the trash a snapshot has another name.
    if any(each.name.endswith(".clone_snap") and not each.trashed for each in image.snapshots):
        pool.rename(image_name, f"{image_name}.deleted")
        return
    for snapshot in list(image.snapshots):
        for child in cluster.children(snapshot):
            child.flatten()
    if any(not each.trashed for each in image.snapshots):
        pool.trash.append(image)
        del pool.images[image_name]
        return
    image.snapshots.clear()
    pool.remove(image_name)


def reimage(cloud: "Cloud", volume: Volume, image: Image) -> None:
    """Write an image onto a volume: always downloaded, its parent stays (``manager.py:reimage``)."""
    before = volume.status
    cloud.touch(volume, status="downloading")
    cell = cloud.cell_of(volume.host)
    if cell is None:
        return

    def act() -> None:
        if cell.storage == "down" or image.id not in cloud.images:
            cloud.touch(volume, status="error")
            return
        data = formats.read(cloud.cells[image.stores[0]], image.id)
        cell.cluster.pools["volumes"].images[name(volume.id)].fill(data)
        volume.bootable, volume.image_metadata = True, image_metadata(image)
        cloud.touch(volume, status="reserved" if before == "reserved" else "available")
        if before == "reserved":
            callbacks.tell(cloud, volume, "volume-reimaged")

    cloud.pace.later("downloading", volume.id, act, lambda: up(cell))


def extend(cloud: "Cloud", volume: Volume, size: int) -> None:
    """Begin to grow a volume."""
    before, cell = volume.status, cloud.cell_of(volume.host)
    cloud.touch(volume, status="extending")

    def act() -> None:
        if cell is not None:
            cell.cluster.pools["volumes"].images[name(volume.id)].resize(size * GIB)
        cloud.touch(volume, status=before, size=size)
        callbacks.tell(cloud, volume, "volume-extended")

    cloud.pace.later("extending", volume.id, act, lambda: cell is None or up(cell))
