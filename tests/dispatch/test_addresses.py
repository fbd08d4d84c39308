"""No webhook goes to an address that only this site can reach, in whatever form it is written."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.addresses import may_be_called
from jobs.webhook_url import REFUSED_PORTS, WebhookUrlRefused, host_of, parse_webhook_url

V4 = st.ip_addresses(v=4)
V6 = st.ip_addresses(v=6)
SITE = (
    "127.0.0.1",
    "127.255.255.254",
    "10.1.2.3",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.127.255.255",
)
NOBODY = ("0.0.0.0", "192.0.2.1", "198.18.0.1", "203.0.113.7", "224.0.0.1", "239.255.255.255", "240.0.0.1")
NOBODY_EITHER = ("255.255.255.255", "192.0.0.8", "192.88.99.1", "0.1.2.3", "198.51.100.1")
PUBLIC = ("1.1.1.1", "8.8.8.8", "93.184.216.34", "172.15.0.1", "172.32.0.1", "100.63.0.1", "100.128.0.1", "9.9.9.9")


def disguises(address: IPv4Address) -> list[str]:
    """IPv6 addresses that end up at an IPv4 address."""
    number = int(address)
    return [
        str(IPv6Address(0xFFFF << 32 | number)),  # mapped
        f"::ffff:{address}",
        str(IPv6Address((0x64FF9B << 96) | number)),  # NAT64
        str(IPv6Address((0x2002 << 112) | (number << 80) | 1)),  # 6to4
    ]


@pytest.mark.parametrize("text", SITE)
def test_addresses_of_this_site_need_leave(text: str) -> None:
    for form in (text, *disguises(IPv4Address(text))):
        assert not may_be_called(form), form
        assert may_be_called(form, allow_private=True), form


@pytest.mark.parametrize("text", [*NOBODY, *NOBODY_EITHER])
def test_addresses_of_nobody_are_never_called(text: str) -> None:
    for form in (text, *disguises(IPv4Address(text))):
        assert not may_be_called(form, allow_private=True), form


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_are_called_in_any_form(text: str) -> None:
    for form in (text, *disguises(IPv4Address(text))):
        assert may_be_called(form), form


@pytest.mark.parametrize(
    "text",
    [
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd12:3456::1",
        "fec0::1",
        "ff02::1",
        "100::1",
        "64:ff9b:1::1",
        "2001::1",
        "2001:2::1",
        "2001:10::1",
        "2001:db8::1",
        "3fff::1",
        "5f00::1",
        "::127.0.0.1",
        "::8.8.8.8",
        "2606:4700::1%eth0",
        "",
        "localhost",
        "127.1",
        "0x7f000001",
        "2130706433",
        "010.0.0.1",
    ],
)
def test_other_ipv6_addresses_and_what_is_none_are_refused(text: str) -> None:
    assert not may_be_called(text)


@pytest.mark.parametrize("text", ["2606:4700:4700::1111", "2a00:1450:4001::1", "2001:4860:4860::8888"])
def test_public_ipv6_addresses_are_called(text: str) -> None:
    assert may_be_called(text)


def not_for_all(address: IPv4Address | IPv6Address) -> bool:
    """What the standard library calls special; it knows fewer kinds, but knows them by itself."""
    return (
        address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_reserved
        or address.is_unspecified
    )


@given(V4)
def test_whatever_the_standard_library_calls_special_is_refused(address: IPv4Address) -> None:
    if not_for_all(address):
        assert not may_be_called(str(address))
        assert not any(may_be_called(form) for form in disguises(address))


@given(V4, st.booleans())
def test_a_disguise_changes_nothing(address: IPv4Address, allow_private: bool) -> None:
    plain = may_be_called(str(address), allow_private)
    assert [may_be_called(form, allow_private) for form in disguises(address)] == [plain] * 4


@given(V6)
def test_the_same_for_ipv6(address: IPv6Address) -> None:
    translated = str(address).startswith(("64:ff9b::", "2002:")) or address.ipv4_mapped is not None
    if not_for_all(address) and not translated:
        assert not may_be_called(str(address))


@given(st.one_of(V4, V6))
def test_leave_for_this_site_opens_no_public_address_and_closes_none(address: IPv4Address | IPv6Address) -> None:
    if may_be_called(str(address)):
        assert may_be_called(str(address), allow_private=True)


@given(st.text())
def test_any_text_gets_an_answer(text: str) -> None:
    if may_be_called(text):
        ip_address(text)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://example.com/", "https:// only"),
        ("ftp://example.com/", "no URL"),
        ("example.com/hook", "no URL"),
        ("https://", "no URL"),
        ("", "no URL"),
        ("file:///etc/passwd", "no URL"),
        ("https://localhost/", "localhost is not a public address"),
        ("https://LOCALHOST./", "is not a public address"),
        ("https://a.localhost:8443/", "is not a public address"),
        ("https://127.0.0.1/", "127.0.0.1 is not a public address"),
        ("https://127.1/", "127.0.0.1 is not a public address"),
        ("https://0x7f.1/", "127.0.0.1 is not a public address"),
        ("https://2130706433/", "127.0.0.1 is not a public address"),
        ("https://0177.0.0.1/", "127.0.0.1 is not a public address"),
        ("https://127.0.0.1%2e/", "127.0.0.1 is not a public address"),
        ("https://①②⑦.0.0.1/", "127.0.0.1 is not a public address"),
        ("https://[::1]/", "::1 is not a public address"),
        ("https://[::ffff:10.0.0.1]/", "is not a public address"),
        ("https://169.254.169.254/latest/meta-data", "169.254.169.254 is not a public address"),
        ("https://example.com:25/", "port 25 is for SMTP"),
        ("https://example.com:465/", "port 465 is for SMTP"),
        ("https://example.com:0/", "port 0 is for nothing"),
        ("https://me:word@example.com/", "not hold a user name"),
        ("https://me@example.com/", "not hold a user name"),
    ],
)
def test_a_url_that_cannot_be_called_is_refused_with_the_reason(url: str, reason: str) -> None:
    with pytest.raises(WebhookUrlRefused, match=reason):
        parse_webhook_url(url, allow_private=False)


@pytest.mark.parametrize(
    ("url", "called"),
    [
        ("https://example.com", "https://example.com/"),
        ("https://EXAMPLE.com:8443/hook?token=1", "https://example.com:8443/hook?token=1"),
        ("https://münchen.example/a b", "https://xn--mnchen-3ya.example/a%20b"),
        ("https://[2606:4700::1]/", "https://[2606:4700::1]/"),
    ],
)
def test_any_other_is_called_in_its_plain_form(url: str, called: str) -> None:
    assert str(parse_webhook_url(url, allow_private=False)) == called


@pytest.mark.parametrize(
    "url", ["http://localhost:9000/hook", "http://127.0.0.1/", "https://[::1]:8443/", "http://a/"]
)
def test_with_leave_this_site_may_be_called_without_tls(url: str) -> None:
    assert host_of(parse_webhook_url(url, allow_private=True))


@pytest.mark.parametrize("port", REFUSED_PORTS)
def test_leave_opens_no_port(port: int) -> None:
    with pytest.raises(WebhookUrlRefused):
        parse_webhook_url(f"http://127.0.0.1:{port}/", allow_private=True)


@given(st.text())
def test_any_text_is_a_url_or_is_refused(text: str) -> None:
    for candidate in (text, f"https://{text}", f"https://example.com/{text}"):
        try:
            parsed = parse_webhook_url(candidate, allow_private=False)
        except WebhookUrlRefused:
            continue
        assert parsed.scheme == "https"
        assert host_of(parsed)


def test_the_reason_holds_nothing_secret_of_the_url() -> None:
    for url in ("http://127.0.0.1/", "https://127.0.0.1/", "https://me:hush@a.example/", "https://a.example:25/"):
        with pytest.raises(WebhookUrlRefused) as told:
            parse_webhook_url(f"{url}hush?token=hush#hush", allow_private=False)
        assert "hush" not in str(told.value)
