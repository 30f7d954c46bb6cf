"""Which texts are addresses that traffic can be sent to."""

from __future__ import annotations

import ipaddress


def usable_address(text: str) -> str | None:
    """The IP address in its canonical spelling; None for what is no address, or none that one host can have."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if address.is_unspecified or address.is_multicast or "%" in text:
        return None
    return str(address)
