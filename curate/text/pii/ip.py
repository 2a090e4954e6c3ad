"""IP addresses, decided by the standard parser and by what stands around them.

Only global addresses are personal data by default: private, loopback, link-local and documentation
networks (192.0.2.0/24, 2001:db8::/32) name nobody. Four small numbers with dots are more often a version
or a section than an address; words and signs before them decide.
"""

from __future__ import annotations

import ipaddress
import re

from curate.text.pii.spans import Found

_IPV4 = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
_IPV6 = re.compile(r"[0-9A-Fa-f:]{2,39}(?:(?<=:)[0-9]{1,3}(?:\.[0-9]{1,3}){3})?")
# All that is given out of IPv6: global unicast, and for `private` unique local and link-local.
_GIVEN_OUT = tuple(ipaddress.ip_network(network) for network in ("2000::/3", "fc00::/7", "fe80::/10"))

# A package name, a longer row of dots or a comparison before four numbers: no address.
_JOINED = re.compile(r"[A-Za-z_][-.]$|[0-9A-Za-z_]\.$|[=~<>!]=$")
_GOES_ON = re.compile(r"\.?[0-9A-Za-z_]|-[A-Za-z]")
_OBJECT_IDENTIFIER = re.compile(r"1\.3\.6\.|2\.5\.(?:4|29)\.")
_WORD = re.compile(r"[^\W_]+")
_VERSION_WORD = re.compile("v|ver|release|build|rev|revision|バージョン|版本")

# Of all addresses .02 % have four octets below 32, but most versions and sections: those need a sign.
_SMALL = 32
_ADDRESS_WORD = re.compile(
    "ips?|ipv4|addr|address|addresses|adresse|dirección|endereço|アドレス|地址|주소|hosts?|hostname|servers?|client|dns"
    "|nameserver|resolver|gateway|proxy|peer|router|subnet|ping|traceroute|ssh|listen|bind|via|inet"
)
_ADDRESS_AFTER = re.compile(r":[0-9]{2,5}\b|/[0-9]{1,2}\b")


def find(text: str, at: int, private: bool) -> Found | None:
    """The address that starts at `at`: global ones, or with `private` every one."""
    found = _ipv6(text, at) if _IPV4.match(text, at) is None else _ipv4(text, at)
    if found is None:
        return None
    address = ipaddress.ip_address(found.value)
    return found if private or (address.is_global and not address.is_multicast) else None


def _ipv4(text: str, at: int) -> Found | None:
    match = _IPV4.match(text, at)
    if match is None or _GOES_ON.match(text, match.end()) or _JOINED.search(text[max(0, at - 2) : at]):
        return None
    octets = match.group().split(".")
    if any((len(octet) > 1 and octet[0] == "0") or int(octet) > 255 for octet in octets):
        return None
    if octets[2:] == ["0", "0"]:  # 4.0.0.0: an assembly version or a network, never a host
        return None
    if _OBJECT_IDENTIFIER.match(text, at) or not _named(text, at, match.end(), octets):
        return None
    return Found(at, match.end(), match.group())


def _named(text: str, start: int, end: int, octets: list[str]) -> bool:
    """Whether what stands around four numbers lets them be an address, not a version or a section."""
    before = text[max(0, start - 40) : start]
    before = before[max(before.rfind("<"), before.rfind(">")) + 1 :]  # a placeholder is no word
    words = [word.lower() for word in _WORD.findall(before)]
    if words and (_VERSION_WORD.fullmatch(words[-1]) or any("version" in word for word in words[-2:])):
        return False
    if any(int(octet) >= _SMALL for octet in octets):
        return True
    if len(text) < 64 and text.strip() == text[start:end]:
        return True
    signed = text[start - 2 : start] == "//" or text[start - 1 : start] in ("@", "[")
    named = any(_ADDRESS_WORD.fullmatch(word) for word in words[-3:])
    return signed or named or _ADDRESS_AFTER.match(text, end) is not None


def _ipv6(text: str, at: int) -> Found | None:
    match = _IPV6.match(text, at)
    if match is None:
        return None
    written = match.group() if match.group().endswith("::") else match.group().rstrip(":")
    end = at + len(written)
    if _GOES_ON.match(text, end):
        return None
    try:
        address = ipaddress.IPv6Address(written)
    except ValueError:
        return None
    groups = written.split(":")
    # Shortened forms also occur in code (a::b); eight short groups are a hardware address.
    given_out = any(address in network for network in _GIVEN_OUT)
    plausible = given_out if "::" in written else any(len(group) > 2 for group in groups)
    return Found(at, end, address.compressed) if plausible else None
