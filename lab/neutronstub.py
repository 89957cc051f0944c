# SPDX-License-Identifier: Apache-2.0
"""A network service without networks: what nova asks for a server that wants none is an empty list."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from lab.settings import HOST, PORTS

COLLECTIONS = ("extensions", "ports", "networks", "subnets", "security-groups", "quotas", "floatingips")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        name = self.path.partition("?")[0].rstrip("/").rpartition("/")[2]
        key = name.replace("-", "_")
        data = json.dumps({key: []} if name in COLLECTIONS else {"versions": []}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main() -> None:
    ThreadingHTTPServer((HOST, PORTS["neutronstub"]), Handler).serve_forever()


if __name__ == "__main__":
    main()
