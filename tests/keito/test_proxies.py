"""Where the key may travel: past every proxy to this machine, and through one only within TLS."""

import socket
from typing import Any
from urllib.parse import urlsplit

import pytest

from keito_mcp.keito import Client, Connections, KeitoError, Unreachable, connections
from keito_mcp.settings.address import is_loopback
from tests.keito.test_client import SHORT, answer, connected, peer, post, unused_address
from tests.kit import KEY

pytestmark = pytest.mark.anyio

LOOPBACK = [
    "127.0.0.1",
    "127.8.9.1",
    "localhost",
    "LocalHost",
    "localhost.",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
]
SETTINGS: dict[str, dict[str, str]] = {
    "HTTP_PROXY": {"HTTP_PROXY": "{}"},
    "http_proxy": {"http_proxy": "{}"},
    "all": {"HTTP_PROXY": "{}", "HTTPS_PROXY": "{}", "ALL_PROXY": "{}"},
    "all_proxy": {"all_proxy": "{}"},
    "beside NO_PROXY": {"ALL_PROXY": "{}", "HTTPS_PROXY": "{}", "NO_PROXY": "example.com,10.0.0.0/8"},
}


@pytest.fixture(params=[*SETTINGS, "the system"])
def proxied(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets a proxy: in the environment, or as macOS and Windows keep one."""

    def to(url: str) -> None:
        if request.param == "the system":
            monkeypatch.setattr("httpx._utils.getproxies", lambda: dict.fromkeys(("http", "https", "all"), url))
        for name, value in SETTINGS.get(request.param, {}).items():
            monkeypatch.setenv(name, value.format(url))

    return to


@pytest.mark.parametrize("host", LOOPBACK)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_no_proxy_hears_of_a_request_to_this_machine(host: str, scheme: str, proxied: Any) -> None:
    async with peer(answer("200 OK", "{}")) as proxy:
        proxied(proxy.url)
        port = urlsplit(unused_address()).port
        async with connected(f"{scheme}://{host}:{port}") as client:
            with pytest.raises(Unreachable):
                await post(client)
        async with connected(f"{scheme}://{host}", SHORT) as client:
            # Whoever listens at the usual port here, or nobody.
            with pytest.raises(KeitoError):
                await post(client)
    assert proxy.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
async def test_a_request_to_this_machine_arrives_there_whatever_proxy_is_set(host: str, proxied: Any) -> None:
    async with peer(answer("500 A proxy")) as proxy, peer(answer("200 OK", "{}")) as here:
        proxied(proxy.url)
        async with connected(here.url.replace("127.0.0.1", host)) as client:
            assert await post(client) == {}
    assert (proxy.connections, here.connections) == (0, 1)


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "ALL_PROXY"])
async def test_a_proxy_is_asked_for_a_tunnel_and_sees_no_key(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with peer(answer("200 OK")) as proxy:
        monkeypatch.setenv(name, proxy.url)
        async with connected("https://keito.example") as client:
            with pytest.raises(Unreachable):
                await post(client)
    assert proxy.requests[0].startswith(b"CONNECT keito.example:443 ")
    assert KEY.encode() not in b"".join(proxy.requests)


@pytest.mark.parametrize("url", ["socks5://me:hidden@proxy.example:1", "ftp://me:hidden@proxy.example", "http://:x:"])
async def test_a_proxy_that_cant_be_used_is_named_without_its_password(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", url)
    async with connected("https://keito.example") as client:
        with pytest.raises(Unreachable) as caught:
            await post(client)
    assert caught.value.nothing_written
    assert "HTTPS_PROXY" in str(caught.value)
    assert "hidden" not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_hosts_without_a_proxy_that_cant_be_read_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "localhost,[::1]")
    async with connected("https://keito.example") as client:
        with pytest.raises(Unreachable, match="NO_PROXY") as caught:
            await post(client)
    assert caught.value.nothing_written


@pytest.mark.parametrize("host", ["xn--", "\u2603\u2603..x", "a..b\u00e9"])
async def test_a_name_that_no_machine_can_have_is_not_reached(host: str) -> None:
    async with connected(f"https://{host}") as client:
        with pytest.raises(Unreachable, match="is no address") as caught:
            await post(client)
    assert caught.value.nothing_written


async def test_a_localhost_that_leads_to_another_machine_is_sent_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    # Another address of this machine stands for the other one: no test sends anything off it.
    other = "127.0.0.2"
    resolve = socket.getaddrinfo

    def resolved(host: Any, *arguments: Any, **options: Any) -> Any:
        return resolve(other if host in {"localhost", b"localhost"} else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    monkeypatch.setattr(connections, "is_loopback", lambda host: host != other and is_loopback(host))
    with socket.create_server((other, 0)) as listener:
        client = Client(f"http://localhost:{listener.getsockname()[1]}", KEY, Connections(timeouts=SHORT))
        with pytest.raises(Unreachable, match=f"leads to {other}") as caught:
            await post(client)
        await client.aclose()
        arrived, _ = listener.accept()
        with arrived:
            assert arrived.recv(1) == b""
    assert caught.value.nothing_written


@pytest.mark.parametrize("host", [*(host.strip("[]") for host in LOOPBACK), "::ffff:7f00:1"])
def test_an_address_of_this_machine_is_known_in_every_spelling(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["", "localhost.example", "localhost..", "127.0.0.1.example", "128.0.0.1", "0.0.0.0", "::", "::ffff:10.0.0.1"],  # noqa: S104 -- not listened on
)
def test_an_address_of_another_machine_is_not_taken_for_this_ones(host: str) -> None:
    assert not is_loopback(host)
