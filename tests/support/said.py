"""What a run tells, as the sentences that a person reads."""

from __future__ import annotations

from migrator.events import Event, Tell
from migrator.rendering.events import sentence


def into(said: list[str]) -> Tell:
    """Add the sentence of each event to a list; those that aren't shown as text are left out."""

    def hear(event: Event) -> None:
        if event.level != "debug":
            said.append(sentence(event))

    return hear
