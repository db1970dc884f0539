"""Which run of a schedule comes next, and whether one was missed.

The moments of a schedule, the last one that was handled, and the clock enter; the next run leaves. Everything that
starts runs asks here under the schedule's lock, so that no moment is lost and none is handled twice, whoever woke up,
how often, and what the clock did meanwhile.
"""

from __future__ import annotations

import msgspec

from migrator.scheduling.triggers import Trigger


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """The next run."""

    moment_s: float  # the moment that it handles, and with it all missed ones before
    begins_s: float  # when it begins: now, where it is due
    missed: int = 0  # how many moments before it were missed as well, counted up to a hundred
    given_up_s: float | None = None  # a missed moment that is too old to be caught up


def correct_handled(trigger: Trigger, handled_until_s: float, now_s: float) -> float:
    """What was handled, if the clock was ahead by more than a whole period when that was noted.

    Waiting until the clock is there again could take years. Keep what is returned: it is no longer true an hour later.
    """
    return trigger.last(now_s) if handled_until_s > trigger.next(now_s) else handled_until_s


def plan(trigger: Trigger, handled_until_s: float, now_s: float, *, grace_s: float | None = None) -> Due:
    """The next run after the moment that was handled last.

    Of missed moments only the newest is caught up, once, and not when it is older than `grace_s`.
    """
    next_s, handled_until_s = trigger.next(now_s), correct_handled(trigger, handled_until_s, now_s)
    newest_s = trigger.last(now_s)
    is_missed = newest_s > handled_until_s
    if is_missed and (grace_s is None or now_s - trigger.begins(newest_s) <= grace_s):
        missed, at_s = 0, trigger.next_after(handled_until_s)
        while at_s < newest_s and missed < 100:
            missed, at_s = missed + 1, trigger.next_after(at_s)
        return Due(moment_s=newest_s, begins_s=now_s, missed=missed)
    if handled_until_s >= next_s:
        next_s = trigger.next_after(handled_until_s)
    return Due(moment_s=next_s, begins_s=trigger.begins(next_s), given_up_s=newest_s if is_missed else None)


def is_full_due(trigger: Trigger, moment_s: float, last_full_s: float | None, full_every_s: float) -> bool:
    """Whether the run of a moment is nearer than the one after it to the time at which a full backup is due.

    Comparing ages alone would let a weekly full backup that began a second later than the week before slip by a day.
    """
    if last_full_s is None:
        return True
    middle_s = (moment_s + trigger.next_after(moment_s)) / 2
    return middle_s - last_full_s >= full_every_s
