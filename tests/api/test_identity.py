# SPDX-License-Identifier: Apache-2.0
"""Keystone is asked once for a token, and what it said is kept within bounds."""

import time

from bfv.api.identity import TokenCache
from tests import sites
from tests.api.conftest import opened


def test_keystone_is_asked_once_for_a_token_and_our_cache_keeps_what_it_said(world, site, caplog):
    token = site.auth("demo").get_token(sites._session())
    with opened(world) as door:
        asked = len(door.calls("GET", "/auth/tokens"))
        for _ in range(3):
            assert door("GET", "/flavors", user=None, headers={"X-Auth-Token": token}).status_code == 200
        assert len(door.calls("GET", "/auth/tokens")) == asked + 1
    # What keystonemiddleware says of its own, which has no bound.
    assert "in-process token cache" not in caplog.text


def test_what_is_kept_of_tokens_is_bounded_and_ends():
    cache = TokenCache(size=2)
    cache.set("a", 1, time=60)
    cache.set("b", 2, time=60)
    cache.set("c", 3, time=60)
    assert [cache.get(key) for key in "abc"] == [None, 2, 3]
    cache.set("b", 4, time=0.01)
    time.sleep(0.02)
    assert cache.get("b") is None
    cache.set("b", 5, time=-1)
    assert cache.get("b") is None
