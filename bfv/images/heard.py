# SPDX-License-Identifier: Apache-2.0
"""What cinder and Glance tell on the message bus while it happens: hits and evictions of cinder's cache, times, images.

No API of cinder's tells when its cache was used or evicted an image (``cinder/image/cache.py:_notify_cache_action``).
It is off unless ``[images] notifications`` names a bus, and nothing depends on it: a message that is lost or comes
twice makes the map a little older, and the next look at the cloud puts that right.
"""

import datetime as dt
import logging
import threading
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bfv.errors import BadConfig
from bfv.images import book
from bfv.images.standing import version
from bfv.parts import Parts
from bfv.types import new_request_id
from imagebackends.types import Target

LOG = logging.getLogger(__name__)
WANTED = r"^(image_volume_cache\.(hit|evict)|volume\.create\.end|image\.(activate|update|delete))$"
Payload = Mapping[str, Any]


def messaging() -> Any:
    """Return oslo.messaging. Raises BadConfig where it is not installed."""
    try:
        with warnings.catch_warnings():
            # It imports eventlet, which is deprecated, and patches nothing.
            warnings.simplefilter("ignore")
            import oslo_messaging
    except ImportError as error:
        raise BadConfig("[images] notifications needs oslo.messaging: install bfv[notifications].") from error
    return oslo_messaging


class Listener:
    """Reads the bus in threads of its own until it is stopped; ``woken`` is set when images have changed.

    Raises BadConfig where oslo.messaging is not installed.
    """

    def __init__(self, parts: Parts, woken: threading.Event) -> None:
        bus, conf = messaging(), parts.conf.images
        targets = [bus.Target(topic=topic, exchange=exchange)
                   for exchange in conf.notification_exchanges for topic in conf.notification_topics]  # fmt: skip
        self._server = bus.get_notification_listener(
            bus.get_notification_transport(parts.conf, url=conf.notifications),
            targets, [_Endpoint(bus, parts, woken)], executor="threading", pool=conf.notification_pool,
        )  # fmt: skip
        # A broker that is away would hold up who starts it; it is tried again and again.
        self._thread = threading.Thread(target=self._start, name="bfv-notifications", daemon=True)
        self._started, self._ended, self._lock = threading.Event(), threading.Event(), threading.Lock()

    def start(self) -> None:
        """Begin to listen as soon as the broker is there."""
        self._thread.start()

    def listens(self, seconds: float) -> bool:
        """Wait so long until it listens, and say whether it does."""
        return self._started.wait(seconds)

    def stop(self) -> None:
        """Listen no more, and let go of the broker."""
        with self._lock:
            self._ended.set()
            if self._started.is_set():
                self._let_go()

    def _start(self) -> None:
        # One at a time: what is not read waits in the broker.
        self._server.start(override_pool_size=1)
        with self._lock:
            self._started.set()
            if self._ended.is_set():
                self._let_go()

    def _let_go(self) -> None:
        self._server.stop()
        self._server.wait()


class _Endpoint:
    """What oslo.messaging calls by the priority of a message."""

    def __init__(self, messaging: Any, parts: Parts, woken: threading.Event) -> None:
        self.filter_rule = messaging.NotificationFilter(event_type=WANTED)
        self._parts, self._woken = parts, woken

    def info(self, _context: Any, _publisher: str, event: str, payload: Payload, _metadata: Any) -> None:
        """Take a message; one that cannot be used is forgotten."""
        try:
            take(self._parts, event, payload)
        except Exception as error:
            LOG.warning("notification %s was of no use: %s: %s", event, type(error).__name__, error)
        if event.startswith("image."):
            self._woken.set()


def take(parts: Parts, event: str, payload: Payload) -> None:
    """Write what a notification says into the book of sources. Raises KeyError and ValueError for one of another kind.

    Raises MaybeRunning, NotAllowed where an image has to be looked at for it.
    """
    acts: dict[str, Callable[[Parts, Payload], None]] = {
        "image_volume_cache.hit": _hit,
        "image_volume_cache.evict": _evicted,
        "volume.create.end": _made,
        "image.delete": _deleted,
    }
    if event in acts:
        acts[event](parts, payload)


def _hit(parts: Parts, payload: Payload) -> None:
    """Cinder clones its image-volume, so it is of the image as it is now; `_made` tells of the end."""
    targets, access = _at(parts, payload["host"]), parts.rights.everywhere(new_request_id())
    if not targets or access is None or _warm(parts, payload["image_id"], targets, "cache"):
        return
    image = parts.images.get(access, payload["image_id"])
    book.add(parts.journal.database, image_id=image.id, cell=targets[0].cell, tier=targets[0].tier, kind="cache",
             version=version(image, "cache"), bytes=image.size, made_seconds=0.0)  # fmt: skip


def _evicted(parts: Parts, payload: Payload) -> None:
    gone = _warm(parts, payload["image_id"], _at(parts, payload["host"]), "cache")
    book.turn(parts.journal.database, [each.id for each in gone], book.BROKEN, "cinder evicted it from its cache")


def _made(parts: Parts, payload: Payload) -> None:
    """A volume is there, whoever asked for it: so long do volumes of its source take."""
    image_id = next((each["value"] for each in payload.get("glance_metadata") or () if each["key"] == "image_id"), None)
    if image_id is None:
        return
    began, ended = (dt.datetime.fromisoformat(payload[name]) for name in ("created_at", "launched_at"))
    targets, snapshot = _at(parts, payload["host"]), payload.get("snapshot_id")
    for source in _warm(parts, image_id, targets, *(["snapshot"] if snapshot else ["glance", "cache"])):
        # One that was made before its source is what the source was made of.
        if source.snapshot_id == snapshot and began.replace(tzinfo=None) >= source.made_at:
            book.used(parts.journal.database, source, (ended - began).total_seconds())
            return


def _deleted(parts: Parts, payload: Payload) -> None:
    sources = book.of_image(parts.journal.database, payload["id"])
    book.turn(parts.journal.database, [each.id for each in sources], book.RETIRED, "its image was deleted")


def _at(parts: Parts, backend: str) -> list[Target]:
    return sorted((each for each in parts.targets if each.backend == backend), key=lambda each: each.tier != "default")


def _warm(parts: Parts, image_id: str, targets: Iterable[Target], *kinds: str) -> list[book.Source]:
    places = {(each.cell, each.tier) for each in targets}
    return [
        each
        for each in book.of_image(parts.journal.database, image_id)
        if each.state == book.WARM and each.kind in kinds and (each.cell, each.tier) in places
    ]
