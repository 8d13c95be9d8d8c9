"""Where Keito is: its addresses, and which other ones may be given a key."""

from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from keito_mcp.settings.api_version import Version

OF_VERSION: dict[Version, str] = {"v1": "https://api.keito.ai", "v2": "https://app.keito.ai"}
"""Keito's own address for each version of its API."""

_PATHS = ("/api/v2", "/v2", "/v1")


def base_url(value: str) -> str:
    """An address without the path of a version at its end.

    Raises:
        ValueError: It leads nowhere, or a key that is sent there wouldn't be safe.
    """
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"must be an address such as {OF_VERSION['v1']}")
    _ = parts.port  # raises ValueError for one that is none
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must be a plain address, without a user, a password, a query or a fragment")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError("must be https, because the key travels with each call (http is for loopback addresses)")
    url = value.rstrip("/")
    return url.removesuffix(next((path for path in _PATHS if url.endswith(path)), ""))


def is_loopback(host: str) -> bool:
    """Return whether a host's name or address is of this machine alone."""
    if host.lower().removesuffix(".") == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback
