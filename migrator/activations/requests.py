"""What is asked of a run, as values: enough to ask for it again.

`rendering.command_line` prints a request as the command that resumes its job. Holds no secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from migrator.activations.selection import SelectionSpec
from migrator.text.printable import printable_path

_DECIDING = ("on_conflict", "template", "keep_revisions", "mend_ids", "encrypt_to")


class JobRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A call of `migrator.copy`, `backup`, `restore` or `verify`.

    `options` are those of its arguments that aren't at their defaults and that a run which resumes the job needs.
    """

    verb: str  # "copy", "backup", "restore", "verify"
    source: str  # as it was given, without a secret
    target: str
    wanted: SelectionSpec = SelectionSpec()
    options: Mapping[str, Any] = {}
    state: str | None = None  # the folder that keeps the job; None for the platform's

    @property
    def deciding(self) -> dict[str, Any]:
        """The options that change the result: a job is resumed only with the same."""
        return {name: value for name, value in self.options.items() if name in _DECIDING}


def given_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given, as JSON has them: what is None, False or empty wasn't."""
    return {
        name: _plain(value)
        for name, value in options.items()
        if value is not None and value is not False and value not in ((), [], "")
    }


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    if isinstance(value, msgspec.Struct):
        return {name: each for name, each in msgspec.to_builtins(value).items() if each is not None}
    return value if isinstance(value, bool | int | float | Mapping) else printable_path(value)
