# SPDX-License-Identifier: Apache-2.0
"""What cinder and Glance tell on the message bus is known: in the lab over RabbitMQ, else in their words."""

import contextlib
import dataclasses
import datetime as dt
import sys
import threading
import time

import pytest
from oslo_config import cfg

from bfv import config
from bfv.api.service import Service
from bfv.cloud import Cloud
from bfv.errors import BadConfig
from bfv.images import book
from bfv.images.heard import Listener, messaging
from tests import sites
from tests.images.conftest import volumes
from tests.images.test_janitor import create, delete
from tests.images.test_warm import ours


@dataclasses.dataclass
class Bus:
    """A message bus and, where no real service speaks on it, who speaks in their place."""

    url: str
    speaks: bool

    def tell(self, exchange, event, payload):
        """Publish a message as a service does; in the lab the services have done so themselves."""
        if self.speaks:
            conf = cfg.ConfigOpts()
            conf([], default_config_files=[])
            transport = messaging().get_notification_transport(conf, url=self.url)
            conf.set_override("control_exchange", exchange)
            notifier = messaging().Notifier(transport, driver="messagingv2", topics=["notifications"])
            notifier.info({}, event, payload)

    def cached(self, site, act, image):
        self.tell("openstack", f"image_volume_cache.{act}", {"image_id": image, "host": site.backends["cell2"]})


@pytest.fixture
def bus(site):
    if site.control_url:
        return Bus("fake://", True)
    return Bus(sites.lab_environment()["LAB_RABBIT_URL"], False)


@pytest.fixture
def listening(site, tmp_path, bus):
    """A bfv that listens, with what is set when images change."""
    lines = f"notifications = {bus.url}\nnotification_pool = {sites.NAME}\n"
    world = sites.World(site, tmp_path, sources="snapshot", more_images=lines)

    @contextlib.contextmanager
    def listen():
        woken = threading.Event()
        with world.cloud("admin") as cloud:
            listener = Listener(cloud.parts, woken)
            listener.start()
            assert listener.listens(60)
            try:
                yield cloud, woken
            finally:
                listener.stop()

    return listen


def rows(cloud, image):
    return book.of_image(cloud.parts.journal.database, image)


def test_what_cinder_does_with_its_own_cache_is_learned(listening, site, bus, make_image):
    image = make_image()
    with listening() as (cloud, _):
        first, second = create(site, image), create(site, image)
        bus.cached(site, "hit", image)
        sites.until(lambda: rows(cloud, image))
        [row] = rows(cloud, image)
        assert (row.cell, row.tier, row.kind, row.state, row.bytes) == ("cell2", "default", "cache", "warm", 4 << 20)
        assert row.clone_seconds is None
        # Cinder tells when a volume was asked for to the second.
        time.sleep(1.1)
        third = create(site, image)
        began = dt.datetime.now(dt.UTC)
        bus.tell("openstack", "volume.create.end", {
            "volume_id": third, "host": site.backends["cell2"], "snapshot_id": None, "created_at": began.isoformat(),
            "launched_at": (began + dt.timedelta(seconds=2)).isoformat(),
            "glance_metadata": [{"key": "image_id", "value": image}, {"key": "min_disk", "value": "0"}],
        })  # fmt: skip
        sites.until(lambda: rows(cloud, image)[0].clone_seconds is not None)
        [row] = rows(cloud, image)
        assert row.used_at is not None
        assert row.clone_seconds == pytest.approx(2) if bus.speaks else row.clone_seconds >= 0
        [cached] = volumes(site, image)
        delete(site, cached["id"])
        bus.cached(site, "evict", image)
        sites.until(lambda: rows(cloud, image)[0].state == "broken")
        assert rows(cloud, image)[0].reason == "cinder evicted it from its cache"
        for each in (first, second, third):
            delete(site, each)


def test_an_upload_is_seen_at_once_and_a_source_is_retired_as_soon_as_its_image_is_deleted(
    listening, site, bus, make_image
):
    with listening() as (cloud, woken):
        image = make_image()
        bus.tell("glance", "image.activate", {"id": image, "status": "active"})
        assert woken.wait(60)
        [done] = cloud.images.warm(image, ["cell2"])
        assert done.state == "made"
        woken.clear()
        site.call("admin", "DELETE", f"{site.image_url}/v2/images/{image}")
        bus.tell("glance", "image.delete", {"id": image, "status": "deleted"})
        assert woken.wait(60)
        sites.until(lambda: rows(cloud, image)[0].state == "retired")
        assert rows(cloud, image)[0].reason == "its image was deleted"
        assert len(ours(site, image)) == 1


def test_an_image_to_be_kept_warm_is_so_soon_after_its_upload(site, tmp_path, bus, make_image):
    name = f"keep-{sites.NAME}"
    lines = f"notifications = {bus.url}\nnotification_pool = {name}\nkeep_interval = 3000\n"
    world = sites.World(site, tmp_path, sources="snapshot", keep=f"cell2/name:{name}", more_images=lines)
    cloud = Cloud(config.load(world.config), None, bindings=site.bindings)
    try:
        with Service(cloud, "127.0.0.1", 0) as service:
            assert service.upkeep.listens(60)
            image = make_image(name=name)
            bus.tell("glance", "image.activate", {"id": image, "status": "active"})
            sites.until(lambda: [each.state for each in rows(cloud, image)] == ["warm"])
    finally:
        cloud.close(60)


def test_what_is_of_no_use_does_no_harm(listening, bus, make_image):
    if not bus.speaks:
        pytest.skip("real services say nothing senseless")
    with listening() as (cloud, woken):
        for event, payload in (
            ("image_volume_cache.hit", {"image_id": "no-such-image", "host": "cell2@x#y"}),
            ("image_volume_cache.hit", {}),
            ("volume.create.end", {"host": 7, "glance_metadata": [{"key": "image_id", "value": "x"}]}),
            ("volume.delete.end", {}),
            ("image.activate", {"id": "x"}),
        ):
            bus.tell("openstack", event, payload)
        # They are read in turn.
        assert woken.wait(60)
        assert book.all_of(cloud.parts.journal.database) == []


def test_without_oslo_messaging_it_is_told_what_to_install(world, monkeypatch):
    monkeypatch.setitem(sys.modules, "oslo_messaging", None)
    with world.cloud("admin") as cloud, pytest.raises(BadConfig, match=r"install bfv\[notifications\]"):
        Listener(cloud.parts, threading.Event())
