"""How far a target was behind the source that a job follows: at the last look, and minute by minute for a day.

Knows nothing of slices.
"""

from __future__ import annotations

from migrator.engine.state.ledger import Ledger
from migrator.events.watching import Lag
from migrator.text.decoding import convert

LAGS = """CREATE TABLE IF NOT EXISTS lags (
    minute INTEGER PRIMARY KEY, documents INTEGER NOT NULL, seconds REAL NOT NULL
)"""
_KEPT_MINUTES = 24 * 60


class Lags(Ledger):
    """Of a state file with the table `lags`."""

    @property
    def lag(self) -> Lag | None:
        """How far the target was behind the source at the last look; None where nothing was followed."""
        found = self._get("lag")
        return convert(found, Lag) if found else None

    @property
    def lags(self) -> list[tuple[int, int | None, float]]:
        """The largest lag of each minute of the last day that was followed: the minute, documents, seconds.

        Documents are None where the lag of some look in it isn't known.
        """
        rows = self._rows("SELECT minute, documents, seconds FROM lags ORDER BY minute")
        return [(minute, None if documents < 0 else documents, seconds) for minute, documents, seconds in rows]

    def note_lag(self, lag: Lag) -> None:
        """Keep how far the target is behind the source."""
        minute = int(lag.looked_s // 60)
        documents = -1 if lag.documents is None else lag.documents
        with self._transaction():
            self._set("lag", lag)
            self._db.execute(
                """INSERT INTO lags VALUES (?, ?, ?) ON CONFLICT (minute) DO UPDATE SET
                documents = CASE WHEN min(documents, excluded.documents) < 0 THEN -1
                            ELSE max(documents, excluded.documents) END,
                seconds = max(seconds, excluded.seconds)""",
                (minute, documents, lag.behind_s),
            )
            self._db.execute("DELETE FROM lags WHERE minute < ?", (minute - _KEPT_MINUTES,))
