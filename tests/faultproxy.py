# SPDX-License-Identifier: Apache-2.0
"""A proxy on a real socket in front of a real service, that loses, delays, doubles and fails calls by rule.

What a service does when its answer is lost cannot be tested against a stub: it must really have done it, and the
caller must really see its connection end. What no rule is for passes as it is, but for the Host header.
"""

import contextlib
import http.client
import re
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

HOP = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
SECRET = {"authorization", "x-auth-token", "x-service-token", "x-subject-token"}
PIECE = 1 << 16
KEPT = 1 << 20  # So much of a request's body is recorded.


@dataclass(frozen=True)
class Fault:
    """What a call meets, before or after the service did it: a pause, then maybe an end that is not its answer."""

    end: str = ""  # "": the true answer; or "lose", "reset", "status"
    before: bool = False
    times: int = 1
    code: int = 503
    body: bytes = b""
    pause: Callable[[threading.Event], object] = field(default=lambda closing: None, repr=False)


lose_before = Fault("lose", before=True)  # The connection ends, and the service hears nothing.
lose_after = Fault("lose")  # The service does it, then the connection ends without an answer.
reset = Fault("reset")  # The same, but the end is a TCP reset.
doubled = Fault(times=2)  # The service is asked twice; its second answer is given.


def late(seconds):
    """The answer comes so much later than the service gave it."""
    return Fault(pause=lambda closing: closing.wait(seconds))


def hold(event, before=False):
    """The call waits for the event (or the proxy's end): with its answer, or before the service hears of it."""

    def pause(closing):
        while not (closing.is_set() or event.wait(0.02)):
            pass

    return Fault(before=before, pause=pause)


def status(code, body=b""):
    """The service hears nothing, and the answer is this."""
    return Fault("status", before=True, code=code, body=body)


def status_after(code, body=b""):
    """The service does it, but the answer is this."""
    return Fault("status", code=code, body=body)


def named(name, seconds=0.0, code=503):
    """Return the fault of a name, for tests that go through a list of them."""
    plain = {"lost before": lose_before, "lost after": lose_after, "reset after": reset, "doubled": doubled}
    made = {"late": late(seconds), "failed before": status(code), "failed after": status_after(code)}
    return (plain | made)[name]


@dataclass
class Call:
    """A call that came by, recorded from its arrival on; header names are in lower case, tokens are not shown.

    ``sent`` is how often the service was asked, ``status`` and ``request_id`` are what it answered (None: not yet, or
    never), whatever the caller was given.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    when: float
    body: bytes = field(default=b"", repr=False)
    sent: int = 0
    status: int | None = None
    request_id: str | None = None

    def fits(self, method, path):
        return method in (None, self.method) and re.search(path, self.path) is not None


@dataclass
class Rule:
    """What is done to calls of a method (None: any) whose path without query matches: to all, or to the ``nth``.

    ``seen`` counts the calls that matched; ``met`` is set once one has come to where it is held, lost or failed.
    """

    method: str | None
    path: str
    act: Fault | Callable[[Call], object]
    nth: int | None = None
    seen: int = 0
    met: threading.Event = field(default_factory=threading.Event, repr=False)

    def hits(self, call):
        self.seen += (fits := call.fits(self.method, self.path))
        return fits and self.nth in (None, self.seen)


class FaultProxy:
    """``with FaultProxy(url) as proxy``: ``proxy.url`` is the service with faults, ``proxy.calls`` what came by.

    ``rewrite`` has the service's address replaced by the proxy's in JSON answers and Location headers, so that who
    follows a link stays here. The first rule that hits decides; each rule counts for itself.
    """

    def __init__(self, upstream, rewrite=True, timeout=120):
        self.upstream, self.rewrite, self.timeout = urlsplit(upstream), rewrite, timeout
        if self.upstream.scheme != "http":
            raise ValueError(f"only http is spoken here, not {upstream}")
        self.rules, self.callbacks, self.calls, self.failures = [], [], [], []
        self.connections, self.lock, self.closing = [], threading.Lock(), threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        self.url = self.origin + self.upstream.path
        self._theirs = re.compile(re.escape(f"http://{self.upstream.netloc}") + r"(?![\w.:-])")

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, kind, *_):
        """End all connections, held calls without an answer; raise what went wrong in a callback."""
        self.closing.set()
        self._server.shutdown()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()
        if self.failures and kind is None:
            raise self.failures[0]

    def rule(self, method, path, fault, nth=None, **how):
        """Have calls meet a fault, or one by its name (see ``named``, also for ``how``); return the rule."""
        rule = Rule(method, path, named(fault, **how) if isinstance(fault, str) else fault, nth)
        self.rules.append(rule)
        return rule

    def on(self, method, path, callback, nth=None):
        """Have ``callback(call)`` called when the service has done it and the caller has no answer yet."""
        self.callbacks.append(Rule(method, path, callback, nth))

    def clear(self):
        """Forget all rules and callbacks; the recorder keeps its calls."""
        self.rules.clear()
        self.callbacks.clear()

    def count(self, method, path):
        """Return how many such calls came by."""
        return sum(call.fits(method, path) for call in list(self.calls))

    def hits(self, rules, call):
        with self.lock:
            return [rule for rule in rules if rule.hits(call)]

    def here(self, text):
        """Return a text with the service's address replaced."""
        return self._theirs.sub(self.origin, text) if self.rewrite else text


class _Server(ThreadingHTTPServer):
    daemon_threads, request_queue_size = False, 128

    def process_request(self, request, client_address):
        self.proxy.connections.append(request)
        super().process_request(request, client_address)

    def handle_error(self, *_):
        if not isinstance(error := sys.exc_info()[1], OSError | http.client.HTTPException):
            self.proxy.failures.append(error)  # Others mean that one of the sides left, which is what we are for.


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle_any(self):
        proxy, (path, _, query) = self.server.proxy, self.path.partition("?")
        headers = {key.lower(): value for key, value in self.headers.items()}
        headers |= dict.fromkeys(SECRET & headers.keys(), "(present)")
        call = Call(self.command, path, query, headers, time.monotonic())
        proxy.calls.append(call)
        rule = next(iter(proxy.hits(proxy.rules, call)), None)
        fault = rule.act if rule else Fault()
        body = list(self._body(call)) if fault.before or fault.times > 1 else self._body(call)
        if rule and fault.before and self._ends(rule):
            return
        with contextlib.ExitStack() as stack:
            for left in reversed(range(fault.times)):
                answer = self._ask(stack, call, body)
                while (left or fault.end) and answer.read(PIECE):
                    pass
            for each in proxy.hits(proxy.callbacks, call):
                each.act(call)
            if not (rule and not fault.before and self._ends(rule)):
                self._give(answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = handle_any

    def _ends(self, rule):
        """Let the call meet its fault; return whether that was its end."""
        fault, closing = rule.act, self.server.proxy.closing
        rule.met.set()
        fault.pause(closing)
        if closing.is_set() or fault.end in ("lose", "reset"):
            self.close_connection = True
            if fault.end == "reset":  # An orderly shutdown before it would be all that the client sees.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.rfile.close()
                self.connection.close()
            return True
        if fault.end == "status":
            kind = [("Content-Type", "application/json")] if fault.body else []
            self._head(fault.code, None, [*kind, ("Content-Length", str(len(fault.body)))])
            self.wfile.write(b"" if self.command == "HEAD" else fault.body)
        return fault.end == "status"

    def _body(self, call):
        """Yield the request's body in pieces as it comes, and record its beginning."""
        chunked, left = "Transfer-Encoding" in self.headers, int(self.headers["Content-Length"] or 0)
        while left or chunked:
            if not left and not (left := int(self.rfile.readline().partition(b";")[0], 16)):
                while self.rfile.readline().strip():
                    pass  # Trailers, and the end.
                return
            piece = self.rfile.read(min(left, PIECE))
            if not piece:
                raise http.client.IncompleteRead(call.body)
            left -= len(piece)
            if chunked and not left:
                self.rfile.readline()
            call.body += piece[: KEPT - len(call.body)]
            yield piece

    def _ask(self, stack, call, body):
        """Send the request on and return the answer, of which only the head has been read."""
        proxy, chunked = self.server.proxy, "Transfer-Encoding" in self.headers
        link = http.client.HTTPConnection(proxy.upstream.hostname, proxy.upstream.port, timeout=proxy.timeout)
        stack.callback(link.close)
        link.connect()
        proxy.connections.append(link.sock)
        if proxy.closing.is_set():
            raise ConnectionError("the proxy ends")
        link.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for key, value in self.headers.items():
            if key.lower() not in HOP | {"host", "expect"}:
                link.putheader(key, value)
        link.putheader("Host", proxy.upstream.netloc)
        if chunked:
            link.putheader("Transfer-Encoding", "chunked")
        call.sent += 1
        try:
            link.endheaders(body, encode_chunked=chunked)
        except ConnectionError:  # It listens no more, but it may have answered why.
            self.close_connection = True
        answer = link.getresponse()
        call.status, call.request_id = answer.status, answer.getheader("x-openstack-request-id")
        return answer

    def _give(self, answer):
        """Give the service's answer to the caller, in pieces as it comes unless links in it are rewritten."""
        here, length = self.server.proxy.here, answer.getheader("Content-Length")
        pieces = iter(lambda: answer.read(PIECE), b"")
        plain = answer.length != 0 and not answer.getheader("Content-Encoding")
        if plain and self.server.proxy.rewrite and "json" in answer.getheader("Content-Type", ""):
            pieces = [here(answer.read().decode("latin-1")).encode("latin-1")]  # Any bytes survive this.
            length = str(len(pieces[0]))
        headers = [(key, here(value) if key.lower() == "location" else value) for key, value in answer.getheaders()]
        headers = [each for each in headers if each[0].lower() not in HOP | {"content-length"}]
        chunked = length is None and answer.length is None
        if chunked or length is not None:
            headers.append(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", length))
        self._head(answer.status, answer.reason, headers)
        for piece in pieces:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        self.wfile.write(b"0\r\n\r\n" if chunked else b"")
        self.close_connection |= bool(answer.length)  # The service broke off, so do we.

    def _head(self, code, reason, headers):
        self.send_response_only(code, reason)
        for key, value in headers:
            self.send_header(key, value)
        self.end_headers()

    def log_message(self, *_):
        """Say nothing; the recorder has it."""
