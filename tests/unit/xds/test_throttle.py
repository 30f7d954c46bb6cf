"""How long a failing peer waits for its refusal, and how little that costs."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds.throttle import Throttle, origin_of


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_delay_grows_up_to_a_limit() -> None:
    throttle = Throttle(first=0.1, longest=5.0)
    assert [throttle.failed("10.0.0.1") for _ in range(8)] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])
    assert throttle.failed("10.0.0.2") == pytest.approx(0.1), "each address for itself"


def test_an_address_is_forgotten_in_time() -> None:
    clock = Clock()
    throttle = Throttle(first=0.1, memory=300.0, clock=clock)
    throttle.failed("10.0.0.1")
    clock.now += 299
    assert throttle.failed("10.0.0.1") == pytest.approx(0.2)
    clock.now += 301
    assert throttle.failed("10.0.0.1") == pytest.approx(0.1)


def test_so_many_addresses_are_remembered() -> None:
    throttle = Throttle(first=0.1, most_addresses=3)
    for last in (1, 2, 3, 1, 4):
        throttle.failed(f"10.0.0.{last}")
    assert throttle.failed("10.0.0.1") == pytest.approx(0.4), "it failed again after the others"
    assert throttle.failed("10.0.0.2") == pytest.approx(0.1), "the one whose failure was longest ago"


async def test_so_many_answers_are_delayed_and_the_next_is_not() -> None:
    throttle = Throttle(first=60.0, longest=60.0, most_delayed=2)
    waiting = [asyncio.create_task(throttle.delay("10.0.0.1")) for _ in range(2)]
    await asyncio.sleep(0)
    assert throttle.delayed == 2
    began = time.monotonic()
    await throttle.delay("10.0.0.2")
    assert time.monotonic() - began < 10
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert throttle.delayed == 0, "a peer that goes gives its place back"


@pytest.mark.parametrize(
    ("peer", "origin"),
    [
        ("ipv4:10.0.0.1:4711", "10.0.0.1"),
        ("ipv6:%5B::1%5D:4711", "::/64"),
        ("ipv6:%5B2001:db8:1:2:3:4:5:6%5D:1", "2001:db8:1:2::/64"),
        ("ipv6:[2001:db8:1:2:ffff::9]:1", "2001:db8:1:2::/64"),
        ("ipv6:%5B::ffff:10.0.0.1%5D:1", "10.0.0.1"),
        ("ipv6:%5Bfe80::1%25eth0%5D:1", "fe80::/64"),
        ("unix:/run/socket", "unix:/run/socket"),
        ("ipv4:nonsense", "ipv4:nonsense"),
        ("", ""),
    ],
)
def test_an_address_counts_without_its_port_and_a_network_as_one(peer: str, origin: str) -> None:
    assert origin_of(peer) == origin


@given(st.text())
def test_any_peer_has_an_origin(peer: str) -> None:
    assert isinstance(origin_of(peer), str)
