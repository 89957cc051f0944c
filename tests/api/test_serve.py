# SPDX-License-Identifier: Apache-2.0
"""`bfv serve` as a process: it ends requests in flight, and the next one goes on with what the last one left."""

import contextlib
import datetime as dt
import ipaddress
import os
import re
import signal
import subprocess
import sys
import threading

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from keystoneauth1.session import Session

from bfv import config
from bfv.api.service import Service
from bfv.cloud import Cloud
from bfv.errors import BadConfig
from tests import leaks, sites
from tests.api.conftest import Door, world_with_hosts

SLOW = {"creating": {"seconds": 1.5}}


@pytest.fixture
def own_world(site, tmp_path):
    return world_with_hosts(site, tmp_path)


class Process:
    """A running `bfv serve`."""

    def __init__(self, world, log, port=0):
        environment = {**os.environ, "PYTHONPATH": str(sites.ROOT), "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-m", "bfv", "--config-file", str(world.config), "serve", "--port", str(port)]
        self.log = log
        self._errors = log.open("w")
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self._errors, text=True, env=environment, cwd=world.home
        )
        line = self.process.stdout.readline()
        found = re.search(r"https?://\S+", line)
        assert found, (line, log.read_text())
        self.door = Door(world, found[0])

    def end(self, number=signal.SIGTERM):
        """End it by a signal and return its exit code."""
        self.process.send_signal(number)
        code = self.process.wait(120)
        self.process.stdout.close()
        self._errors.close()
        leaks.look(str(self.log), self.log.read_text())
        return code


@pytest.fixture
def serve(own_world, tmp_path):
    started = []

    def start():
        started.append(Process(own_world, tmp_path / f"log{len(started)}"))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.end(signal.SIGKILL)


def test_a_killed_boot_is_finished_by_the_next_process_which_logs_requests_and_no_secrets(serve, site, image):
    requests.put(f"{site.control_url}/pace", json=SLOW, timeout=60)
    first = serve()
    server_id = first.door.boot(image, adminPass="s3cret-pass", user_data="czNjcmV0")
    first.end(signal.SIGKILL)
    requests.put(f"{site.control_url}/pace", json={}, timeout=60)
    second = serve()
    shown = second.door.running(server_id)
    assert len(shown["os-extended-volumes:volumes_attached"]) == 1
    request_id = second.door("GET", f"/servers/{server_id}?x=y").headers["x-openstack-request-id"]
    second.door("GET", "/fla%0avors", headers={"X-User-Id": "evil"}, user=None)
    assert second.door("DELETE", f"/servers/{server_id}").status_code == 204
    second.door.gone(server_id)
    # A request in flight at SIGTERM is answered.
    rule = {"kind": "late", "method": "GET", "path": f"/images/{image}", "seconds": 1.0}
    requests.post(f"{site.control_url}/faults", json=rule, timeout=60).raise_for_status()
    answers = []
    thread = threading.Thread(target=lambda: answers.append(second.door.boot(image)))
    thread.start()
    sites.until(lambda: requests.get(f"{site.control_url}/faults", timeout=60).json()["faults"][0]["hit"])
    assert second.end() == 0
    thread.join(10)
    requests.delete(f"{site.control_url}/faults", timeout=60).raise_for_status()
    assert len(answers) == 1
    text = second.log.read_text()
    assert re.search(rf"{request_id} user \w+ project \w+ GET /v2.1/servers/{server_id} 200 \d+ ms\n", text)
    assert "GET /v2.1/fla\\nvors 401" in text
    for other in ("Traceback", "SELECT", "evil"):
        assert other not in text


def test_a_stop_lets_a_request_in_flight_end_and_takes_no_other(own_world, site, image):
    cloud = Cloud(config.load(own_world.config), None)
    service = Service(cloud, "127.0.0.1", 0)
    service.start()
    door = Door(own_world, service.url)
    door.token("demo")
    # The image is looked at within the request.
    rule = {"kind": "late", "method": "GET", "path": f"/images/{image}", "seconds": 1.0}
    requests.post(f"{site.control_url}/faults", json=rule, timeout=60).raise_for_status()
    answers = []
    thread = threading.Thread(target=lambda: answers.append(door.boot(image)))
    thread.start()
    sites.until(lambda: requests.get(f"{site.control_url}/faults", timeout=60).json()["faults"][0]["hit"])
    service.stop()
    thread.join(120)
    assert len(answers) == 1
    with pytest.raises(requests.ConnectionError):
        door("GET", "/flavors")
    cloud.close(60)
    requests.delete(f"{site.control_url}/faults", timeout=60)


def certificate(home):
    """Write a certificate for loopback, signed by itself, and its key; return their files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bfv")])
    now = dt.datetime.now(dt.UTC)
    valid = now - dt.timedelta(days=1), now + dt.timedelta(days=1)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), *valid)
    loopback = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = made.add_extension(loopback, False).add_extension(x509.BasicConstraints(True, None), True)
    files = home / "certificate.pem", home / "key.pem"
    files[0].write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                           serialization.NoEncryption()))  # fmt: skip
    return files


def test_with_a_certificate_it_speaks_tls_alone(own_world, serve, site):
    public, private = certificate(own_world.home)
    text = own_world.config.read_text()
    own_world.config.write_text(f"{text}[api]\ncertificate = {public}\nprivate_key = {private}\n")
    door = serve().door
    assert door.url.startswith("https://")
    session = Session(auth=site.auth("demo"), verify=str(public))
    listed = session.get(f"{door.url}/flavors", headers={"OpenStack-API-Version": "compute 2.96"}).json()["flavors"]
    assert {each["links"][0]["href"].split("/v2.1")[0] for each in listed} == {door.url.removesuffix("/v2.1")}
    with pytest.raises(requests.exceptions.SSLError):
        door("GET", "/flavors")
    # It says so, or has hung up before that was read.
    with contextlib.suppress(requests.ConnectionError):
        assert requests.get(door.url.replace("https:", "http:"), timeout=60).status_code == 400
    own_world.config.write_text(f"{text}[api]\ncertificate = {private}\n")
    cloud = Cloud(config.load(own_world.config), None)
    with contextlib.closing(cloud), pytest.raises(BadConfig, match="certificate"):
        Service(cloud, "127.0.0.1", 0)
