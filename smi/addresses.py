"""Which texts are addresses that traffic can be sent to."""

from __future__ import annotations

import ipaddress
import re

_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_FIRST_OCTET = r"(?:25[0-5]|24[0-9]|22[0-3]|2[01][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_HOST_OF_IPV4 = re.compile(rf"(?!0\.0\.0\.0$){_FIRST_OCTET}(?:\.{_OCTET}){{3}}")
"""IPv4 addresses, neither unspecified nor multicast: nearly all there are, and much quicker than `ipaddress`."""


def usable_address(text: str) -> str | None:
    """The IP address in its canonical spelling; None for what is no address, or none that one host can have."""
    if _HOST_OF_IPV4.fullmatch(text):
        return text
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if address.is_unspecified or address.is_multicast or "%" in text:
        return None
    return str(address)
