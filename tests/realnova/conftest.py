# SPDX-License-Identifier: Apache-2.0
"""Guests of a real nova. Only `make lab-nova-test` runs these."""

import contextlib
import uuid

import pytest

from lab import guest
from tests import sites
from tests.realnova import cloud as real
from tests.realnova import leave_out_unless_asked

pytest_collection_modifyitems = leave_out_unless_asked


@pytest.fixture(scope="session")
def cloud(tmp_path_factory):
    with real.opened(tmp_path_factory.mktemp("realnova")) as cloud:
        yield cloud


@pytest.fixture(scope="session")
def image(cloud, tmp_path_factory):
    """An image of the guest that counts its starts on its disk."""
    disk = guest.image(tmp_path_factory.mktemp("guest") / "disk")
    made = cloud.site.upload(disk.read_bytes(), os_distro="tux", hw_disk_bus="virtio")
    yield made
    cloud.site.call("admin", "DELETE", f"{cloud.site.image_url}/v2/images/{made}")


@pytest.fixture(scope="session")
def flavor(cloud):
    body = {"flavor": {"name": f"guest-{uuid.uuid4().hex[:8]}", "ram": 64, "vcpus": 1, "disk": 1}}
    made = cloud.call("admin", "POST", "/flavors", body)["flavor"]["id"]
    yield made
    cloud.call("admin", "DELETE", f"/flavors/{made}")


@pytest.fixture
def make(cloud, image, flavor):
    """Boots servers, and removes them at the end with all that a failed test left of them."""
    made = []

    def boot(**words):
        made.append(cloud.boot(image, flavor, **words))
        return made[-1]

    yield boot
    for server_id in made:
        cloud.delete(server_id)
    # Cinder gives a volume back that librbd still migrates: its conversion ends by being committed.
    cloud.bfv("repair")


@pytest.fixture
def server(cloud, make):
    """A server on nova's rbd backend that has run and is off."""
    made = make()
    cloud.until_started(made, 1)
    cloud.stop(made)
    return made


@pytest.fixture(autouse=True)
def nothing_left(cloud):
    """Fail a test that leaves an image, a volume or an attachment behind."""

    def there():
        return {name: cloud.pool(name) for name in ("vms", "volumes")}, set(cloud.site.attachments())

    before = there()
    yield
    # Cinder deletes behind nova's back.
    with contextlib.suppress(AssertionError):
        sites.until(lambda: there() == before, 30)
    assert there() == before
