"""How many cases a test tries: with the profile `ci` as many as it asks for, with `dev` a fifth of them.

HYPOTHESIS_PROFILE chooses; without it, it is `ci`. `make check` takes `dev`.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_USUAL = 100
_SHARES = {"ci": 1.0, "dev": 0.2}


def load_profile() -> None:
    """Must run before a module with properties is imported."""
    for name, share in _SHARES.items():
        # No deadline: a busy machine is no failure.
        untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
        settings.register_profile(name, untimed, max_examples=round(_USUAL * share), print_blob=True)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def stride() -> int:
    """How far apart a test takes its cases that has a loop over all of them: every bit, every instant, every seed."""
    return round(_USUAL / settings().max_examples)


def examples(number: int) -> settings:
    """The settings of a property that is worth another number of examples than the usual hundred."""
    usual = settings().max_examples
    return settings(max_examples=max(5, number * usual // _USUAL))
