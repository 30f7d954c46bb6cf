"""Kubernetes quantities, the weights of TrafficSplit v1alpha1, as whole relative weights. Exact arithmetic.

Source of the grammar: `resource.Quantity` of Kubernetes' API machinery: a signed decimal number, then one of the
suffixes `n u m k M G T P E`, `Ki Mi Gi Ti Pi Ei`, or an exponent (`1e3`, `1E-3`). What is finer than a nano-unit is
rounded up to one, as there. Other than there, large values are not capped: the ratio of two weights is what counts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from fractions import Fraction

MAX_WEIGHT = 2**31 - 1
MAX_LENGTH = 64
"""Characters of a quantity. With exponents of two digits at most, no quantity costs more than microseconds."""

_QUANTITY = re.compile(r"([+-]?)([0-9]+\.?[0-9]*|\.[0-9]+)(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?[0-9]{1,2}))?", re.ASCII)
_LARGEST = 10**MAX_LENGTH
_NANO = 10**9
_SUFFIXES = {
    "n": Fraction(1, _NANO),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    **{suffix: Fraction(1000**power) for power, suffix in enumerate("kMGTPE", 1)},
    **{f"{suffix}i": Fraction(1024**power) for power, suffix in enumerate("KMGTPE", 1)},
}


def parse(value: object) -> Fraction | None:
    """The number that a quantity stands for: a text, or a whole number. None for everything else.

    The result may be negative, and has no more than nine decimals.
    """
    if isinstance(value, str):
        return _parse_text(value)
    if isinstance(value, int) and not isinstance(value, bool) and -_LARGEST < value < _LARGEST:
        return Fraction(value)
    return None


def _parse_text(text: str) -> Fraction | None:
    if len(text) > MAX_LENGTH:
        return None
    found = _QUANTITY.fullmatch(text)
    if found is None:
        return None
    sign, digits, suffix, exponent = found.groups()
    number = Fraction(digits.removesuffix("."))
    if suffix:
        number *= _SUFFIXES[suffix]
    elif exponent:
        number *= Fraction(10) ** int(exponent)
    if _NANO % number.denominator:
        number = Fraction(math.ceil(number * _NANO), _NANO)
    return -number if sign == "-" else number


def weights_of(quantities: Sequence[object]) -> list[int] | None:
    """Whole relative weights for quantities; None when one of them is no quantity, or is negative.

    Whole numbers stay what they are. Otherwise all are counted in milli-units, or micro-units, or nano-units when
    one of them needs that. Where one exceeds MAX_WEIGHT, all are made smaller in proportion, exactly if possible,
    and what had any weight keeps at least 1.
    """
    numbers: list[Fraction] = []
    for quantity in quantities:
        number = parse(quantity)
        if number is None or number < 0:
            return None
        numbers.append(number)
    unit = next(each for each in (1, 1000, 10**6, _NANO) if all(each % number.denominator == 0 for number in numbers))
    return _within_bounds([int(number * unit) for number in numbers])


def _within_bounds(weights: list[int]) -> list[int]:
    if max(weights, default=0) <= MAX_WEIGHT:
        return weights
    divisor = math.gcd(*weights)
    weights = [weight // divisor for weight in weights]
    largest = max(weights)
    if largest <= MAX_WEIGHT:
        return weights
    return [max((2 * weight * MAX_WEIGHT + largest) // (2 * largest), int(weight > 0)) for weight in weights]
