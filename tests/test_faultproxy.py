# SPDX-License-Identifier: Apache-2.0
"""The proxy does what its rules say and nothing else: other tests prove crash safety by it, so it is proven first."""

import contextlib
import http.client
import json
import re
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from tests import faultproxy as faults
from tests.faultproxy import PIECE, FaultProxy
from tests.sites import until


class Service(ThreadingHTTPServer):
    """Answers each call with what it got, and remembers it."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self.server_port}"
        self.got, self.pieces, self.go = [], [], threading.Event()

    def handle_error(self, *_):
        """Callers that leave are what the tests are about."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Service

    def any(self):
        _, _, kind = self.path.partition("?kind=")
        body = b"".join(self.body())
        self.server.got.append((self.command, self.path, self.headers.items(), body))
        getattr(self, f"say_{kind}" if hasattr(self, f"say_{kind}") else "say")(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = any

    def body(self):
        if self.headers["Transfer-Encoding"] == "chunked":
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        elif left := int(self.headers["Content-Length"] or 0):
            while left:
                piece = self.rfile.read(min(PIECE, left))
                if not piece:
                    return
                self.server.pieces.append(piece)
                left -= len(piece)
                yield piece

    def say(self, body, kind="text/plain", code=202, **headers):
        body = b"%d " % len(self.server.got) + body
        self.send_response_only(code, "As You Like")
        headers = {"Content-Type": kind, "Content-Length": len(body), "x-openstack-request-id": "req-1", **headers}
        for key, value in headers.items():
            self.send_header(key, str(value))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    def say_json(self, body):
        self.say(body, "application/json", Location=f"{self.server.origin}/there")

    def say_gone(self, body):
        self.send_response_only(204)
        self.end_headers()

    def say_chunked(self, body):
        self.send_response_only(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in (b"one", b"two"):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def say_slow(self, body):
        self.send_response_only(200)
        self.send_header("Content-Length", str(2 * PIECE))
        self.end_headers()
        self.wfile.write(bytes(PIECE))
        self.server.go.wait(60)
        self.wfile.write(bytes(PIECE))

    def say_half(self, body):
        self.send_response_only(200)
        self.send_header("Content-Length", "10")
        self.end_headers()
        self.wfile.write(b"half")
        self.close_connection = True

    def say_nothing(self, body):
        self.close_connection = True

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def service():
    with Service() as service:
        thread = threading.Thread(target=service.serve_forever, args=(0.02,))
        thread.start()
        yield service
        service.go.set()
        service.shutdown()
        thread.join()


@pytest.fixture
def proxy(service):
    with FaultProxy(f"{service.origin}/v3") as proxy:
        yield proxy


@contextlib.contextmanager
def linked(proxy):
    link = http.client.HTTPConnection(urlsplit(proxy.url).netloc, timeout=60)
    with contextlib.closing(link):
        yield link


def ask(proxy, method="POST", path="/v3/volumes", body=b"x", headers=(), link=None):
    """Make one call and return the answer and its body."""
    with contextlib.nullcontext(link) if link else linked(proxy) as link:
        link.request(method, path, body, dict(headers))
        answer = link.getresponse()
        return answer, answer.read()


def test_what_no_rule_is_for_passes_as_it_is_but_for_host(proxy, service):
    assert proxy.url == f"{proxy.origin}/v3"
    with linked(proxy) as link:
        link.putrequest("PUT", "/v3/a%20b?q=1&q=2", skip_accept_encoding=True)
        for key, value in [("X-Twice", "1"), ("X-Twice", "2"), ("Content-Length", "3")]:
            link.putheader(key, value)
        link.endheaders(b"\x00\xff\n")
        answer = link.getresponse()
        data = answer.read()

    host = ("Host", urlsplit(service.origin).netloc)
    [(method, path, headers, body)] = service.got
    assert (method, path, body) == ("PUT", "/v3/a%20b?q=1&q=2", b"\x00\xff\n")
    assert sorted(headers) == sorted([host, ("X-Twice", "1"), ("X-Twice", "2"), ("Content-Length", "3")])
    assert (answer.status, answer.reason, data) == (202, "As You Like", b"1 \x00\xff\n")
    theirs = {"Content-Type": "text/plain", "x-openstack-request-id": "req-1", "Content-Length": "5"}
    assert dict(answer.getheaders()) == theirs


def test_the_recorder_knows_all_but_tokens(proxy):
    began = time.monotonic()
    ask(proxy, path="/v3/volumes?all=1", headers={"X-Auth-Token": "t1", "X-Service-Token": "t2", "X-Mine": "m"})
    ask(proxy, "GET", headers={"X-Subject-Token": "t3"}, body=None)

    one, two = proxy.calls
    assert (one.method, one.path, one.query, one.body) == ("POST", "/v3/volumes", "all=1", b"x")
    assert (one.status, one.request_id, one.sent) == (202, "req-1", 1)
    assert began <= one.when <= two.when <= time.monotonic()
    assert (one.headers["x-auth-token"], one.headers["x-service-token"]) == ("(present)", "(present)")
    assert (one.headers["x-mine"], two.headers["x-subject-token"]) == ("m", "(present)")
    assert "x-auth-token" not in two.headers
    assert not re.search("t[123]'", repr(proxy.calls))
    assert (proxy.count("POST", "/volumes$"), proxy.count(None, "/vol"), proxy.count("PUT", "")) == (1, 2, 0)


@pytest.mark.parametrize(
    ("fault", "error", "sent"),
    [
        (faults.lose_before, http.client.RemoteDisconnected, 0),
        (faults.lose_after, http.client.RemoteDisconnected, 1),
        (faults.reset, ConnectionResetError, 1),
    ],
    ids=["lose_before", "lose_after", "reset"],
)
def test_an_answer_is_lost(proxy, service, fault, error, sent):
    rule = proxy.rule("POST", "/volumes$", fault)
    with pytest.raises(ConnectionError) as caught:
        ask(proxy, body=bytes(3 * PIECE))

    assert caught.type is error  # RemoteDisconnected is a ConnectionResetError, too.
    assert (len(service.got), proxy.calls[0].sent, proxy.calls[0].status) == (sent, sent, 202 if sent else None)
    assert rule.met.is_set()


def test_an_answer_is_late_but_the_service_was_not(proxy, service):
    done = []
    proxy.on("POST", "/volumes$", lambda _: done.append(time.monotonic()))
    proxy.rule("POST", "/volumes$", faults.late(0.5))
    assert ask(proxy)[1] == b"1 x"
    assert len(service.got) == 1
    assert time.monotonic() - done[0] >= 0.5


@pytest.mark.parametrize("before", [True, False])
def test_a_call_is_held_until_the_event(proxy, service, before):
    event, answers = threading.Event(), []
    rule = proxy.rule("POST", "/volumes$", faults.hold(event, before=before))
    thread = threading.Thread(target=lambda: answers.append(ask(proxy)[1]))
    thread.start()
    assert rule.met.wait(60)
    time.sleep(0.1)
    assert (len(service.got), answers) == (0 if before else 1, [])
    event.set()
    thread.join()
    assert (len(service.got), answers) == (1, [b"1 x"])


def test_a_doubled_call_gets_the_second_answer(proxy, service):
    proxy.rule("POST", "/volumes$", faults.doubled)
    assert ask(proxy, body=b"same")[1] == b"2 same"
    assert [each[3] for each in service.got] == [b"same", b"same"]
    assert (len(proxy.calls), proxy.calls[0].sent) == (1, 2)


@pytest.mark.parametrize(("make", "sent"), [(faults.status, 0), (faults.status_after, 1)])
def test_a_call_is_answered_with_a_status(proxy, service, make, sent):
    proxy.rule("POST", "/volumes$", make(503, b'{"busy": 1}'), nth=1)
    with linked(proxy) as link:
        answer, data = ask(proxy, link=link)
        assert (answer.status, data) == (503, b'{"busy": 1}')
        assert answer.getheader("Content-Type") == "application/json"
        assert len(service.got) == sent
        assert ask(proxy, link=link)[0].status == 202


@pytest.mark.parametrize(
    ("name", "fault"),
    [("lost before", faults.lose_before), ("lost after", faults.lose_after), ("reset after", faults.reset),
     ("doubled", faults.doubled), ("failed before", faults.status(500)), ("failed after", faults.status_after(500))],
)  # fmt: skip
def test_a_fault_may_be_named(proxy, name, fault):
    made = proxy.rule("GET", "/", name, code=500).act
    fields = ("end", "before", "times", "code")
    assert [getattr(made, key) for key in fields] == [getattr(fault, key) for key in fields]


def test_only_the_nth_call_is_met_and_each_rule_counts_for_itself(proxy):
    first = proxy.rule("POST", "/volumes$", faults.status(501), nth=1)
    second = proxy.rule(None, "volumes", faults.status(502), nth=2)
    proxy.rule("GET", "/volumes$", faults.status(503))
    codes = [ask(proxy, path=path)[0].status for path in ("/v3/other", *["/v3/volumes?q=1"] * 3)]
    assert codes == [202, 501, 502, 202]
    assert (first.seen, second.seen) == (3, 3)


def test_clear_forgets_rules_and_callbacks_but_not_calls(proxy):
    seen = []
    proxy.on("POST", "/", seen.append)
    proxy.rule("POST", "/", faults.status_after(501))
    assert (ask(proxy)[0].status, len(seen)) == (501, 1)
    proxy.clear()
    assert (ask(proxy)[0].status, len(seen), len(proxy.calls)) == (202, 1, 2)


CALLER = """
import http.client, sys
link = http.client.HTTPConnection(sys.argv[1])
link.request("POST", "/v3/volumes")
print(link.getresponse().status, flush=True)
"""


def test_a_process_is_killed_when_the_service_has_done_it_and_it_has_no_answer(proxy, service):
    seen, started = [], threading.Event()

    def kill(call):
        seen.append((len(service.got), call.status))
        victim.send_signal(signal.SIGKILL)
        victim.wait(60)

    proxy.on("POST", "/volumes$", kill)
    proxy.rule("POST", "/volumes$", faults.hold(started, before=True))
    command = [sys.executable, "-c", CALLER, urlsplit(proxy.url).netloc]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as victim:
        started.set()
        out = victim.communicate(timeout=120)[0]
    assert (victim.returncode, out, seen) == (-signal.SIGKILL, "", [(1, 202)])


def test_a_callback_is_called_only_for_what_was_done(proxy):
    seen = []
    proxy.on("POST", "/", lambda call: seen.append(call.status), nth=2)
    proxy.rule("POST", "/", faults.lose_before, nth=1)
    proxy.rule("POST", "/", faults.lose_after, nth=3)
    for _ in range(4):
        with contextlib.suppress(ConnectionError):
            ask(proxy)
    assert (seen, [call.sent for call in proxy.calls]) == ([202], [0, 1, 1, 1])


def test_what_a_callback_raises_is_raised_at_the_end(service):
    with contextlib.ExitStack() as stack:
        proxy = stack.enter_context(FaultProxy(service.origin))
        proxy.on("POST", "/", lambda call: 1 / 0)
        with pytest.raises(ConnectionError):
            ask(proxy)
        with pytest.raises(ZeroDivisionError):
            stack.close()


def test_a_connection_is_kept_for_the_next_call(proxy):
    with linked(proxy) as link:
        ask(proxy, link=link)
        port = link.sock.getsockname()
        for kind in ("gone", "json", "chunked", "plain"):
            ask(proxy, path=f"/v3/x?kind={kind}", link=link)
        assert link.sock.getsockname() == port


def test_links_to_the_service_lead_to_the_proxy(proxy, service):
    links = f'["{service.origin}/v3/", "{service.origin}", "{service.origin}1/", "http://elsewhere/ü"]'.encode()
    answer, data = ask(proxy, path="/v3/?kind=json", body=links)
    assert json.loads(data[2:]) == [f"{proxy.origin}/v3/", proxy.origin, f"{service.origin}1/", "http://elsewhere/ü"]
    assert answer.getheader("Location") == f"{proxy.origin}/there"
    assert ask(proxy, body=links)[1][2:] == links  # It is not JSON by its type.


def test_a_rewritten_answer_has_its_new_length(service):
    upstream = f"http://127.1:{service.server_port}"  # The same place, but a shorter word than the proxy's.
    with FaultProxy(upstream) as proxy, linked(proxy) as link:
        answer, data = ask(proxy, path="/?kind=json", body=" ".join([upstream] * 3).encode(), link=link)
        assert data[2:].decode() == " ".join([proxy.origin] * 3)
        assert answer.getheader("Content-Length") == str(len(data))
        assert ask(proxy, link=link)[1] == b"2 x"


def test_links_stay_if_told_so(service):
    with FaultProxy(service.origin, rewrite=False) as proxy:
        answer, data = ask(proxy, path="/?kind=json", body=service.origin.encode())
    assert (data[2:].decode(), answer.getheader("Location")) == (service.origin, f"{service.origin}/there")


def test_bodies_go_through_in_pieces(proxy, service):
    with linked(proxy) as link:
        link.putrequest("PUT", "/v3/file?kind=slow")
        link.putheader("Content-Length", str(2 * PIECE))
        link.endheaders(bytes(PIECE))
        until(lambda: len(service.pieces) == 1)
        link.send(bytes(PIECE))
        answer = link.getresponse()
        assert len(answer.read(PIECE)) == PIECE
        service.go.set()
        assert len(answer.read()) == PIECE


@pytest.mark.parametrize("fault", [None, faults.doubled])
def test_bodies_of_unknown_length_go_both_ways(proxy, service, fault):
    if fault:
        proxy.rule("PUT", "/", fault)
    pieces = [b"abc", bytes(2 * PIECE), b"d"]
    data = ask(proxy, "PUT", "/v3/file?kind=chunked", iter(pieces))[1]
    assert data == b"onetwo"
    assert {each[3] for each in service.got} == {b"".join(pieces)}
    assert proxy.calls[0].body == b"".join(pieces)


def test_heads_and_empty_answers_keep_their_length(proxy):
    with linked(proxy) as link:
        answer, data = ask(proxy, "HEAD", "/v3/?kind=json", None, link=link)
        assert (answer.getheader("Content-Length"), data) == ("2", b"")
        answer, data = ask(proxy, "GET", "/v3/?kind=gone", None, link=link)
        assert (answer.status, answer.getheader("Content-Length"), data) == (204, None, b"")


def test_what_the_service_breaks_off_breaks_off_here(proxy):
    with pytest.raises(http.client.IncompleteRead, match="4 bytes read, 6 more"):
        ask(proxy, path="/v3/?kind=half")
    with pytest.raises(http.client.RemoteDisconnected):
        ask(proxy, path="/v3/?kind=nothing")


def test_a_client_that_leaves_in_its_request_is_not_passed_off_as_whole(proxy, service):
    with linked(proxy) as link:
        link.putrequest("PUT", "/v3/file")
        link.putheader("Content-Length", "10")
        link.endheaders(b"half")
        until(lambda: proxy.count("PUT", "/file"))
    until(lambda: service.got)
    assert [each[3] for each in service.got] == [b"half"]  # The service noticed by the end of its connection.
    assert proxy.calls[0].status is None


def test_the_end_lets_go_of_held_calls_and_leaves_no_thread(service):
    before = set(threading.enumerate())
    errors = []

    def caller():
        try:
            ask(proxy)
        except ConnectionError as error:
            errors.append(error)

    with contextlib.ExitStack() as stack:
        with FaultProxy(service.origin) as proxy:
            idle = stack.enter_context(linked(proxy))
            idle.connect()
            rule = proxy.rule("POST", "/", faults.hold(threading.Event()))
            thread = threading.Thread(target=caller)
            thread.start()
            assert rule.met.wait(60)
        thread.join()
        assert len(errors) == 1
        until(lambda: set(threading.enumerate()) <= before)


def test_only_plain_http_is_spoken():
    with pytest.raises(ValueError, match="only http"):
        FaultProxy("https://127.0.0.1:1")
