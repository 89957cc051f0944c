# SPDX-License-Identifier: Apache-2.0
"""Servers that a compute driver runs: the example driver, whose guests are files that outlive a killed process."""

import dataclasses
import json

import pytest

import bfv
from bfv.drivers import example, states
from bfv.errors import BadConfig, Conflict, MaybeRunning, Unsupported
from cells import hosts, servers
from tests import sites
from tests.flows.test_boot import HOST, boot

pytestmark = pytest.mark.usefixtures("nothing_left")
RUNS, OFF = ("ACTIVE", "active", 1), ("SHUTOFF", "stopped", 4)


class DriverWorld(sites.World):
    """A bfv with the example driver; ``driver`` is what its section says, and no value of it is wrong elsewhere."""

    def __init__(self, site, home, driver=None, **settings):
        self.driver = {"state_path": home / "guests", **(driver or {})}
        super().__init__(site, home, **settings)

    def write_config(self, **settings):
        super().write_config(**settings)
        lines = ["[compute]", "driver = example", "report_interval = 60", f"[{example.GROUP}]"]
        lines += [f"{name} = {value}" for name, value in self.driver.items()]
        with self.config.open("a") as file:
            file.write("\n".join(lines))

    def configure(self, **driver):
        """Write the driver's section with other options from now on."""
        self.driver.update(driver)
        self.write_config()

    def files(self):
        """Return what is on the hosts: the names of the files of guests and of volumes that are plugged."""
        return {path.name for path in self.all_files() if ".half-" not in path.name}

    def all_files(self):
        """Return all files, also what killed processes left of one."""
        return [path for path in (self.home / "guests").rglob("*") if path.is_file()]

    def guest(self, server):
        """Return what is written of a server's guest on its host, None if there is none."""
        path = self.home / "guests" / server.host / f"{server.id}.guest"
        return json.loads(path.read_text()) if path.exists() else None

    def row(self, cloud, server):
        return servers.get(cloud.parts.cells.named(server.cell), server.id)


@pytest.fixture
def make_world(site, tmp_path):
    return lambda driver=None, **settings: DriverWorld(site, tmp_path, driver, **settings)


@pytest.fixture
def world(make_world):
    return make_world()


def state(server):
    return (server.status, server.vm_state, server.power_state)


def settled(cloud, server):
    return cloud.wait(server.id, 300)


def test_a_server_boots_to_active_on_a_host_of_its_cell_and_its_deletion_leaves_nothing(world, site, raw_image):
    with world.cloud() as cloud:
        server = boot(cloud, raw_image, availability_zone="nova", metadata={"a": "b"})

        assert (state(server), server.task_state) == (RUNS, None)
        assert server.host == server.node == server.decision.hosts[server.cell]
        assert server.launched_at is not None
        assert world.row(cloud, server).host == server.host
        [root] = server.devices
        assert site.volumes()[root.volume_id]["status"] == "in-use"
        assert root.connection_info["driver_volume_type"] == "rbd"
        assert world.files() == {f"{server.id}.guest", f"{server.id}.volumes"}
        assert (world.guest(server)["power_state"], world.guest(server)["name"]) == (1, sites.NAME)

        assert cloud.delete(server.id).kept == ()
        assert world.files() == set()
        assert cloud.servers() == []


def test_a_host_counts_a_server_at_once(world, raw_image):
    with world.cloud() as cloud:
        server = boot(cloud, raw_image)
        database = cloud.parts.cells.named(server.cell)
        [host] = [each for each in hosts.list(database, server.cell) if each.host == server.host]
        assert (host.memory_mb_used, host.vcpus_used, host.running_vms) == (128, 1, 1)
        cloud.delete(server.id)


def test_a_server_stops_starts_and_reboots(world, raw_image):
    with world.cloud() as cloud:
        server = boot(cloud, raw_image)
        for verb, expected, power in (
            (cloud.stop, OFF, states.SHUTDOWN),
            (cloud.start, RUNS, states.RUNNING),
            (cloud.reboot, RUNS, states.RUNNING),
        ):
            verb(server.id)
            server = settled(cloud, server)
            assert (state(server), server.task_state, server.fault) == (expected, None, None)
            assert world.guest(server)["power_state"] == power
        cloud.stop(server.id)
        assert state(settled(cloud, server)) == OFF
        cloud.reboot(server.id, hard=True)
        assert state(settled(cloud, server)) == RUNS
        cloud.delete(server.id)


def test_a_verb_that_the_state_does_not_allow_changes_nothing(world, raw_image):
    with world.cloud() as cloud:
        server = boot(cloud, raw_image)
        with pytest.raises(Conflict, match=r"'start' instance .* vm_state active"):
            cloud.start(server.id)
        cloud.stop(server.id)
        settled(cloud, server)
        for verb in (cloud.stop, cloud.reboot):
            with pytest.raises(Conflict, match="vm_state stopped"):
                verb(server.id)
        with pytest.raises(Conflict, match="another host"):
            cloud.connect(server.id, HOST)
        with pytest.raises(Conflict, match="uses its volumes"):
            cloud.disconnect(server.id)
        assert state(cloud.server(server.id)) == OFF
        assert len(cloud.history(server.id)) == 2
        cloud.delete(server.id)


def test_while_a_verb_is_at_work_its_task_is_shown_and_another_is_refused(make_world, raw_image):
    world = make_world({"seconds": "stop:1.5"})
    with world.cloud() as cloud:
        server = boot(cloud, raw_image)
        cloud.stop(server.id)
        sites.until(lambda: cloud.server(server.id).task_state == "powering-off")
        with pytest.raises(Conflict, match="still running"):
            cloud.stop(server.id)
        with pytest.raises(Conflict, match=r"task_state powering-off|still running"):
            cloud.reboot(server.id)
        assert state(settled(cloud, server)) == OFF
        cloud.delete(server.id)


@pytest.mark.parametrize("before", ["active", "stopped"])
def test_a_rebuilt_server_is_on_its_host_again_and_stopped_if_it_was(world, site, raw_image, before):
    other = site.upload(b"x" * 1024)
    with world.cloud() as cloud:
        server = boot(cloud, raw_image)
        if before == "stopped":
            cloud.stop(server.id)
            settled(cloud, server)

        cloud.rebuild(server.id, other)
        after = settled(cloud, server)

        assert (state(after), after.task_state, after.fault) == (RUNS if before == "active" else OFF, None, None)
        assert (after.host, after.devices[0].volume_id) == (server.host, server.devices[0].volume_id)
        assert world.guest(after)["power_state"] == after.power_state
        volume = site.volumes()[server.devices[0].volume_id]
        assert (volume["status"], volume["volume_image_metadata"]["image_id"]) == ("in-use", other)
        cloud.delete(server.id)
    assert world.files() == set()
    site.call("admin", "DELETE", f"{site.image_url}/v2/images/{other}")


@pytest.mark.parametrize("act", ["connector", "plug", "spawn"])
def test_a_driver_that_fails_leaves_a_server_in_error_with_its_reason_and_nothing_outside(
    make_world, site, raw_image, act
):
    world = make_world({"fails": f"{act}:failed"})
    before = site.ours()
    with world.cloud() as cloud:
        server = boot(cloud, raw_image)

        assert (state(server), server.task_state, server.host) == (("ERROR", "error", 0), None, None)
        assert f"configured to fail here: {act}" in server.fault.message
        assert (server.devices[0].volume_id, server.devices[0].attachment_id) == (None, None)
        assert site.ours() == before
        assert world.files() == set()
        assert cloud.delete(server.id).kept == ()
        assert cloud.servers() == []


def test_a_host_that_is_full_sends_the_server_to_the_next_cell(make_world, site, raw_image):
    world = make_world({"hosts_per_cell": 1})
    before = site.ours()[0]
    with world.cloud() as cloud:
        # Of somebody else, since the last report.
        other = {"power_state": 1, "vcpus": 8, "memory_mb": 16384, "local_gb": 0, "sizes": {}}
        path = world.home / "guests" / "cell1-host1" / "other.guest"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(other))

        server = boot(cloud, raw_image)

        assert server.decision.cells == ("cell1", "cell2")
        assert (state(server), server.cell, server.host) == (RUNS, "cell2", "cell2-host1")
        assert servers.find(cloud.parts.cells.named("cell1"), server.id) is None
        assert world.files() == {"other.guest", f"{server.id}.guest", f"{server.id}.volumes"}
        volumes = [site.volumes()[device.volume_id] for device in server.devices if device.volume_id]
        assert [volume["os-vol-host-attr:host"] for volume in volumes] == [site.backends["cell2"]]
        assert site.ours()[0] - before == {volume["id"] for volume in volumes}
        cloud.delete(server.id)


def test_hosts_that_are_all_full_leave_a_server_in_error_and_nothing_outside(make_world, site, raw_image):
    world = make_world({"fails": "spawn:noroom"})
    before = site.ours()
    with world.cloud() as cloud:
        server = boot(cloud, raw_image)
        assert (state(server), server.cell, server.host) == (("ERROR", "error", 0), "cell2", None)
        assert "configured to fail here: spawn" in server.fault.message
        assert (site.ours(), world.files()) == (before, set())
        cloud.delete(server.id)


def test_an_answer_that_is_lost_is_asked_for_again(make_world, raw_image):
    world = make_world({"fails": "spawn:maybe"}, give_up=0.5)
    with world.cloud() as cloud:
        server = boot(cloud, raw_image)
        assert (server.status, server.task_state) == ("BUILD", "spawning")
        assert world.guest(server)["power_state"] == states.RUNNING
    world.configure(fails="")
    with world.cloud() as cloud:
        cloud.repair()
        assert state(cloud.server(server.id)) == RUNS
        cloud.delete(server.id)
    assert world.files() == set()


@pytest.mark.parametrize("verb", ["stop", "reboot"])
def test_a_power_verb_that_fails_leaves_the_server_as_it_was_with_the_reason(world, raw_image, verb):
    with world.cloud() as cloud:
        server = boot(cloud, raw_image)
    world.configure(fails=f"{verb}:failed")
    with world.cloud() as cloud:
        getattr(cloud, verb)(server.id)
        after = settled(cloud, server)
        assert (state(after), after.task_state) == (RUNS, None)
        assert "configured to fail" in after.fault.message
        assert world.guest(server)["power_state"] == states.RUNNING
        cloud.delete(server.id)


def test_a_host_that_does_not_let_go_keeps_its_volumes_and_a_later_delete_ends_it(world, site, raw_image):
    with world.cloud() as cloud:
        server = boot(cloud, raw_image)
    world.configure(fails="destroy:failed")
    with world.cloud() as cloud:
        with pytest.raises(bfv.errors.Failed, match="configured to fail"):
            cloud.delete(server.id)
        assert cloud.server(server.id).status == "ERROR"
        assert site.volumes()[server.devices[0].volume_id]["status"] == "in-use"
    world.configure(fails="destroy:maybe")
    world.write_config(give_up=0.3)
    with world.cloud() as cloud, pytest.raises(MaybeRunning):
        cloud.delete(server.id)
    world.configure(fails="")
    with world.cloud() as cloud:
        cloud.delete(server.id)
        assert cloud.servers() == []
    assert world.files() == set()


def test_a_rebuild_that_fails_on_its_host_is_an_error_and_can_be_done_again(world, site, raw_image):
    with world.cloud() as cloud:
        server = boot(cloud, raw_image)
    world.configure(fails="spawn:failed")
    with world.cloud() as cloud:
        cloud.rebuild(server.id, raw_image)
        after = settled(cloud, server)
        assert (state(after), after.host) == (("ERROR", "error", 0), server.host)
        assert "configured to fail" in after.fault.message
    assert world.files() == set()
    world.configure(fails="")
    with world.cloud() as cloud:
        cloud.rebuild(server.id, raw_image)
        assert state(settled(cloud, server)) == RUNS
        cloud.delete(server.id)


def test_a_delete_stops_a_boot_on_its_host(make_world, site, raw_image):
    world = make_world({"seconds": "spawn:1.5"})
    with world.cloud() as cloud:
        request = bfv.BootRequest(image=raw_image, flavor="tiny", name=sites.NAME)
        cloud.boot(request)
        sites.until(lambda: any(name.endswith(".volumes") for name in world.files()))
        assert cloud.server(request.server_id).status == "BUILD"

        cloud.delete(request.server_id)

        assert cloud.servers() == []
        assert world.files() == set()


def test_without_a_driver_a_server_ends_as_ready_to_connect_and_cannot_be_stopped(site, tmp_path, raw_image):
    world = sites.World(site, tmp_path)
    with world.cloud() as cloud:
        server = boot(cloud, raw_image)
        assert (server.status, server.task_state, server.host) == ("BUILD", "spawning", None)
        with pytest.raises(Unsupported, match=r"\[compute\] driver"):
            cloud.stop(server.id)
        cloud.delete(server.id)


def test_a_driver_that_is_not_there_is_told(world):
    world.config.write_text(world.config.read_text().replace("driver = example", "driver = nonesuch"))
    with pytest.raises(BadConfig, match=r"nonesuch; installed are: .*example"):
        bfv.connect(world.config)


class Noting(example.ExampleDriver):
    """Keeps the guests that it was asked to run."""

    def __init__(self, conf):
        super().__init__(conf)
        self.asked = []

    def spawn(self, host, guest):
        self.asked.append(guest)
        super().spawn(host, guest)


def test_a_host_is_told_the_networks_and_the_password_that_were_asked_for(world, site, raw_image):
    networks = [{"uuid": "11111111-2222-4333-8444-555555555555", "fixed_ip": "10.0.0.9"}]
    with world.cloud() as cloud:
        driver = Noting(cloud.parts.conf)
        cloud.use(dataclasses.replace(cloud.parts, driver=driver))
        server = boot(cloud, raw_image, networks=networks, security_groups=("strict",), admin_pass="s3cret")
        settled(cloud, cloud.rebuild(server.id, raw_image))
        first, again = driver.asked
        assert (first.networks, first.security_groups, first.admin_pass) == (networks, ("strict",), "s3cret")
        assert (again.networks, again.security_groups, again.admin_pass) == (networks, ("strict",), None)
        assert "s3cret" not in repr(first)
        cloud.delete(server.id)
