"""Where a number and its noun disagree: "1 documents", "1 parts"."""

from __future__ import annotations

import re

_NOUNS = """
    activations backups bytes chains changes chunks conflicts copies days deletions documents entries errors fields
    files findings frames hits hours ids indices items jobs keys lines minutes months namespaces nodes pages parts
    places positions problems reasons records replicas requests retries revisions rounds rows schedules searches seconds
    servers shards slices stores times tombstones tries versions warnings weeks workers years
"""
_VERBS = "others ones looks reads runs answers are were have do aren't weren't haven't differ"

NOUNS = "|".join(_NOUNS.split())
PLURALS = "|".join([*_NOUNS.split(), *_VERBS.split()])

ONE_OF_MANY = re.compile(rf"(?<![\d.,:/])\b1 (?:[a-z]+ )?(?:{PLURALS})\b(?!')")
"""Text in which one of something is called many."""
