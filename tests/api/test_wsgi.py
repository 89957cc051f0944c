# SPDX-License-Identifier: Apache-2.0
"""The WSGI application under servers that are not ours: the standard library's, and in the lab uWSGI."""

import os
import signal
import subprocess
import sys

import pytest
import requests

from lab.process import free_port
from tests import leaks, sites
from tests.api.conftest import Door, world_with_hosts

SLOW = {"creating": {"seconds": 1.5}}
# With a thread for each request, and an end in good order.
WSGIREF = """
import signal, socketserver, sys
from wsgiref import simple_server
from bfv.api.wsgi import application

class Threads(socketserver.ThreadingMixIn, simple_server.WSGIServer):
    daemon_threads = True

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
simple_server.make_server("127.0.0.1", int(sys.argv[1]), application, Threads).serve_forever()
"""
DOCUMENT = sites.ROOT / "docs" / "compute-api.md"


def command(kind, port, world):
    if kind == "wsgiref":
        return [sys.executable, "-c", WSGIREF, str(port)]
    # As the document says, but for the address and the configuration.
    text = DOCUMENT.read_text().partition("```ini\n[uwsgi]")[2].partition("```")[0]
    for told, here in (("0.0.0.0:8774", f"127.0.0.1:{port}"), ("/etc/bfv/bfv.conf", str(world.config))):
        assert told in text
        text = text.replace(told, here)
    settings = world.home / "uwsgi.ini"
    settings.write_text(f"[uwsgi]{text}")
    return [f"{sys.prefix}/bin/uwsgi", "--ini", str(settings), "--virtualenv", sys.prefix]


@pytest.fixture
def own_world(site, tmp_path):
    return world_with_hosts(site, tmp_path)


@pytest.fixture(params=["wsgiref", pytest.param("uwsgi", marks=pytest.mark.lab)])
def serve(request, own_world):
    """Return what starts a process that serves, and yields its door and what ends it."""
    running = []

    def start():
        port, log = free_port(), own_world.home / f"wsgi{len(running)}.log"
        given = {"PYTHONPATH": str(sites.ROOT), "BFV_CONFIG_FILE": str(own_world.config)}
        with log.open("w") as out:
            words = command(request.param, port, own_world)
            process = subprocess.Popen(words, stdout=out, stderr=out, cwd=own_world.home, env={**os.environ, **given})
        running.append((process, log))
        door = Door(own_world, f"http://127.0.0.1:{port}/v2.1")
        sites.until(lambda: process.poll() is not None or answers(door), 60)

        def end(number=signal.SIGTERM):
            process.send_signal(number)
            return process.wait(120)

        return door, end, log

    yield start
    for process, log in running:
        if process.poll() is None:
            process.kill()
            process.wait()
        leaks.look(str(log), log.read_text())


def answers(door):
    try:
        return requests.get(door.url.removesuffix("/v2.1"), timeout=5).ok
    except requests.ConnectionError:
        return False


def test_a_server_boots_and_what_a_stop_leaves_the_next_process_ends(serve, site, image):
    door, end, log = serve()
    kept = door.running(door.boot(image))["id"]
    requests.put(f"{site.control_url}/pace", json=SLOW, timeout=60)
    begun = door.boot(image)
    assert end() == 0
    requests.put(f"{site.control_url}/pace", json={}, timeout=60)
    text = log.read_text()
    assert f"GET /v2.1/servers/{kept} 200" in text
    assert "Traceback" not in text
    door, end, _ = serve()
    assert len(door.running(begun)["os-extended-volumes:volumes_attached"]) == 1
    for server_id in (kept, begun):
        assert door("DELETE", f"/servers/{server_id}").status_code == 204
        door.gone(server_id)
    assert end() == 0
