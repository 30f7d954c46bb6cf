"""Regular expressions as Envoy will run them: checked with the same engine, RE2, before anything is sent.

RE2 matches in linear time, whatever the expression; what an expression can cost is its compilation. That is bounded
here three times: by its length, by the classes of Unicode characters in it, which RE2 expands before it looks at any
limit, and by the memory that RE2 may use. `Expressions` bounds what all expressions of one object cost together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import re2

MAX_LENGTH = 1024
"""Characters in one expression."""
MAX_UNICODE_CLASSES = 16
"""Classes such as `\\p{L}` in one expression. Each costs up to 0.2 ms to expand."""
MAX_PROGRAM_SIZE = 8192
"""Instructions of one compiled expression: half of what sidecars accept (`deploy/sidecar/bootstrap.py`)."""
MAX_TOTAL = 1 << 18
"""What all expressions of one object may cost together: about 3,000 of ordinary size, or 32 as large as may be."""

_MAX_MEMORY = 384 * 1024
"""Bytes that RE2 may use for one compiled expression. Envoy grants it 8 MiB; more than this is never needed for
`MAX_PROGRAM_SIZE` instructions, and the less it is, the sooner hostile expressions end."""
_FIXED_COST = 64
_COST_OF_CLASS = 512
"""Unicode classes cost time that the compiled size does not show."""
_UNICODE_CLASS = re.compile(r"\\[pP]")

_options = re2.Options()
_options.max_mem = _MAX_MEMORY
_options.log_errors = False


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What is known of an expression: why it cannot be used (None: it can), what it costs, what it can match."""

    refusal: str | None
    cost: int
    fits_no_path: bool = False


class Expressions:
    """The expressions of one object."""

    def __init__(self) -> None:
        self._left = MAX_TOTAL

    def refusal(self, pattern: str) -> str | None:
        """Why `pattern` cannot be used here; None when it can. Those that are refused cost something too."""
        if self._left <= 0:
            return "the expressions of this object are too many, or too large together"
        verdict = _verdict(pattern)
        self._left -= verdict.cost
        return verdict.refusal


def refusal(pattern: str) -> str | None:
    """Why `pattern` cannot be used, in RE2's words; None when it can."""
    return _verdict(pattern).refusal


def fits_no_path(pattern: str) -> bool:
    """Whether a valid `pattern`, anchored at its beginning, can match no text that begins with `/`."""
    return _verdict(pattern).fits_no_path


def _verdict(pattern: str) -> _Verdict:
    if len(pattern) > MAX_LENGTH:
        return _Verdict(f"it has more than {MAX_LENGTH} characters", _FIXED_COST)
    return _examined(pattern)


@lru_cache(maxsize=4096)
def _examined(pattern: str) -> _Verdict:
    r"""Compile `pattern` alone and in the group that the translation puts around it: alone, because `a)(?:b` is only
    valid within the group; grouped, because of an open `\Q`, and because the whole must fit into memory.
    """
    classes = len(_UNICODE_CLASS.findall(pattern))
    if classes > MAX_UNICODE_CLASSES:
        return _Verdict(f"it has more than {MAX_UNICODE_CLASSES} classes of Unicode characters", _FIXED_COST)
    cost = _FIXED_COST + _COST_OF_CLASS * classes
    try:
        alone = re2.compile(pattern, _options)
        size = alone.programsize
        if size <= MAX_PROGRAM_SIZE:
            size = re2.compile(f"(?s).*(?:{pattern}).*", _options).programsize
        if size > MAX_PROGRAM_SIZE:
            reason = f"it compiles to {size} instructions, more than {MAX_PROGRAM_SIZE}"
            return _Verdict(reason, cost + MAX_PROGRAM_SIZE)
        return _Verdict(None, cost + size, _fits_no_path(alone))
    except re2.error as error:
        return _Verdict(_words(error), cost + MAX_PROGRAM_SIZE)
    except UnicodeError:
        return _Verdict("it holds characters that are not Unicode text", cost)
    finally:
        re2.purge()  # it would keep the last hundred compiled expressions, which may be large


def _words(error: Exception) -> str:
    reason = error.args[0] if error.args else "refused"
    return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)


def _fits_no_path(expression: re2._Regexp) -> bool:
    try:
        low, high = expression.possiblematchrange(4)
    except re2.error:  # RE2 gives no range for expressions that can begin with anything
        return False
    return bool(low) and (low[:1] > b"/" or high[:1] < b"/")
