"""What happens to a call: whom it may reach, and which object says so. Pure, and without any Envoy resource."""

from smi.policy.decide import Policy, decide
from smi.policy.decision import (
    Account,
    BackendDecision,
    Call,
    Cited,
    Decision,
    Outcome,
    Reason,
    ServerDecision,
)

__all__ = [
    "Account",
    "BackendDecision",
    "Call",
    "Cited",
    "Decision",
    "Outcome",
    "Policy",
    "Reason",
    "ServerDecision",
    "decide",
]
