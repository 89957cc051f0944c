# SPDX-License-Identifier: Apache-2.0
"""What a process of the API does beside answering: it goes on with what others left undone, and keeps images warm.

Whatever WSGI server answers the requests, each of its processes does this once.
"""

import logging
import threading

from bfv.api.faults import where
from bfv.cloud import Cloud
from bfv.images.heard import Listener

LOG = logging.getLogger(__name__)

# Seconds in which changes of images are seen as one.
TOGETHER = 1.0


class Upkeep:
    """Looks after one cloud from ``start`` to ``stop``."""

    def __init__(self, cloud: Cloud) -> None:
        conf = cloud.parts.conf
        self._cloud, self._interval = cloud, conf.api.resume_interval
        self._stopping = threading.Event()
        # Set when images have changed, and at the end.
        self._changed = threading.Event()
        # Daemons: a process that never comes to its stop still ends.
        self._threads = [threading.Thread(target=self._resume, name="bfv-resume", daemon=True)]
        if conf.images.keep:
            self._threads.append(threading.Thread(target=self._keep, name="bfv-keep", daemon=True))
        self._listener = Listener(cloud.parts, self._changed) if conf.images.notifications else None

    def start(self) -> None:
        """Look from now on."""
        for thread in self._threads:
            thread.start()
        if self._listener is not None:
            self._listener.start()

    def stop(self) -> None:
        """Begin no look any more, and return when those under way have ended."""
        self._stopping.set()
        self._changed.set()
        if self._listener is not None:
            self._listener.stop()
        for thread in self._threads:
            thread.join()

    def listens(self, seconds: float) -> bool:
        """Wait so long until notifications are listened to, and say whether they are."""
        return self._listener is not None and self._listener.listens(seconds)

    def _keep(self) -> None:
        while True:
            try:
                done = self._cloud.images.keep()
                if done:
                    LOG.info("images kept warm: %s", ", ".join(f"{each.state} in {each.cell}" for each in done))
            except Exception as error:
                # A service that is away now is there for the next look.
                LOG.warning("no look at the images to keep warm: %s", where(error))
            self._changed.wait(self._cloud.parts.conf.images.keep_interval)
            # An upload is told in several messages.
            if self._stopping.wait(TOGETHER):
                return
            self._changed.clear()

    def _resume(self) -> None:
        while True:
            try:
                taken = self._cloud.resume()
                if taken:
                    LOG.info("went on with %d verbs that their workers had left", taken)
            except Exception as error:
                # A database that is away now is there for the next look.
                LOG.warning("no look for what was left: %s", where(error))
            if self._stopping.wait(self._interval):
                return
