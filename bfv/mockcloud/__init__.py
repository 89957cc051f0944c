# SPDX-License-Identifier: Apache-2.0
"""A cloud in the process of a test: Keystone, Glance, Cinder and Ceph's bytes for many cells, and no service beneath.

It says what the real services say, word for word as far as it goes: one contract suite runs against both.
``start()`` serves it over HTTP on loopback, ``adapter.InProcess`` to ``requests`` without a socket.
"""

from bfv.mockcloud.server import Server, start
from bfv.mockcloud.state import Cloud, Settings

__all__ = ["Cloud", "Server", "Settings", "start"]
