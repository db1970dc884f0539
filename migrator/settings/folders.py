"""The folders that a user has by the platform's custom, as far as the user has a home.

In a container a process may run as a user without an entry and without HOME; nothing but what needs such a folder
fails then. Source: platformdirs, which raises `RuntimeError` there, as `Path.expanduser` does.
"""

from __future__ import annotations

from pathlib import Path

import platformdirs

from migrator.errors import UsageError
from migrator.text.arguments import argument


def user_state() -> Path:
    """The folder for state, such as `~/.local/state/migrator`. Raises `UsageError` where there is none."""
    try:
        return platformdirs.user_state_path("migrator")
    except RuntimeError:
        raise UsageError(
            "there is no folder to keep state in: HOME isn't set and the user has no home; "
            f"name one with {argument('state')} or MIGRATOR_STATE"
        ) from None


def user_config() -> tuple[Path, ...]:
    """The folder for configuration, such as `~/.config/migrator`; none where there is no home."""
    try:
        return (platformdirs.user_config_path("migrator"),)
    except RuntimeError:
        return ()


def expand_user(path: str | Path) -> Path:
    """A path with `~` replaced. Raises `UsageError` where that means nothing."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UsageError(f"{path}: there is no home folder for ~; write the full path") from None
