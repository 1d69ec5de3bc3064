"""Which base URLs may be entered, and which addresses may be connected to."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address

import pytest
from django.utils import translation

from llm.hosts import PLAIN_RULE, RULES, HostForbidden, check_url, is_allowed, is_private, resolve
from tests.resolver import Resolver, resolver

__all__ = ["resolver"]

ANYWHERE = ["8.8.8.8", "1.1.1.1", "172.32.0.1", "192.0.1.1", "100.128.0.1", "11.0.0.1", "2606:4700::1111"]
ON_THE_PREMISES = [
    "127.0.0.1", "127.255.255.254", "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "100.64.0.1", "100.127.255.255", "::1", "fc00::1", "fd12:3456:789a::1",
]  # fmt: skip
METADATA = [
    "169.254.169.254", "169.254.170.2", "169.254.170.23", "100.100.100.200", "168.63.129.16", "192.0.0.192",
    "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd00:c1::a9fe:a9fe", "fd00:42::42", "fd00:a9fe:a9fe::1",
    "fd00:100::100:200",
]  # fmt: skip
NOWHERE = [
    "0.0.0.0", "0.1.2.3", "169.254.0.1", "192.0.0.1", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.1",
    "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "2001:db8::1", "3fff::1", "100::1", "5f00::1", "4000::1",
    # IPv4 carried inside: by Teredo, 6to4, a translator of one's own, and in forms that are long out of use.
    "2001:0:7f00:1::", "2001::a9fe:a9fe", "2002:7f00:1::1", "2002:a9fe:a9fe::1", "2002:808:808::1",
    "64:ff9b:1::a9fe:a9fe", "::127.0.0.1", "::ffff:0:127.0.0.1", "::ffff:0:0:1",
]  # fmt: skip


@pytest.mark.parametrize("address", ANYWHERE)
def test_public_addresses_are_allowed_under_both_guards(address: str) -> None:
    assert is_allowed(ip_address(address), guard="public")
    assert is_allowed(ip_address(address), guard="private")
    assert not is_private(ip_address(address))


@pytest.mark.parametrize("address", ON_THE_PREMISES)
def test_private_addresses_are_allowed_where_an_operator_said_so(address: str) -> None:
    assert not is_allowed(ip_address(address), guard="public")
    assert is_allowed(ip_address(address), guard="private")
    assert is_private(ip_address(address))


@pytest.mark.parametrize("guard", ["public", "private"])
@pytest.mark.parametrize("address", [*METADATA, *NOWHERE])
def test_metadata_link_local_and_reserved_addresses_are_never_allowed(address: str, guard: str) -> None:
    assert not is_allowed(ip_address(address), guard=guard)


def test_a_guard_that_nobody_knows_is_the_stricter_one() -> None:
    assert is_allowed(ip_address("8.8.8.8"), guard="?")
    assert not is_allowed(ip_address("10.0.0.1"), guard="?")


def test_ipv4_written_as_ipv6_is_the_same_address() -> None:
    forms = [
        *[(f"::ffff:{a}", a) for a in (*ANYWHERE, *ON_THE_PREMISES, *METADATA) if ":" not in a],
        ("64:ff9b::8.8.8.8", "8.8.8.8"),
        ("64:ff9b::10.0.0.1", "10.0.0.1"),
        ("64:ff9b::a9fe:a9fe", "169.254.169.254"),
    ]
    for wrapped, plain in forms:
        for guard in ("public", "private"):
            here = is_allowed(ip_address(wrapped), guard=guard)
            assert here == is_allowed(ip_address(plain), guard=guard), (wrapped, guard)


# --- URLs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://models.example.com/v1", "https://models.example.com", "https://models.example.com:8443/api/v1/",
        "https://xn--bcher-kva.example/v1", "https://MODELS.example/v1", "https://8.8.8.8/v1",
        "https://[2606:4700::1111]:8443/v1", "https://a_b.example/v1.2/~x-y_z",
    ],
)  # fmt: skip
def test_base_urls_on_the_internet(url: str) -> None:
    check_url(url, allows_private=False)
    check_url(url, allows_private=True)


@pytest.mark.parametrize(
    "url",
    [
        "http://ollama:11434/v1", "http://localhost:8000/v1", "http://127.0.0.1:8000/v1", "https://10.1.2.3/v1",
        "http://[::1]:8000/v1", "http://[fd12::1]/v1", "http://models.lan/v1", "https://vllm/v1",
    ],
)  # fmt: skip
def test_base_urls_of_a_private_network_need_the_operators_word(url: str) -> None:
    check_url(url, allows_private=True)
    with pytest.raises(HostForbidden):
        check_url(url, allows_private=False)


@pytest.mark.parametrize("allows_private", [False, True])
@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "begins with https://"),
        ("models.example/v1", "begins with https://"),
        ("https:///v1", "name like"),
        ("https://", "begins with https://"),
        ("ftp://models.example", "begins with https://"),
        ("file:///etc/passwd", "begins with https://"),
        ("HTTPS://models.example", "begins with https://"),
        ("https://user:password@models.example/v1", "neither a user nor a password"),
        ("https://models.example@169.254.169.254/v1", "neither a user nor a password"),
        ("https://models.example/v1?x=1", "neither a query nor a fragment"),
        ("https://models.example/v1#x", "neither a query nor a fragment"),
        ("https://models.example#@10.0.0.1/", "neither a query nor a fragment"),
        ("https://models.example\\@10.0.0.1/", "plain ASCII"),
        ("https://models.example/ v1", "plain ASCII"),
        ("https://models.example/v1\n", "plain ASCII"),
        ("https://mоdels.example/v1", "plain ASCII"),  # a Cyrillic о
        ("https://bücher.example/v1", "plain ASCII"),
        ("https://１２７.０.０.１/v1", "plain ASCII"),
        ("https://127。0。0。1/v1", "plain ASCII"),
        ("https://models.example/%2e%2e/v1", "path"),
        ("https://models.example/../v1", "path"),
        ("https://models.example/v1;x", "path"),
        ("https://models.example:0/v1", "port"),
        ("https://models.example:65536/v1", "port"),
        ("https://models.example:/v1", "port"),
        ("https://models.example:08/v1", "port"),
        ("https://models.example:80:80/v1", "port"),
        ("https://::1/v1", "port"),
        ("https://[::1]8000/v1", "port"),
        ("https://[::1/v1", "no IPv6 address"),
        ("https://[models.example]/v1", "no IPv6 address"),
        ("https://[127.0.0.1]/v1", "no IPv6 address"),
        ("https://[fd00::1%25eth0]/v1", "without a zone"),
        ("https://models..example/v1", "name like"),
        ("https://models.example./v1", "name like"),
        ("https://-models.example/v1", "name like"),
        ("https://mod%65ls.example/v1", "name like"),
        (f"https://{'a' * 64}.example/v1", "name like"),
        (f"https://{'.'.join(['a' * 60] * 4)}.example.com/v1", "name like"),
        ("https://2130706433/v1", "four decimal numbers"),
        ("https://0x7f000001/v1", "four decimal numbers"),
        ("https://0x7f.1/v1", "four decimal numbers"),
        ("https://0177.0.0.1/v1", "four decimal numbers"),
        ("https://127.0.0.01/v1", "four decimal numbers"),
        ("https://127.1/v1", "four decimal numbers"),
        ("https://127.0.0.0x1/v1", "four decimal numbers"),
        ("https://1.2.3.4.5/v1", "four decimal numbers"),
        ("https://256.1.1.1/v1", "four decimal numbers"),
        ("https://models.example.1/v1", "four decimal numbers"),
        ("https://169.254.169.254/v1", "address is n"),
        ("https://100.100.100.200/v1", "address is n"),
        ("https://168.63.129.16/v1", "address is n"),
        ("https://0.0.0.0/v1", "address is n"),
        ("https://[::ffff:169.254.169.254]/v1", "address is n"),
        ("https://[::ffff:a9fe:a9fe]/v1", "address is n"),
        ("https://[64:ff9b::a9fe:a9fe]/v1", "address is n"),
        ("https://[2002:7f00:1::1]/v1", "address is n"),
        ("https://[fd00:ec2::254]/v1", "address is n"),
        ("https://[fe80::1]/v1", "address is n"),
        (f"https://models.example/{'a' * 280}", "300 characters"),
    ],
)
def test_base_urls_that_can_not_be_entered(url: str, message: str, allows_private: bool) -> None:
    with pytest.raises(HostForbidden, match=message) as refusal:
        check_url(url, allows_private=allows_private)
    assert isinstance(refusal.value, ValueError)
    # A password that was typed into the URL is not for the page.
    assert "password@" not in str(refusal.value)


@pytest.mark.parametrize(
    ("url", "english", "portuguese"),
    [
        (
            f"https://models.example/{'a' * 300}",
            "The URL has at most 300 characters.",
            "A URL tem no máximo 300 caracteres.",
        ),
        ("https://10.0.0.1/v1", "The host's address is not a public one.", "O endereço do host não é público."),
    ],
)
def test_a_refusal_is_english_and_is_said_in_the_language_that_is_spoken(
    url: str, english: str, portuguese: str
) -> None:
    with translation.override("pt-br"):
        with pytest.raises(HostForbidden) as refusal:
            check_url(url, allows_private=False)
        assert (str(refusal.value), refusal.value.said) == (english, portuguese)
    with translation.override("en"):
        assert refusal.value.said == english


def test_plain_http_is_for_private_addresses() -> None:
    with pytest.raises(HostForbidden, match="Only https"):
        check_url("http://models.example/v1", allows_private=False)
    check_url("http://models.example/v1", allows_private=True)  # where the name leads is looked at when it is called
    with pytest.raises(HostForbidden, match="private network alone"):
        check_url("http://8.8.8.8/v1", allows_private=True)


# --- Names ----------------------------------------------------------------------------------------------------------


def look_up(name: str, *, guard: str, is_plain: bool = False) -> str:
    return asyncio.run(resolve(name, 443, guard=guard, is_plain=is_plain))


def test_a_name_is_looked_up_once_and_its_first_address_taken(resolver: Resolver) -> None:
    resolver.answer("models.example", ["2606:4700::1111", "8.8.8.8"], ["1.1.1.1"])
    assert look_up("models.example", guard="public") == "2606:4700::1111"
    assert resolver.asked == ["models.example"]
    assert look_up("models.example", guard="private") == "1.1.1.1"


@pytest.mark.parametrize(
    ("addresses", "guard"),
    [
        (["10.0.0.1"], "public"),
        (["8.8.8.8", "10.0.0.1"], "public"),
        (["8.8.8.8", "::ffff:127.0.0.1"], "public"),
        (["8.8.8.8", "fe80::1"], "public"),
        (["10.0.0.1", "169.254.169.254"], "private"),
        (["fd00:ec2::254"], "private"),
    ],
)
def test_one_forbidden_address_forbids_the_name(resolver: Resolver, addresses: list[str], guard: str) -> None:
    resolver.answer("models.example", addresses)
    with pytest.raises(HostForbidden) as refusal:
        look_up("models.example", guard=guard)
    assert str(refusal.value) == RULES[guard]
    assert not [address for address in addresses if address in str(refusal.value)]


def test_an_unencrypted_request_goes_to_private_addresses_alone(resolver: Resolver) -> None:
    resolver.answer("models.lan", ["10.0.0.1"], ["10.0.0.1", "8.8.8.8"])
    assert look_up("models.lan", guard="private", is_plain=True) == "10.0.0.1"
    with pytest.raises(HostForbidden, match=PLAIN_RULE):
        look_up("models.lan", guard="private", is_plain=True)
    assert look_up("models.lan", guard="private") == "10.0.0.1"


@pytest.mark.parametrize("written", ["2130706433", "0x7f.1", "0177.0.0.1", "127.1"])
def test_odd_ways_to_write_an_address_are_looked_through(written: str) -> None:
    """The base URL's check has refused them; the system's resolver would read them."""
    with pytest.raises(HostForbidden):
        look_up(written, guard="public")


@pytest.mark.parametrize("name", ["nowhere.example", f"{'a' * 64}.example"])
def test_a_name_without_an_address_is_an_error_of_the_network(resolver: Resolver, name: str) -> None:
    with pytest.raises(OSError):
        look_up(name, guard="public")


def test_a_name_with_no_addresses_at_all(resolver: Resolver) -> None:
    resolver.answer("empty.example", [])
    with pytest.raises(OSError, match="no address"):
        look_up("empty.example", guard="public")
