# SPDX-License-Identifier: Apache-2.0
"""The verbs for quotas and server groups, as they are typed."""

import json
import os

import pytest

from bfv import caller, cli
from cells import limits
from tests import sites
from tests.bfv import racing, small


@pytest.fixture
def bfv(capsys):
    """Runs a command in this process: words in, what it printed out."""

    def run(config, *words, expect=0):
        assert cli.main(["--config-file", str(config), *words]) == expect
        told = capsys.readouterr()
        return json.loads(told.out) if "--json" in words and not expect else told.out + told.err

    return run


@pytest.fixture
def parts(tmp_path):
    parts = small.make(tmp_path, lambda name: f"sqlite:///{tmp_path}/{name}.db", cores=40)
    yield parts
    parts.close()


def test_quotas_are_shown_with_what_is_in_use_and_what_is_claimed(bfv, parts, tmp_path):
    small.boot(parts, small.caller("p", "u"))
    small.accept(parts, small.caller("p", "v"))
    limits.set_limits(parts.api, "p", {"instances": 4}, "v")
    config = tmp_path / "small.conf"

    told = bfv(config, "--json", "quota", "show", "--project", "p")
    rows = {row.pop("resource"): row for row in told["quota"]}
    assert rows["instances"] == {"limit": 10, "in_use": 1, "claimed": 1}
    assert rows["cores"] == {"limit": 40, "in_use": 2, "claimed": 2}
    assert rows["metadata_items"] == {"limit": 128, "in_use": None, "claimed": None}
    told = bfv(config, "--json", "quota", "show", "--project", "p", "--user", "v")
    assert told["quota"][0] == {"resource": "instances", "limit": 4, "in_use": 0, "claimed": 1}

    small.lose(parts, "cell1")
    assert "cells that do not answer, counted by request: cell1" in bfv(config, "quota", "show", "--project", "p")


def test_quotas_are_set_within_bounds_and_unset(bfv, parts, tmp_path):
    config, whose = tmp_path / "small.conf", ("--project", "p")
    small.accept(parts, small.caller("p", "u"), number=3)

    assert "greater than or equal to already used" in bfv(config, "quota", "set", "instances=2", *whose, expect=1)
    assert "write RESOURCE=LIMIT" in bfv(config, "quota", "set", "instances", *whose, expect=1)
    bfv(config, "quota", "set", "instances=2", "--force", *whose)
    assert limits.stored(parts.api, "p").project == {"instances": 2}
    bfv(config, "quota", "unset", *whose)
    assert limits.stored(parts.api, "p").project == {}
    assert bfv(config, "--json", "quota", "defaults", "ram=-1")["ram"] == -1
    assert limits.stored(parts.api, "p").default == {"ram": -1}
    assert "must be -1" in bfv(config, "quota", "defaults", "ram=-2", expect=1)


def test_drift_is_told_and_fails(bfv, parts, tmp_path):
    config, whose = tmp_path / "small.conf", ("--project", "p")
    lost = small.boot(parts, small.caller("p", "u"))
    assert "all that was looked at agrees" in bfv(config, "quota", "drift", *whose)

    parts.registry.unmap(lost)

    told = bfv(config, "quota", "drift", *whose, expect=1)
    assert lost in told
    assert "row without mapping" in told


@pytest.mark.filterwarnings("ignore:Support for InfluxDB")
def test_a_server_group_is_made_joined_shown_and_removed(bfv, tmp_path, monkeypatch):
    with sites.mock() as site:
        world = racing.Arena(site, tmp_path, lambda name: f"sqlite:///{tmp_path}/{name}.db", hosts=1)
        image = site.upload(os.urandom(1 << 16))
        for name, value in world.environment().items():
            monkeypatch.setenv(name, value)
        caller._sign_in.cache_clear()
        config = world.config

        made = bfv(config, "--json", "group", "create", "web", "--policy", "anti-affinity", "--max-per-host", "2")
        assert [each["uuid"] for each in bfv(config, "--json", "group", "list")] == [made["uuid"]]
        decided = bfv(
            config, "--json", "boot", image, "--flavor", "tiny", "--name", sites.NAME, "--group", made["uuid"]
        )
        shown = bfv(config, "--json", "group", "show", made["uuid"])
        assert shown["members"] == [decided["id"]]
        assert shown["rules"] == {"max_server_per_host": 2}
        bfv(config, "delete", decided["id"])
        assert bfv(config, "--json", "group", "show", made["uuid"])["members"] == []
        bfv(config, "group", "delete", made["uuid"])
        assert "could not be found" in bfv(config, "group", "show", made["uuid"], expect=1)
        assert "supports rules" in bfv(config, "group", "create", "web", "--policy", "affinity", "--max-per-host", "2",
                                       expect=1)  # fmt: skip
    caller._sign_in.cache_clear()
