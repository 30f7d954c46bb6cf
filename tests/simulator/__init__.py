"""Says what Envoys would do with a call, from nothing but the resources that they are sent. See README.md."""

from tests.simulator.calls import Call, Connection, Kind, Outcome, Reached
from tests.simulator.strictness import BrokenError, NotUnderstoodError
from tests.simulator.world import World

__all__ = ["BrokenError", "Call", "Connection", "Kind", "NotUnderstoodError", "Outcome", "Reached", "World"]
