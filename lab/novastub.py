# SPDX-License-Identifier: Apache-2.0
"""The questions Cinder asks of Nova, answered from memory: is this volume attached, and take this event.

Tests steer it over HTTP: PUT and DELETE /_stub/attachments {server, volume, attachment}, GET and DELETE
/_stub/events, and PUT /_stub/fault {status} to make each compute call fail (status 0 ends that).
"""

import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lab.settings import HOST, PORTS, url

VERSION = {
    "id": "v2.1",
    "status": "CURRENT",
    "version": "2.100",
    "min_version": "2.1",
    "updated": "2013-07-23T11:33:21Z",
    "links": [{"rel": "self", "href": url("novastub", "/v2.1/")}],
}
NOT_FOUND = {"itemNotFound": {"code": 404, "message": "not found"}}
ATTACHMENT = re.compile(r"/v2\.1/servers/([^/]+)/os-volume_attachments/([^/]+)")

Answer = tuple[int, Any]


class Nova:
    """What the stub knows; each public method is one call of the table below."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.attachments: dict[tuple[str, str], str] = {}
        self.events: list[dict[str, Any]] = []
        self.fault = 0

    def answer(self, method: str, path: str, body: dict[str, Any]) -> Answer:
        with self.lock:
            if path.startswith("/_stub/"):
                return self.control(method, path.removeprefix("/_stub/"), body)
            if self.fault:
                return self.fault, {"computeFault": {"code": self.fault, "message": "fault of the stub"}}
            return self.compute(method, path, body)

    def control(self, method: str, what: str, body: dict[str, Any]) -> Answer:
        if what == "events":
            events = list(self.events)
            if method == "DELETE":
                self.events.clear()
            return 200, events
        if what == "fault" and method == "PUT":
            self.fault = body["status"]
            return 200, {}
        if what == "attachments" and method == "PUT":
            self.attachments[body["server"], body["volume"]] = body["attachment"]
            return 200, {}
        if what == "attachments" and method == "DELETE":
            self.attachments.pop((body["server"], body["volume"]), None)
            return 200, {}
        return 404, NOT_FOUND

    def compute(self, method: str, path: str, body: dict[str, Any]) -> Answer:
        if path in ("", "/"):
            return 200, {"versions": [VERSION]}
        if path.rstrip("/") == "/v2.1":
            return 200, {"version": VERSION}
        if method == "POST" and path.endswith("/os-server-external-events"):
            self.events.extend(body["events"])
            return 200, {"events": [{"status": "completed", **event, "code": 200} for event in body["events"]]}
        if method == "GET" and (match := ATTACHMENT.fullmatch(path)):
            return self.attachment(*match.groups())
        return 404, NOT_FOUND

    def attachment(self, server: str, volume: str) -> Answer:
        ident = self.attachments.get((server, volume))
        if ident is None:
            return 404, NOT_FOUND
        return 200, {
            "volumeAttachment": {
                "id": volume,
                "serverId": server,
                "volumeId": volume,
                "attachment_id": ident,
                "device": "/dev/vdb",
                "bdm_uuid": ident,
                "delete_on_termination": False,
                "tag": None,
            }
        }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    nova = Nova()

    def handle_any(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"{}")
        status, answer = self.nova.answer(self.command, self.path.partition("?")[0], body)
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PUT = do_POST = do_DELETE = handle_any

    def log_message(self, text: str, *values: object) -> None:
        print(time.strftime("%T"), text % values, flush=True)


def main() -> None:
    ThreadingHTTPServer((HOST, PORTS["novastub"]), Handler).serve_forever()


if __name__ == "__main__":
    main()
