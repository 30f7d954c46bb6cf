"""What can go wrong while a mesh of processes is started or tried."""

from __future__ import annotations


class DemoError(Exception):
    """The demo cannot go on. The message is for the person who runs it; it may end with lines of a log."""
