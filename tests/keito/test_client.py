import gzip
import json
import socket
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import anyio
import anyio.to_thread
import pytest
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.responses import JSONResponse

from keito_mcp.keito import (
    AuthenticationFailed,
    Client,
    Conflict,
    Connections,
    InvalidRequest,
    KeitoError,
    NotFound,
    PermissionDenied,
    RateLimited,
    ServerFailed,
    StatusError,
    Timeouts,
    UnexpectedAnswer,
    Unreachable,
)
from keito_mcp.sandbox import create_app
from tests.kit import KEY, Keito

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine is no failure."""

pytestmark = pytest.mark.anyio

PATH = "/v1/time-entries"
BODY = {"project_id": "prj_abc", "spent_date": "2026-03-06", "hours": 1.5}
SHORT = Timeouts(attempt=0.3, read=0.8, write=0.9, retry_after=0.3, backoff=0.01)
ROOM = 2.0
"""Seconds that a busy machine may add to a time limit."""

HANG = b"hang"
DRIP = b"drip"

Call = Callable[[Client], Awaitable[object]]


async def read(client: Client) -> object:
    return await client.read(PATH)


async def post(client: Client) -> object:
    return await client.write("POST", PATH, BODY, idempotency_key="key-1")


async def patch(client: Client) -> object:
    return await client.write("PATCH", f"{PATH}/te_1", {"is_running": False})


async def delete(client: Client) -> object:
    return await client.write("DELETE", f"{PATH}/te_1")


every_write = pytest.mark.parametrize("call", [post, patch, delete])
every_call = pytest.mark.parametrize("call", [read, post])


@dataclass
class Peer:
    """What answers in Keito's place, and what came in there."""

    url: str
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    left: anyio.Event = field(default_factory=anyio.Event)


def answer(status: str, body: str | bytes = b"", **headers: str) -> bytes:
    content = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + content


@asynccontextmanager
async def peer(*answers: bytes) -> AsyncIterator[Peer]:
    """A server that sends these bytes, one lot for each request, and closes; the last again and again."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(SocketAttribute.local_port)  # noqa: S610 -- anyio's, not Django's
    here = Peer(f"http://127.0.0.1:{port}")

    async def serve(stream: SocketStream) -> None:
        here.connections += 1
        async with stream:
            try:
                await exchange(stream)
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.IncompleteRead):
                here.left.set()

    async def exchange(stream: SocketStream) -> None:
        incoming = BufferedByteReceiveStream(stream)
        head = await incoming.receive_until(b"\r\n\r\n", 65536)
        lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        here.requests.append(head + b"\r\n\r\n" + await incoming.receive_exactly(int((lengths or [b"0"])[0])))
        reply = answers[min(len(here.requests), len(answers)) - 1]
        if reply == DRIP:
            await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while reply == DRIP:
            await stream.send(b" ")
            await anyio.sleep(0.02)
        if reply != HANG:
            await stream.send(reply)
        if reply == HANG or b"Connection: close" not in reply:
            await incoming.receive()

    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield here
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def connected(url: str, timeouts: Timeouts = SHORT) -> AsyncIterator[Client]:
    client = Client(url, KEY, Connections(timeouts=timeouts))
    yield client
    await client.aclose()


async def failure_of(call: Call, url: str, timeouts: Timeouts = SHORT) -> KeitoError:
    async with connected(url, timeouts) as client:
        with pytest.raises(KeitoError) as caught, anyio.fail_after(20):
            await call(client)
    return caught.value


def unused_address() -> str:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{closed.getsockname()[1]}"


NOT_FOUND_PAGE = "<!doctype html><title>Not here</title>"
ERROR = {"error": {"code": "some_code", "message": "Some reason", "field": "hours"}}


def limited(**headers: str) -> bytes:
    """Keito's own word that there were too many requests."""
    return answer("429 Slow Down", json.dumps(ERROR), **headers)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest),
        (401, AuthenticationFailed),
        (403, PermissionDenied),
        (404, NotFound),
        (405, InvalidRequest),
        (409, Conflict),
        (413, InvalidRequest),
        (418, InvalidRequest),
        (422, InvalidRequest),
        (429, RateLimited),
        (500, ServerFailed),
        (502, ServerFailed),
        (503, ServerFailed),
        (504, ServerFailed),
    ],
)
async def test_each_status_is_its_own_error_with_all_that_keito_said(status: int, kind: type[StatusError]) -> None:
    reply = answer(f"{status} Whatever", json.dumps(ERROR), X_Request_Id="req_123", Retry_After="86400")
    async with peer(reply) as here:
        error = await failure_of(post, here.url)
    assert type(error) is kind
    assert isinstance(error, StatusError)
    assert (error.status, error.code, error.message) == (status, "some_code", "Some reason")
    assert (error.field, error.request_id, error.retry_after) == ("hours", "req_123", 3600.0)
    assert str(error) == f"Keito answered {status} some_code: Some reason"
    assert error.nothing_written is (status < 500)


@every_call
@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 407, 409, 410, 413, 422, 451, 499])
@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (NOT_FOUND_PAGE, "text/html"),
        ("", "application/json"),
        ("{", "application/json"),
        ("[]", "application/json"),
        ('"no"', "application/json"),
        ('{"error": ["no"]}', "application/json"),
        ('{"error": {"code": 4, "message": ["no"], "field": {}}}', "application/json"),
        ('{"error": {"code": "", "message": "  ", "field": null}}', "application/json"),
        ("\xff\xfe", "text/plain; charset=nonsense"),
    ],
)
async def test_a_refusal_that_is_not_in_keitos_form_is_somebody_elses_and_a_write_may_have_happened(
    call: Call, status: int, body: str, content_type: str
) -> None:
    async with peer(answer(f"{status} Whatever", body, Content_Type=content_type)) as here:
        error = await failure_of(call, here.url)
    assert isinstance(error, UnexpectedAnswer)
    assert str(error) == f"something else answered {status} in Keito's place: Whatever"
    assert (error.code, error.field, error.request_id, error.retry_after) == (None, None, None, None)
    assert not error.nothing_written
    assert len(here.requests) == 1


@pytest.mark.parametrize("status", [408, 421, 425])
async def test_a_status_that_tells_of_the_connection_is_no_refusal_even_in_keitos_form(status: int) -> None:
    async with peer(answer(f"{status} Whatever", json.dumps(ERROR))) as here:
        error = await failure_of(post, here.url)
    assert isinstance(error, UnexpectedAnswer)
    assert not error.nothing_written


@pytest.mark.parametrize("body", ["", NOT_FOUND_PAGE, '{"error": "slow down"}'])
async def test_somebody_elses_rate_limit_is_believed_but_a_write_may_have_happened_and_is_not_sent_again(
    body: str,
) -> None:
    async with peer(answer("429 Slow Down", body, Retry_After="0.01")) as here:
        error = await failure_of(post, here.url)
    assert isinstance(error, RateLimited)
    assert error.retry_after == 0.01
    assert not error.nothing_written
    assert len(here.requests) == 1


async def test_version_2s_header_makes_an_error_without_a_description_keitos_word() -> None:
    async with peer(answer("404 Not Found", '{"error": "not found"}', X_Keito_API_Version="2")) as here:
        error = await failure_of(post, here.url)
    assert isinstance(error, NotFound)
    assert error.nothing_written


async def test_an_error_without_any_words_still_says_something() -> None:
    async with peer(b"HTTP/1.1 409 \r\nContent-Length: 0\r\nConnection: close\r\n\r\n") as here:
        error = await failure_of(post, here.url)
    assert str(error) == "something else answered 409 in Keito's place: no reason given"


@every_call
@pytest.mark.parametrize(
    "body", ["", "null", "<html>", "{", b"\xff", "[" * 100_000], ids=["empty", "null", "page", "cut", "bytes", "deep"]
)
async def test_a_success_that_is_no_json_is_unexpected_and_a_write_may_have_happened(
    call: Call, body: str | bytes
) -> None:
    async with peer(answer("200 OK", body)) as here:
        error = await failure_of(call, here.url)
    assert isinstance(error, UnexpectedAnswer)
    assert error.status == 200
    assert not error.nothing_written
    assert len(here.requests) == 1


@every_call
@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent"])
async def test_a_redirect_is_not_followed_and_the_key_goes_nowhere_else(call: Call, status: str) -> None:
    async with peer(answer("200 OK", "{}")) as elsewhere, peer(answer(status, Location=elsewhere.url)) as here:
        error = await failure_of(call, here.url)
    assert isinstance(error, UnexpectedAnswer)
    assert error.status == int(status[:3])
    assert not error.nothing_written
    assert (len(here.requests), elsewhere.connections) == (1, 0)


async def test_204_is_an_answer_of_nothing() -> None:
    async with peer(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n") as here, connected(here.url) as client:
        assert await delete(client) is None


async def test_each_request_carries_the_key_and_goes_to_the_given_address() -> None:
    async with peer(answer("200 OK", "{}")) as here, connected(f"{here.url}/proxied") as client:
        await client.read(PATH, {"from": "2026-03-01"})
        await post(client)
    first, second = here.requests
    assert first.startswith(b"GET /proxied/v1/time-entries?from=2026-03-01 HTTP/1.1\r\n")
    assert second.startswith(b"POST /proxied/v1/time-entries HTTP/1.1\r\n")
    assert all(f"\r\nauthorization: bearer {KEY}\r\n".encode() in request.lower() for request in here.requests)
    assert b"\r\nidempotency-key: key-1\r\n" in second.lower()
    assert b"idempotency-key" not in first.lower()
    assert json.loads(second.partition(b"\r\n\r\n")[2]) == BODY


@every_call
async def test_a_refused_connection_is_certain_to_have_written_nothing(call: Call) -> None:
    error = await failure_of(call, unused_address())
    assert isinstance(error, Unreachable)
    assert error.nothing_written
    assert str(error).strip()


async def test_a_server_without_tls_behind_https_is_certain_to_have_written_nothing() -> None:
    received: list[bytes] = []

    async def refuse(stream: SocketStream) -> None:
        async with stream:
            received.append(await stream.receive())
            await stream.send(answer("400 Bad Request"))

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(SocketAttribute.local_port)  # noqa: S610 -- anyio's, not Django's
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, refuse)
        error = await failure_of(post, f"https://127.0.0.1:{port}", Timeouts())
        tasks.cancel_scope.cancel()
    assert isinstance(error, Unreachable)
    assert error.nothing_written
    assert str(error).strip()
    assert len(received) == 1
    assert KEY.encode() not in received[0]


async def test_a_connection_that_is_never_made_is_certain_to_have_written_nothing_and_is_closed() -> None:
    # The TCP connection is accepted, TLS never answered: the request can't have left.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = await failure_of(post, f"https://127.0.0.1:{silent.getsockname()[1]}")
        connection, _ = silent.accept()
        with connection:
            connection.settimeout(5)
            received = b""
            while some := await anyio.to_thread.run_sync(connection.recv, 65536):
                received += some
    assert isinstance(error, Unreachable)
    assert error.nothing_written
    assert str(error).strip()
    assert KEY.encode() not in received


LOST = {
    "hang": HANG,
    "drip": DRIP,
    "cut before the answer": b"HTTP/1.1 200 OK\r\nConnection: close",
    "cut within the answer": b'HTTP/1.1 200 OK\r\nContent-Length: 50\r\nConnection: close\r\n\r\n{"id"',
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\nConnection: close\r\n\r\n",
    "redirected to no address": answer("302 Found", Location="https:portal.example"),
    "redirected to a script": answer("302 Found", Location="javascript:void(0)"),
    "broken compression": answer("200 OK", gzip.compress(b"{}")[:8] + b"broken", Content_Encoding="gzip"),
}


@every_write
@pytest.mark.parametrize("reply", LOST.values(), ids=LOST)
async def test_a_write_whose_answer_is_lost_is_sent_once_and_may_have_happened(call: Call, reply: bytes) -> None:
    async with peer(reply) as here:
        error = await failure_of(call, here.url)
    assert isinstance(error, Unreachable)
    assert not error.nothing_written
    assert str(error).strip()
    assert len(here.requests) == 1


@pytest.mark.parametrize(("fault", "written"), [("cut_before", 0), ("cut_after", 1)])
async def test_a_create_that_is_cut_off_is_not_sent_again_whether_it_was_written_or_not(
    keito: Keito, fault: str, written: int
) -> None:
    keito.fails("POST", **{fault: True})
    error = await failure_of(post, keito.url)
    assert isinstance(error, Unreachable)
    assert not error.nothing_written
    assert (keito.methods, len(keito.entries())) == (["POST"], written)


@every_write
@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 500, 502, 503, 504])
async def test_a_write_that_failed_is_sent_once(call: Call, status: int) -> None:
    async with peer(answer(f"{status} Whatever", Retry_After="0")) as here:
        await failure_of(call, here.url)
    assert len(here.requests) == 1


@pytest.mark.parametrize(
    "passing",
    [
        answer("500 Internal Server Error"),
        answer("502 Bad Gateway", "<html>"),
        answer("503 Service Unavailable", Retry_After="1"),
        HANG,
        LOST["cut before the answer"],
        LOST["cut within the answer"],
    ],
    ids=["500", "502", "503", "hang", "cut before", "cut within"],
)
async def test_a_read_is_tried_again_after_a_failure_that_passes(passing: bytes) -> None:
    timeouts = Timeouts(attempt=0.3, read=20.0, backoff=0.01)
    found = answer("200 OK", '{"id": "te_1"}')
    async with peer(passing, passing, found) as here, connected(here.url, timeouts) as client:
        assert await read(client) == {"id": "te_1"}
    assert len(here.requests) == 3


async def test_a_read_is_tried_again_on_a_new_connection_when_an_idle_one_was_closed() -> None:
    # No "Connection: close": the client believes that it may go on using the connection.
    alive = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    async with peer(alive + b"junk") as here, connected(here.url, Timeouts(read=20.0, backoff=0.01)) as client:
        assert await read(client) == {}
        assert await read(client) == {}
    assert len(here.requests) == 2


@pytest.mark.parametrize(
    ("failing", "kind"),
    [
        (answer("503 Service Unavailable"), ServerFailed),
        (LOST["cut before the answer"], Unreachable),
        (HANG, Unreachable),
    ],
    ids=["503", "cut", "hang"],
)
async def test_a_read_gives_up_inside_its_deadline(failing: bytes, kind: type[KeitoError]) -> None:
    async with peer(failing) as here:
        began = anyio.current_time()
        error = await failure_of(read, here.url)
        took = anyio.current_time() - began
    assert isinstance(error, kind)
    assert str(error).strip()
    assert len(here.requests) > 1
    assert took < SHORT.read + ROOM


async def test_a_read_waits_longer_before_each_new_attempt() -> None:
    async with peer(answer("503 Service Unavailable")) as here:
        await failure_of(read, here.url, Timeouts(attempt=1.0, read=2.0, backoff=0.1))
    # 0.1, 0.2, 0.4, 0.8 s, each half as long to half as long again.
    assert 3 <= len(here.requests) <= 6


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
async def test_a_read_that_keito_refuses_is_not_tried_again(status: int) -> None:
    async with peer(answer(f"{status} Whatever")) as here:
        await failure_of(read, here.url)
    assert len(here.requests) == 1


@every_call
async def test_a_short_retry_after_is_waited_for_and_then_the_same_request_is_sent(call: Call) -> None:
    done = answer("200 OK", '{"id": "te_1"}')
    async with peer(limited(Retry_After="0.2"), done) as here, connected(here.url, Timeouts(retry_after=0.3)) as client:
        began = anyio.current_time()
        assert await call(client) == {"id": "te_1"}
        assert anyio.current_time() - began >= 0.2
    assert len(here.requests) == 2
    assert here.requests[0] == here.requests[1]


@every_call
@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("60", 60.0),
        ("0.31", 0.31),
        (None, None),
        ("soon", None),
        ("-1", None),
        ("-inf", None),
        ("nan", None),
        ("", None),
        ("Fri, 99 Mar 2026 12:00:00 GMT", None),
        (f"Fri, 06 Mar {'9' * 30} 12:00:00 GMT", None),
        ("Fri, 06 Mar 2026 12:00:00 +999999", None),
        ("3600", 3600.0),
        ("3601", 3600.0),
        ("86400", 3600.0),
        ("1.7e9", 3600.0),
        ("1773316800", 3600.0),
        ("3153600000", 3600.0),
        ("1" * 400, 3600.0),
        ("inf", 3600.0),
        ("Fri, 06 Mar 2026 12:10:00 GMT", 600.0),
        ("Fri, 06 Mar 2026 14:00:00 +0100", 3600.0),
        ("Wed, 06 Mar 2126 12:00:00 GMT", 3600.0),
    ],
)
async def test_a_retry_after_that_is_long_is_passed_on_at_once_and_no_more_than_an_hour_of_it_is_believed(
    call: Call, header: str | None, seconds: float | None
) -> None:
    headers = {} if header is None else {"Retry_After": header}
    async with peer(limited(Date="Fri, 06 Mar 2026 12:00:00 GMT", **headers)) as here:
        error = await failure_of(call, here.url, Timeouts(retry_after=0.3))
    assert isinstance(error, RateLimited)
    assert error.retry_after == seconds
    assert error.nothing_written
    assert len(here.requests) == 1


@pytest.mark.parametrize(("ahead", "least", "most"), [(-60, 0, 0), (600, 590, 600), (10**6, 3600, 3600)])
async def test_a_moment_to_come_back_is_compared_with_this_machines_clock_where_keito_tells_no_time(
    ahead: int, least: float, most: float
) -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=ahead), usegmt=True)
    async with peer(limited(Retry_After=moment)) as here:
        error = await failure_of(post, here.url, Timeouts(retry_after=0.3))
    assert isinstance(error, RateLimited)
    assert error.retry_after is not None
    assert least <= error.retry_after <= most


@every_call
async def test_a_retry_after_beyond_the_deadline_is_passed_on_at_once(call: Call) -> None:
    async with peer(limited(Retry_After="5")) as here:
        error = await failure_of(call, here.url, Timeouts(read=2.0, write=2.0, retry_after=10.0))
    assert isinstance(error, RateLimited)
    assert len(here.requests) == 1


async def test_a_write_is_sent_no_more_than_twice_when_keito_stays_rate_limited() -> None:
    async with peer(limited(Retry_After="0.01")) as here:
        error = await failure_of(post, here.url)
    assert isinstance(error, RateLimited)
    assert error.nothing_written
    assert len(here.requests) == 2


@pytest.mark.parametrize(
    ("second", "kind"), [(answer("502 Bad Gateway"), ServerFailed), (HANG, Unreachable)], ids=["502", "hang"]
)
async def test_a_write_that_fails_after_a_429_is_not_sent_a_third_time(second: bytes, kind: type[KeitoError]) -> None:
    async with peer(limited(Retry_After="0.01"), second) as here:
        error = await failure_of(post, here.url)
    assert isinstance(error, kind)
    assert not error.nothing_written
    assert len(here.requests) == 2


async def test_a_read_ends_rate_limited_when_keito_stays_so() -> None:
    timeouts = Timeouts(read=1.0, retry_after=0.6)
    async with peer(answer("429 Slow Down", Retry_After="0.6")) as here:
        began = anyio.current_time()
        error = await failure_of(read, here.url, timeouts)
        took = anyio.current_time() - began
    assert isinstance(error, RateLimited)
    assert took < timeouts.read + ROOM
    assert len(here.requests) == 2


async def test_a_read_does_not_hammer_a_keito_that_says_to_come_back_at_once() -> None:
    async with peer(answer("429 Slow Down", Retry_After="0")) as here:
        error = await failure_of(read, here.url)
    assert len(here.requests) <= 10
    assert isinstance(error, RateLimited)


async def test_a_write_ends_inside_its_deadline_even_while_it_waits_for_a_second_answer() -> None:
    timeouts = Timeouts(attempt=10.0, write=0.5, retry_after=0.3)
    async with peer(limited(Retry_After="0.1"), HANG) as here:
        began = anyio.current_time()
        error = await failure_of(post, here.url, timeouts)
        took = anyio.current_time() - began
    assert isinstance(error, Unreachable)
    assert not error.nothing_written
    assert took < timeouts.write + ROOM


async def test_nothing_is_connected_before_the_first_call() -> None:
    async with peer(answer("200 OK", "{}")) as here:
        client = Client(here.url, KEY)
        await client.aclose()
        assert here.connections == 0
        await read(client)
        assert here.connections == 1
        await client.aclose()


async def test_closing_the_client_closes_its_connections() -> None:
    async with peer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}") as here:
        client = Client(here.url, KEY)
        await read(client)
        assert not here.left.is_set()
        await client.aclose()
        with anyio.fail_after(5):
            await here.left.wait()


async def test_a_call_that_is_cancelled_is_cancelled_and_no_error_of_keitos() -> None:
    async with peer(HANG) as here, connected(here.url, Timeouts()) as client:
        with anyio.move_on_after(0.2) as scope:
            await post(client)
    assert scope.cancelled_caught
    assert len(here.requests) == 1


async def test_an_app_in_this_process_answers_in_place_of_the_network(keito: Keito) -> None:
    client = Client(keito.url, KEY, Connections(app=create_app(keito.store)))
    assert (await client.read(PATH))["data"] == []
    assert keito.requests == []
    await client.aclose()


def nowhere() -> AbstractAsyncContextManager[Peer]:
    return nullcontext(Peer(unused_address()))


@pytest.mark.parametrize(
    "place",
    [
        lambda: peer(answer("401 Unauthorized", json.dumps(ERROR))),
        lambda: peer(answer("500 Internal Server Error")),
        lambda: peer(answer("302 Found", Location="https://elsewhere.example/")),
        lambda: peer(answer("200 OK", "no JSON")),
        lambda: peer(HANG),
        lambda: peer(LOST["cut within the answer"]),
        lambda: peer(LOST["no HTTP"]),
        nowhere,
    ],
    ids=["401", "500", "302", "page", "hang", "cut", "no HTTP", "refused"],
)
@every_call
async def test_the_key_is_never_in_an_error_nor_in_what_led_to_it(
    place: Callable[[], AbstractAsyncContextManager[Peer]], call: Call
) -> None:
    async with place() as here:
        client = Client(here.url, KEY, Connections(timeouts=SHORT))
        with pytest.raises(KeitoError) as caught:
            await call(client)
        told = "".join(traceback.format_exception(caught.value))
        seen = [str(client), repr(client), str(caught.value), repr(caught.value), repr(vars(caught.value)), told]
        assert not [text for text in seen if KEY in text]
        await client.aclose()


@settings(UNHURRIED, max_examples=60)
@given(told=st.text(max_size=2000) | st.text('\n\r\t\x0b\x1b\x85\u2028\u2029"\\ a', max_size=2000))
async def test_what_keito_says_is_one_bounded_line_in_each_of_its_places(told: str) -> None:
    async def refuse(scope: object, receive: object, send: object) -> None:
        error = {"error": {"message": told, "code": told, "field": told}}
        await JSONResponse(error, 422)(scope, receive, send)  # type: ignore[arg-type]

    client = Client("http://keito.test", KEY, Connections(app=refuse))
    with pytest.raises(InvalidRequest if told.strip() else UnexpectedAnswer) as caught:
        await post(client)
    await client.aclose()
    for text in (caught.value.message, caught.value.code or "none", caught.value.field or "none"):
        assert text.strip()
        assert len(text.splitlines()) == 1
        # Cut at 300 characters, of which each may need six to be shown.
        assert len(text) <= 1800
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "reply",
    [answer(f"404 {'Not here ' * 500}"), answer("404 Not Found", X_Request_Id="r" * 5000)],
    ids=["reason phrase", "request id"],
)
async def test_what_stands_in_the_head_of_an_answer_is_bounded_too(reply: bytes) -> None:
    async with peer(reply) as here:
        error = await failure_of(post, here.url)
    assert isinstance(error, UnexpectedAnswer)
    assert len(str(error)) <= 400
    assert len(error.request_id or "") <= 300
