"""The arguments that messages and requests name, as the options of the command line.

Imported by every command, so nothing heavy is imported here.
"""

from __future__ import annotations

import re

OPTIONS = {
    **{
        name: f"--{name.replace('_', '-')}"
        for name in (
            "again",
            "all_parts",
            "allow_extra",
            "ansible",
            "at",
            "backup",
            "compose",
            "discard",
            "create",
            "disk_free",
            "docker_inspect",
            "dry_run",
            "encrypt_to",
            "env_file",
            "executor",
            "exact",
            "file_mode",
            "follow",
            "helm_values",
            "identity",
            "ids",
            "jobs",
            "keep",
            "keep_revisions",
            "kubernetes",
            "level",
            "limit",
            "listen",
            "max_rate",
            "max_rejects",
            "mend_ids",
            "mode",
            "on_conflict",
            "older_than",
            "only_if_in",
            "output",
            "part",
            "pause",
            "pid",
            "quick",
            "rejected",
            "repair",
            "restart",
            "resume",
            "rollback",
            "sample",
            "shards",
            "since",
            "state",
            "textfile",
            "until",
            "until_lag",
            "verify",
            "whole_indices",
        )
    },
    "names": "--name",
    "namespaces": "--namespace",
    "part_bytes": "--part-size",
    "retry_for_s": "--retry-for",
    "template": "--index-template",
    "until_idle_s": "--until-idle",
}
"""The option of each argument that a message or a request may name."""

_BACKTICKED = re.compile(r"`([^`\n]*)`")
_ARGUMENT = re.compile(r"([a-z_]+)(?:=(.*))?", re.DOTALL)


def in_options(text: str) -> str:
    """A message with options in the place of the arguments that it names (`text.arguments`)."""
    return _BACKTICKED.sub(_translate, text) if "`" in text else text


def _translate(found: re.Match[str]) -> str:
    words = found[1].split(" ")
    if "migrator" in words:  # a command: arguments among its words
        return f"`{' '.join(_option(word) or word if '=' in word else word for word in words)}`"
    return _option(found[1]) or found[0]


def _option(text: str) -> str | None:
    """An argument as its option; None where it isn't one."""
    found = _ARGUMENT.fullmatch(text)
    if found is None or found[1] not in OPTIONS:
        return None
    name, value = OPTIONS[found[1]], found[2]
    return name if value in (None, "True") else f"{name} {value}"


def error_text(error: BaseException) -> str:
    """An error's message as the command line tells it."""
    return in_options(str(error))
