"""What a look at a deployment comes to: values that are printed as text or as JSON, and hold no secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

Level = Literal["problem", "warning", "note"]
State = Literal["answers", "unavailable", "incomplete", "refused", "missing", "damaged"]
"""What came of examining a store; `incomplete`: it answers, but not for all it holds."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something worth knowing, and what to do about it. `kind` is for programs."""

    kind: str
    level: Level
    text: str
    advice: str
    commands: tuple[str, ...] = ()


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A database, an index or a backup."""

    name: str
    documents: int
    size_bytes: int | None = None
    shards: int | None = None  # primaries
    replicas: int | None = None  # that there should be of each


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """What one store said.

    Where `is_exact` is False, the times are those of the `sampled` documents, and of `activations` it is taken that
    the others are like them.
    """

    kind: str  # "couchdb", "elasticsearch", "archive", "file", "memory"
    location: str
    identity: str
    typed: str  # what an operator types to name this store
    origins: tuple[str, ...]  # who named it
    login: str  # its kind, and as whom
    state: State = "answers"
    error: str = ""
    exit_code: int = 0
    product: str = ""
    version: str = ""
    places: tuple[Place, ...] = ()
    activations: int = 0
    is_exact: bool = True
    sampled: int = 0
    first_ms: int | None = None
    last_ms: int | None = None
    namespaces: Mapping[str, int | None] = {}  # with how many activations, where that is known
    namespaces_complete: bool = True
    design_documents: tuple[str, ...] = ()
    others: int = 0  # documents that are neither activations nor design documents, among those looked at
    unreadable: int = 0  # that should be activations and can't be understood, among those looked at
    newest_backup_ms: int | None = None  # archive: when it was complete
    findings: tuple[Finding, ...] = ()

    @property
    def answers(self) -> bool:
        return self.state == "answers"

    @property
    def is_empty(self) -> bool:
        return self.answers and not self.activations


class Backend(msgspec.Struct, frozen=True, kw_only=True):
    """Where one environment sends activations."""

    kind: str | None  # "couchdb", "elasticsearch", None where it is neither
    said_by: str  # which variable of which environment, as a clause: "as NAME in the env file x says"
    identity: str | None  # of the store, None where the environment doesn't say enough


class Detection(msgspec.Struct, frozen=True, kw_only=True):
    """The whole answer."""

    backends: tuple[Backend, ...]
    probes: tuple[Probe, ...]
    conclusions: tuple[str, ...]
    findings: tuple[Finding, ...]
    commands: tuple[str, ...]  # that bring the activations together

    @property
    def exit_code(self) -> int:
        """0, or the highest of the stores that couldn't be examined."""
        return max((probe.exit_code for probe in self.probes), default=0)
