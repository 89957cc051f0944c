# SPDX-License-Identifier: Apache-2.0
"""A compute service that only writes down what it is asked, and answers as it is told to: what cinder sends is seen."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION = {
    "id": "v2.1",
    "status": "CURRENT",
    "version": "2.96",
    "min_version": "2.1",
    "updated": "2013-07-23T11:33:21Z",
}
ATTACHMENT = re.compile(r"/v2\.1/servers/([^/]+)/os-volume_attachments/([^/]+)")
EVENTS = "/v2.1/os-server-external-events"


class Compute:
    """Listens on a port; ``calls`` holds what came, ``code`` and ``attachment`` say what is answered."""

    def __init__(self, port):
        self.calls, self.code, self.attachment = [], 200, None
        compute = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                code, told = compute.answer(self.command, self.path, dict(self.headers.items()), body)
                data = json.dumps(told).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = answer

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/v2.1"

    def answer(self, method, path, headers, body):
        if path.rstrip("/") in ("", "/v2.1"):
            return 200, {"version": VERSION} if "v2.1" in path else {"versions": [VERSION]}
        headers = {name.lower(): value for name, value in headers.items()}
        self.calls.append((method, path, headers, json.loads(body or b"null")))
        if self.code != 200:
            return self.code, {"computeFault": {"code": self.code, "message": "told to"}}
        if path == EVENTS:
            return 200, {
                "events": [{**each, "status": "completed", "code": 200} for each in self.calls[-1][3]["events"]]
            }
        server, volume = ATTACHMENT.fullmatch(path).groups()
        view = {"volumeId": volume, "serverId": server, "attachment_id": self.attachment, "device": "/dev/vda"}
        return 200, {"volumeAttachment": {**view, "tag": None, "delete_on_termination": True, "bdm_uuid": volume}}
