"""Which addresses of the net the service may call on behalf of a caller: those that anybody could reach anyway.

A list of what is public rather than of what is not, as far as the registries of IANA allow it. An IPv6 address
that carries an IPv4 address to which it would be translated is judged as that one.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_V4_OF_ONE_SITE = tuple(
    IPv4Network(text)
    for text in ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")
)
"""Private, carrier-grade NAT, loopback, link-local."""
_V4_OF_NOBODY = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
    )
)
"""This network, protocol assignments, documentation, 6to4 relays, benchmarks, multicast and reserved."""
_V6_OF_ONE_SITE = tuple(IPv6Network(text) for text in ("::1/128", "fc00::/7", "fe80::/10"))
"""Loopback, unique local, link-local."""
_V6_GLOBAL = IPv6Network("2000::/3")
_V6_OF_NOBODY = tuple(IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "3fff::/20"))
"""Protocol assignments (Teredo among them) and documentation."""
_MAPPED, _NAT64, _6TO4 = IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"), IPv6Network("2002::/16")


def may_be_called(address: str, allow_private: bool = False) -> bool:
    """Whether a connection may go to this address: a public one, or with `allow_private` one of this site too."""
    try:
        parsed = _inner(ip_address(address))
    except ValueError:
        return False
    if isinstance(parsed, IPv4Address):
        of_site = any(parsed in network for network in _V4_OF_ONE_SITE)
        public = not of_site and not any(parsed in network for network in _V4_OF_NOBODY)
    else:
        if parsed.scope_id is not None:  # it names an interface of this machine: no caller has business there
            return False
        of_site = any(parsed in network for network in _V6_OF_ONE_SITE)
        public = parsed in _V6_GLOBAL and not any(parsed in network for network in _V6_OF_NOBODY)
    return public or (allow_private and of_site)


def _inner(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The address that is really reached: what is mapped, translated (NAT64) or tunnelled (6to4) is IPv4."""
    if isinstance(address, IPv6Address) and address.scope_id is None:
        if address in _MAPPED or address in _NAT64:
            return IPv4Address(int(address) & 0xFFFF_FFFF)
        if address in _6TO4:
            return IPv4Address(int(address) >> 80 & 0xFFFF_FFFF)
    return address
