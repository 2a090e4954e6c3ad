"""Which addresses the crawler may connect to: public ones, and those that the recipe names.

Pages choose the URLs that a crawler fetches, so a page could make it ask the services of the machine and
network that it runs in. The guard stands where names become addresses, and the connection goes to exactly
the addresses that it passed on: literals in any notation, redirects, robots.txt and sitemaps take that
way, and a name cannot change between check and use.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IHostnameResolver, IResolutionReceiver
from zope.interface import implementer

from curate.sources.urls import host_name

# Not global, though `is_global` says so in Python 3.11, and Azure's wire server, a public address.
_INTERNAL = [
    ip_network(text)
    for text in (
        "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16", "fec0::/10", "192.88.99.0/24",
        "168.63.129.16/32",
    )
]  # fmt: skip


def refused(address: str) -> bool:
    """Whether an IP address is private, loopback, link-local, reserved, or leads to such (6to4, NAT64)."""
    ip = _unwrapped(address)
    return (
        not ip.is_global
        or ip.is_multicast
        or ip.is_reserved
        or ip.is_unspecified
        or any(ip in network for network in _INTERNAL)
    )


def _unwrapped(address: str) -> IPv4Address | IPv6Address:
    ip = ip_address(address)
    return (isinstance(ip, IPv6Address) and ip.ipv4_mapped) or ip


class Permissions:
    """The recipe's `allow_private`: host names (`*` as wildcard), addresses, networks, or "*" for all."""

    def __init__(self, allow_private: Sequence[str]) -> None:
        self.networks: list[Any] = []
        self.hosts: list[str] = []
        for entry in allow_private:
            try:
                self.networks.append(ip_network(entry, strict=False))
            except ValueError:
                self.hosts.append(entry.lower().rstrip("."))

    def host(self, name: str) -> bool:
        """Whether every address of this host is allowed."""
        return any(fnmatchcase(name, pattern) for pattern in self.hosts)

    def address(self, address: str) -> bool:
        """Whether this address is public or in an allowed network."""
        return not refused(address) or any(_unwrapped(address) in network for network in self.networks)


@implementer(IHostnameResolver)
class Guard:
    """Stands before the reactor's resolver, and before `connectTCP` as the last line.

    `connect` (host, port) is where every request to one of `own_hosts` goes instead of to its own address.
    `turned_away` collects host → addresses for names that had no permitted address.
    """

    def __init__(
        self, allow_private: Sequence[str], own_hosts: frozenset[str], connect: tuple[str, int] | None
    ) -> None:
        self.permissions = Permissions(allow_private)
        self.own_hosts = own_hosts
        self.connect = connect
        self.turned_away: dict[str, list[str]] = {}
        self._granted: set[tuple[str, int]] = set()

    def install(self, reactor: Any) -> None:
        """Put the guard on a Twisted reactor, before anything connects."""
        self._resolver = reactor.nameResolver
        self._connect_tcp = reactor.connectTCP
        reactor.installNameResolver(self)
        reactor.connectTCP = self.connect_tcp

    def resolveHostName(  # noqa: N802 (the interface's name)
        self,
        receiver: Any,
        hostName: str,  # noqa: N803
        portNumber: int = 0,  # noqa: N803
        addressTypes: Any = None,  # noqa: N803
        transportSemantics: str = "TCP",  # noqa: N803
    ) -> Any:
        """Resolve a name and pass on only permitted addresses."""
        try:
            name = host_name(hostName)
        except ValueError:
            name = hostName
        target, port, trusted = hostName, portNumber, self.permissions.host(name)
        if self.connect and name in self.own_hosts:
            (target, port), trusted = self.connect, True
        filtered = _Filter(self, receiver, name, trusted)
        return self._resolver.resolveHostName(filtered, target, port, addressTypes, transportSemantics)

    def permits(self, address: Any, *, trusted: bool) -> bool:
        """Whether a resolved address is passed on; one that was is remembered for `connect_tcp`."""
        if not (trusted or self.permissions.address(address.host)):
            return False
        self._granted.add((address.host, address.port))
        return True

    def connect_tcp(self, host: str, port: int, *args: Any, **options: Any) -> Any:
        """`reactor.connectTCP` for addresses that were resolved here; ConnectError for all others."""
        if (host, port) not in self._granted:
            raise ConnectError(string=f"no permission to connect to {host}:{port}")
        return self._connect_tcp(host, port, *args, **options)


@implementer(IResolutionReceiver)
class _Filter:
    """Passes on the permitted addresses of one resolution."""

    def __init__(self, guard: Guard, receiver: Any, name: str, trusted: bool) -> None:
        self.guard = guard
        self.receiver = receiver
        self.name = name
        self.trusted = trusted
        self.turned_away: list[str] = []
        self.passed = False

    def resolutionBegan(self, resolution: Any) -> None:  # noqa: N802
        """The look-up began."""
        self.receiver.resolutionBegan(resolution)

    def addressResolved(self, address: Any) -> None:  # noqa: N802
        """One address of the name."""
        if self.guard.permits(address, trusted=self.trusted):
            self.passed = True
            self.receiver.addressResolved(address)
        else:
            self.turned_away.append(address.host)

    def resolutionComplete(self) -> None:  # noqa: N802
        """All addresses are known."""
        if self.turned_away and not self.passed:
            self.guard.turned_away[self.name] = sorted(set(self.turned_away))
        self.receiver.resolutionComplete()
