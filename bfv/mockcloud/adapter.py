# SPDX-License-Identifier: Apache-2.0
"""The door without a socket: a requests-mock matcher, for all of this process that speaks through ``requests``."""

from typing import Any
from urllib.parse import urlsplit

import requests
import requests_mock
from requests_mock.response import create_response

from bfv.mockcloud import control
from bfv.mockcloud.app import App
from bfv.mockcloud.faults import Lost
from bfv.mockcloud.state import Cloud, Settings
from bfv.mockcloud.wire import Json, parse

URL = "http://cloud.mock"


class InProcess:
    """A cloud at an address that is not there; use it as a context manager, or mount ``matcher`` yourself."""

    def __init__(self, cloud: Cloud | None = None, url: str = URL) -> None:
        self.cloud = cloud or Cloud(Settings())
        self.url = url
        self._app = App(self.cloud)
        self._host = urlsplit(url).netloc
        self._mocker: Any = None

    @property
    def auth_url(self) -> str:
        """Keystone's address."""
        return f"{self.url}/identity/v3"

    def describe(self) -> Json:
        """Return all addresses, names and credentials."""
        with self.cloud.lock:
            return control.describe(self.cloud, self.url)

    def matcher(self, request: Any) -> Any:
        """Answer a request of ours, None for one to another host."""
        if urlsplit(request.url).netloc != self._host:
            return None
        parsed = parse(request.method, request.url, dict(request.headers), _bytes(request.body), self.url)
        try:
            response = self._app.answer(parsed)
        except Lost as error:
            raise requests.exceptions.ConnectionError("the answer was lost") from error
        content = b"" if request.method == "HEAD" or response.status == 204 else response.content()
        headers = {**response.headers, "Content-Length": str(len(content))}
        return create_response(request, status_code=response.status, headers=headers, content=content)

    def __enter__(self) -> "InProcess":
        self._mocker = requests_mock.Mocker(real_http=True)
        self._mocker.start()
        self._mocker.add_matcher(self.matcher)
        return self

    def __exit__(self, *error: object) -> None:
        self._mocker.stop()


def _bytes(body: Any) -> bytes:
    """Return a body as bytes, whatever ``requests`` was given: text, bytes, a file or chunks."""
    if body is None:
        return b""
    if isinstance(body, str):
        return body.encode()
    if isinstance(body, bytes | bytearray):
        return bytes(body)
    if hasattr(body, "read"):
        return bytes(body.read())
    return b"".join(body)
