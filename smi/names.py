"""Which texts are valid names in Kubernetes. Source: its page "Object Names and IDs" (RFC 1123 label and subdomain)."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(rf"{_LABEL.pattern}(?:\.{_LABEL.pattern})*")

LABEL_LENGTH = 63
SUBDOMAIN_LENGTH = 253


def is_label(text: str) -> bool:
    """A DNS label: what Services, Namespaces and ports are named by."""
    return len(text) <= LABEL_LENGTH and _LABEL.fullmatch(text) is not None


def is_subdomain(text: str) -> bool:
    """DNS labels joined by dots: what all other objects are named by."""
    return len(text) <= SUBDOMAIN_LENGTH and _SUBDOMAIN.fullmatch(text) is not None


def closest(text: str, known: Iterable[str]) -> str | None:
    """The known word that a person most likely meant by `text`; None when none is close."""
    by_lower = {word.lower(): word for word in known}
    matches = difflib.get_close_matches(text[:LABEL_LENGTH].lower(), by_lower, n=1, cutoff=0.7)
    return by_lower[matches[0]] if matches else None
