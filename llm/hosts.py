"""What the server may connect to besides the vendors: which base URLs an operator can enter, and which addresses a call
can go to.

Both are looked at. A base URL is checked when it is typed; but who answers to its name is the business of a DNS server,
and can be another one with every question. So each request looks its name up once, checks what came back, and connects
to exactly that address.

The ranges are those of IANA's special-purpose registries (iana.org/assignments/iana-ipv4-special-registry and
iana-ipv6-special-registry), written out, because ``ipaddress.is_global`` differs between versions of Python.
"""

from __future__ import annotations

import asyncio
import functools
import re
import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from django.utils.translation import gettext_noop

from synapscale.common.spoken import Spoken

PUBLIC, PRIVATE = "public", "private"
"""The guards: addresses on the internet alone, or those of private networks too."""

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class HostForbidden(Spoken, ValueError):
    """The URL or address is none that may be connected to. The message names the rule, never the address."""


RULES = {
    PUBLIC: gettext_noop("The host's address is not a public one."),
    PRIVATE: gettext_noop(
        "The host's address is neither public nor of a private network; link-local, metadata and reserved addresses are "
        "never called."
    ),
}
PLAIN_RULE = gettext_noop("Plain http:// is for addresses of a private network alone.")
TOO_LONG = gettext_noop("The URL has at most %(number)s characters.")
MAX_URL_CHARACTERS = 300
_lookups = ThreadPoolExecutor(max_workers=16, thread_name_prefix="lookup")
"""Of their own: customers name these hosts, and a name server that never answers would hold the few threads of the event
loop, on which the vendors' names are looked up.
"""


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in texts)


PRIVATE_NETWORKS = _networks(
    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",  # RFC 1918
    "127.0.0.0/8", "::1/128",  # loopback
    "100.64.0.0/10",  # carrier-grade NAT, also of overlay networks
    "fc00::/7",  # unique local
)  # fmt: skip
METADATA = _networks(
    # What tells a machine in a cloud who it is, and hands out its credentials; those at link-local addresses are
    # forbidden with all of them.
    "100.100.100.200/32", "fd00:100::100:200/128",  # Alibaba
    "168.63.129.16/32",  # Azure's host agent, at an address like any public one
    "fd00:ec2::/32",  # AWS: metadata, pod identity, DNS, time
    "fd20:ce::254/128",  # Google
    "fd00:c1::a9fe:a9fe/128",  # Oracle
    "fd00:42::42/128",  # Scaleway
    "fd00:a9fe:a9fe::1/128",  # Akamai
)  # fmt: skip
RESERVED = _networks(
    "0.0.0.0/8",  # this network
    "169.254.0.0/16",  # link-local
    "192.0.0.0/24",  # protocol assignments, Oracle's older metadata service among them
    "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24",  # documentation
    "192.88.99.0/24",  # relays of 6to4
    "198.18.0.0/15",  # benchmarks
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # future use, broadcast
    # Of IPv6 only 2000::/3 is global unicast, and these are its exceptions.
    "2001::/23",  # protocol assignments; Teredo, which carries IPv4 inside
    "2001:db8::/32", "3fff::/20",  # documentation
    "2002::/16",  # 6to4, which carries IPv4 inside
)  # fmt: skip
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")


# --- Addresses ------------------------------------------------------------------------------------------------------


def is_allowed(address: Address, *, guard: str) -> bool:
    """Whether a call under ``guard`` may connect to ``address``. What is not ``private`` is taken for ``public``."""
    address = _inner(address)
    if _is_in(METADATA, address):
        return False
    if _is_in(PRIVATE_NETWORKS, address):
        return guard == PRIVATE
    if isinstance(address, IPv6Address) and (address not in _GLOBAL_UNICAST or address.scope_id):
        return False
    return not _is_in(RESERVED, address)


def is_private(address: Address) -> bool:
    """Whether ``address`` is of a private network, or of this machine."""
    return _is_in(PRIVATE_NETWORKS, _inner(address))


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for (``::ffff:10.0.0.1``, or through NAT64), else itself."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _is_in(networks: Iterable[Network], address: Address) -> bool:
    return any(address in network for network in networks)


async def resolve(host: str, port: int, *, guard: str, is_plain: bool = False) -> str:
    """The address to connect to for ``host``: looked up once, and every address that the name has must be allowed.

    Raises ``HostForbidden``, or OSError when the name has no address. ``is_plain``: the request goes unencrypted, so
    that every address must be private.
    """
    loop = asyncio.get_running_loop()
    try:
        look_up = functools.partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        found = await loop.run_in_executor(_lookups, look_up)
    except UnicodeError:  # a label of more than 63 characters
        raise OSError("no such name") from None
    addresses = [ip_address(entry[4][0]) for entry in found]
    if not addresses:
        raise OSError("the name has no address")
    # One bad address among good ones is how a name is made to change its meaning between two look-ups.
    _require(addresses, guard=guard, is_plain=is_plain)
    return str(addresses[0])


def _require(addresses: Iterable[Address], *, guard: str, is_plain: bool) -> None:
    for address in addresses:
        if not is_allowed(address, guard=guard):
            raise HostForbidden(RULES.get(guard, RULES[PUBLIC]))
        if is_plain and not is_private(address):
            raise HostForbidden(PLAIN_RULE)


# --- URLs -----------------------------------------------------------------------------------------------------------

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.I)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.I)
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_PATH = re.compile(r"[A-Za-z0-9._~/-]*")


def check_url(url: str, *, allows_private: bool) -> None:
    """Raise ``HostForbidden`` that says what is wrong with a URL. Nothing is looked up.

    Every part has one spelling only, so that no two parsers can disagree about where the URL leads.
    """
    if len(url) > MAX_URL_CHARACTERS:
        raise HostForbidden(TOO_LONG, number=MAX_URL_CHARACTERS)
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise HostForbidden(
            gettext_noop("The URL is plain ASCII without spaces; an international name is written as “xn--…”.")
        )
    scheme, _, rest = url.partition("://")
    if scheme not in ("https", "http") or not rest:
        raise HostForbidden(gettext_noop("The URL begins with https://, like https://host/v1."))
    if scheme == "http" and not allows_private:
        raise HostForbidden(gettext_noop("Only https:// is allowed; plain http:// is for hosts in a private network."))
    if "?" in rest or "#" in rest:
        raise HostForbidden(gettext_noop("The URL has neither a query nor a fragment."))
    authority, _, path = rest.partition("/")
    if "@" in authority:
        raise HostForbidden(
            gettext_noop("The URL carries neither a user nor a password; the key has a field of its own.")
        )
    if not _PATH.fullmatch(path) or {".", ".."} & set(path.split("/")):
        raise HostForbidden(gettext_noop("The path of the URL has letters, digits and - . _ ~ only, and no “..”."))
    address = _read_authority(authority, allows_private=allows_private)
    if address:
        _require([address], guard=PRIVATE if allows_private else PUBLIC, is_plain=scheme == "http")


def _read_authority(authority: str, *, allows_private: bool) -> Address | None:
    """The address in ``host[:port]``; None where the host is a name."""
    address: Address | None = None
    if authority.startswith("["):
        host, bracket, end = authority[1:].partition("]")
        address = _read_ipv6(host if bracket else "")
        _, colon, port = end.partition(":")
        is_port_apart = end == colon + port
    else:
        host, colon, port = authority.partition(":")
        is_port_apart = True
    if not is_port_apart or (colon and not (_PORT.fullmatch(port) and int(port) <= 65535)):
        raise HostForbidden(gettext_noop("The port is a number from 1 to 65535; an IPv6 address stands in brackets."))
    if address:
        return address
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _read_ipv4(host)
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise HostForbidden(gettext_noop("The host is a name like models.example.com, or an address."))
    if len(labels) == 1 and not allows_private:
        raise HostForbidden(gettext_noop("A public host has a domain; a name without one is of a private network."))
    return None


def _read_ipv6(text: str) -> IPv6Address:
    try:
        address = IPv6Address(text)
    except ValueError:
        raise HostForbidden(gettext_noop("What stands in brackets is no IPv6 address.")) from None
    if address.scope_id:
        raise HostForbidden(gettext_noop("An IPv6 address stands without a zone."))
    return address


def _read_ipv4(text: str) -> IPv4Address:
    """Four decimal numbers. Libraries also read 2130706433, 0x7f.1 and 0177.0.0.1, and do not agree on all of them."""
    try:
        return IPv4Address(text)
    except ValueError:
        raise HostForbidden(
            gettext_noop("An IPv4 address is written as four decimal numbers without leading zeros.")
        ) from None
