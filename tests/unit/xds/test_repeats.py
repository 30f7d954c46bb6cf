"""What peers cause is logged once, summed up, and bounded."""

from __future__ import annotations

import asyncio
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds.repeats import RepeatLog, one_line

LOG = logging.getLogger("tests.repeats")


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING, logger=LOG.name)
    return caplog


async def test_once_and_then_a_sum(said: pytest.LogCaptureFixture) -> None:
    told = RepeatLog(LOG, "refused", window=0.05)
    for _ in range(5):
        told.tell("10.0.0.1", "no token")
    told.tell("10.0.0.2", "no token")
    assert said.messages == ["refused: no token (10.0.0.1)", "refused: no token (10.0.0.2)"]
    async with asyncio.timeout(10):
        while len(said.messages) < 3:
            await asyncio.sleep(0.005)
    assert said.messages[2:] == ["refused: 4 times more; the last: no token (10.0.0.1)"]
    told.close()


async def test_a_peer_that_was_quiet_for_a_window_is_told_of_again(said: pytest.LogCaptureFixture) -> None:
    told = RepeatLog(LOG, "refused", window=0.01)
    told.tell("10.0.0.1", "no token")
    async with asyncio.timeout(10):
        while told._heard:
            await asyncio.sleep(0.005)
    told.tell("10.0.0.1", "no token")
    assert said.messages == ["refused: no token (10.0.0.1)"] * 2
    told.close()


async def test_a_peer_that_always_says_something_else_is_bounded(said: pytest.LogCaptureFixture) -> None:
    told = RepeatLog(LOG, "refused", most_texts=3)
    for number in range(1000):
        told.tell("10.0.0.1", f"node {number}")
    told.close()
    assert len(said.messages) == 4
    assert said.messages[-1] == "refused: 997 times more; the last: node 999 (10.0.0.1)"


async def test_many_peers_are_bounded(said: pytest.LogCaptureFixture) -> None:
    told = RepeatLog(LOG, "refused", most_peers=3)
    for number in range(1000):
        told.tell(f"10.0.0.{number}", "no token")
    told.close()
    assert len(said.messages) == 4
    assert said.messages[-1] == "refused: 997 times more, by others"


async def test_nothing_runs_where_nothing_happens(said: pytest.LogCaptureFixture) -> None:
    told = RepeatLog(LOG, "refused", window=0.01)
    told.close()
    told.tell("10.0.0.1", "no token")
    async with asyncio.timeout(10):
        while told._timer is not None:
            await asyncio.sleep(0.005)
    assert len(said.messages) == 1


@given(st.text())
def test_a_text_is_one_line_that_a_terminal_only_prints(text: str) -> None:
    shown = one_line(text)
    assert shown.isprintable()
    assert len(shown.splitlines()) <= 1


@pytest.mark.parametrize("text", ["plain", "Größe 'x'"])
def test_what_is_harmless_stays(text: str) -> None:
    assert one_line(text) == text
