"""Regular expressions as Envoy will run them: checked with the same engine, RE2, before anything is sent."""

from __future__ import annotations

import re2

MAX_LENGTH = 1024
"""Characters in one expression."""
_MAX_MEMORY = 1 << 20
"""Bytes that RE2 may use for one compiled expression: an eighth of what Envoy grants it."""

MAX_PROGRAM_SIZE = 8192
"""Instructions of one compiled expression: half of what sidecars accept (`deploy/sidecar/bootstrap.py`)."""

_options = re2.Options()
_options.max_mem = _MAX_MEMORY
_options.log_errors = False


def refusal(pattern: str) -> str | None:
    """Why `pattern` cannot be used, in RE2's words; None when it can.

    It is compiled alone and in the group that the translation puts around it: alone, because `a)(?:b` is only
    valid within the group; grouped, because the whole must fit into memory.
    """
    if len(pattern) > MAX_LENGTH:
        return f"it has more than {MAX_LENGTH} characters"
    try:
        re2.compile(pattern, _options)
        size = re2.compile(f"(?s).*(?:{pattern}).*", _options).programsize
    except re2.error as error:
        reason = error.args[0] if error.args else "refused"
        return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
    except UnicodeError:
        return "it holds characters that are not Unicode text"
    return None if size <= MAX_PROGRAM_SIZE else f"it compiles to {size} instructions, more than {MAX_PROGRAM_SIZE}"


def fits_no_path(pattern: str) -> bool:
    """Whether a valid `pattern`, anchored at its beginning, can match no text that begins with `/`."""
    try:
        low, high = re2.compile(pattern, _options).possiblematchrange(4)
    except re2.error:  # RE2 gives no range for expressions that can begin with anything
        return False
    return bool(low) and (low[:1] > b"/" or high[:1] < b"/")
