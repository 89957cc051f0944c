# SPDX-License-Identifier: Apache-2.0
"""A process that runs one verb of bfv and is killed at a boundary: before its Nth commit, or around a call.

Nothing of bfv is patched: SQLAlchemy and requests tell when they are about to commit or have got an answer, and
Python itself when a guest of the example driver is about to change.
Usage: python -m tests.victim CONFIG KIND NUMBER VERB [ARGUMENT ...]; KIND is commit, before or after (a changing
call of the storage services), guest, or none: then the number of boundaries of each kind is printed. The verb cli runs
the command with these words.
"""

import json
import os
import signal
import sys
import threading

import requests
import sqlalchemy as sa
from sqlalchemy import event

import bfv
from bfv import cli, compare
from bfv.caller import from_environment
from bfv.migrate import look, wave
from bfv.types import ServerEvent
from tests import leaks

COUNTS = {"commit": 0, "before": 0, "after": 0, "guest": 0}
LOCK = threading.Lock()


def at(kind, wanted, number):
    if threading.current_thread().name == "bfv-heartbeat":
        # How often it beats is a matter of time: a boundary would have another number in each run.
        return
    with LOCK:
        COUNTS[kind] += 1
        reached = kind == wanted and COUNTS[kind] == number
    if reached:
        os.kill(os.getpid(), signal.SIGKILL)


def watch(wanted, number):
    """Have the process killed at the boundary."""

    @event.listens_for(sa.Engine, "commit")
    def on_commit(connection):
        if connection.get_execution_options().get("bfv_writer"):
            at("commit", wanted, number)

    def on_file(name, args):
        if name in ("os.rename", "os.remove") and "/guests/" in str(args[0]):
            at("guest", wanted, number)

    sys.addaudithook(on_file)
    send = requests.adapters.HTTPAdapter.send

    def counted(self, request, **kwargs):
        changes = request.method != "GET" and "/auth/tokens" not in request.url
        if changes:
            at("before", wanted, number)
        answer = send(self, request, **kwargs)
        if changes:
            at("after", wanted, number)
        return answer

    requests.adapters.HTTPAdapter.send = counted


def migrate(cloud, server_id, option=None, value=None):
    """Convert a server and settle it; ``option`` is --way or --tier."""
    more = {option.lstrip("-"): value} if option else {}
    [plan] = look.read(cloud.parts, look.Selection((server_id,), **more))
    wave.convert(cloud.parts, plan, "1")
    wave.settle(cloud.parts, [server_id], lambda *_: None)


def main():
    """Run a verb and return how it ended, as a process tells it."""
    config, kind, number, verb, *words = sys.argv[1:]
    leaks.watch_here()
    if verb == "cli":
        return cli.main(["--config-file", config, *words])
    with bfv.connect(config, from_environment) as cloud:
        watch(kind, int(number))
        if verb == "boot":
            image, server_id, *disks = words
            request = bfv.BootRequest(
                image=image, flavor="tiny", name=os.environ["BFV_TEST_NAME"], server_id=server_id,
                disks=tuple(bfv.DiskDevice(**each) for text in disks for each in json.loads(text)),
            )  # fmt: skip
            cloud.boot(request)
            cloud.wait(server_id, 300)
        elif verb == "delete":
            cloud.delete(words[0])
        elif verb == "rebuild":
            cloud.rebuild(words[0], words[1])
            cloud.wait(words[0], 300)
        elif verb == "compare":
            compare.compare(cloud.parts, from_environment(), compare.Plan(words[0], words[1:], count=1))
        elif verb == "disconnect":
            cloud.disconnect(words[0])
        elif verb == "attach":
            cloud.attach_volume(words[0], bfv.VolumeRequest(words[1]))
        elif verb == "detach":
            cloud.detach_volume(words[0], words[1])
        elif verb == "createImage":
            cloud.create_image(words[0], os.environ["BFV_TEST_NAME"])
            cloud.wait(words[0], 300)
        elif verb == "deleteImage":
            cloud.images.delete(words[0])
        elif verb == "lock":
            cloud.edits.lock(words[0], from_environment(), "why")
        elif verb == "tell":
            cloud.tell(ServerEvent(words[0], "volume-extended", tag=words[1]))
            cloud.wait(words[0], 300)
        elif verb == "warm":
            cloud.images.warm(words[0], [words[1]])
        elif verb == "migrate":
            migrate(cloud, *words)
        elif verb in ("unmigrate", "purge"):
            wave.turn(cloud.parts, words[0], verb)
        elif verb == "repair":
            cloud.repair()
        elif verb in ("stop", "start", "reboot"):
            getattr(cloud, verb)(words[0])
            cloud.wait(words[0], 300)
    print(json.dumps(COUNTS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
