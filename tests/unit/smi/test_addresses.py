"""Addresses of hosts: what is decided at a glance is decided as by `ipaddress`."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smi.addresses import usable_address

octets = st.integers(0, 260).map(str) | st.sampled_from(["00", "01", "", "-1", "٣", "223", "224", "239", "240"])


@given(st.lists(octets, min_size=3, max_size=5).map(".".join) | st.ip_addresses(v=4).map(str))
def test_ipv4_as_the_library_reads_it(text):
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        assert usable_address(text) is None
    else:
        is_host = not (address.is_unspecified or address.is_multicast)
        assert usable_address(text) == (str(address) if is_host else None)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0.0.0.0", None),
        ("0.0.0.1", "0.0.0.1"),
        ("10.0.0.1\n", None),
        ("223.255.255.255", "223.255.255.255"),
        ("224.0.0.1", None),
        ("239.0.0.1", None),
        ("240.0.0.1", "240.0.0.1"),
        ("FD00::0001", "fd00::1"),
        ("::", None),
        ("ff02::1", None),
        ("fe80::1%eth0", None),
    ],
)
def test_addresses_of_hosts(text, address):
    assert usable_address(text) == address
