# SPDX-License-Identifier: Apache-2.0
"""All that a comparison makes outside, as it lies there; and the removal of what cinder itself never removes."""

import contextlib

from imagebackends.errors import HasSnapshots


class Outside:
    """All that a comparison may leave: disks, snapshots, attachments, images, what cinder has cached of these."""

    def __init__(self, site, clusters):
        self.site, self.clusters = site, clusters

    def __call__(self):
        site, query = self.site, {"all_tenants": 1}
        get = lambda path: site.call("admin", "GET", f"{site.volume_url}/{path}", params=query).json()  # noqa: E731
        volumes = get("volumes/detail")["volumes"]
        images = site.call("admin", "GET", f"{site.image_url}/v2/images", params={"limit": 1000}).json()["images"]
        return {
            "volumes": {each["id"] for each in volumes if str(each["name"]).startswith(("bfv-compare", "image-"))},
            "attachments": {each["id"] for each in get("attachments")["attachments"]},
            "snapshots": {each["id"] for each in get("snapshots")["snapshots"]},
            "images": {each["id"] for each in images},
            "nova's pools": {(cell, name) for cell, each in self.clusters.items() for name in each.pool("vms").names()},
            "books": {(cell, key) for cell, each in self.clusters.items() for key in each.pool("vms").values()},
        }

    def uncache(self, image_id):
        """Remove what cinder's cache has of an image."""
        found = self.site.call("admin", "GET", f"{self.site.volume_url}/volumes/detail", params={"all_tenants": 1})
        for each in found.json()["volumes"]:
            if each["name"] == f"image-{image_id}":
                self.site.call("admin", "DELETE", f"{self.site.volume_url}/volumes/{each['id']}")
                self.site.settle(each["id"], None)

    def sweep(self, before):
        """Remove what cinder itself never does: disks that it renamed since it had cloned them for its cache."""
        while left := self.renamed() - before:
            # Some are clones of others, which go after them.
            for cell, name in left:
                with contextlib.suppress(HasSnapshots):
                    self._purge(self.clusters[cell].pool("volumes"), name)
            assert self.renamed() - before < left

    def renamed(self):
        return {(cell, name) for cell, each in self.clusters.items() for name in each.pool("volumes").names()
                if name.endswith(".deleted")}  # fmt: skip

    def _purge(self, pool, name):
        for each in pool.look(name).snapshots:
            if each.trashed:
                continue
            with self._opened(pool, name) as handle:
                if hasattr(handle, "is_protected_snap") and handle.is_protected_snap(each.name):
                    handle.unprotect_snap(each.name)
            pool.drop_snapshot(name, each.name)
        pool.remove(name)

    def _opened(self, pool, name):
        ioctx = pool.cluster.call("open", lambda: pool.cluster.ioctx(pool.name))
        return pool.cluster.rbd.Image(ioctx, name)
