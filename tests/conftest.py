"""For all tests: properties have no deadline for a single example, since a busy machine would break it."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("tulle", deadline=None)
settings.load_profile("tulle")
