"""What a look at a deployment comes to: values that are printed as text or as JSON, and hold no secret."""

from __future__ import annotations

from typing import Literal

import msgspec

from migrator.adapters.questions import Finding, Probe

State = Literal["answers", "unavailable", "incomplete", "refused", "missing", "damaged"]
"""What came of examining a store; `incomplete`: it answers, but not for all it holds."""


class Examined(Probe, frozen=True, kw_only=True):
    """A store that was examined, and what it said."""

    kind: str  # "couchdb", "elasticsearch", "archive", "file", "memory"
    location: str
    identity: str
    typed: str  # what an operator types to name this store
    origins: tuple[str, ...]  # who named it
    login: str  # its kind, and as whom
    state: State = "answers"
    error: str = ""
    exit_code: int = 0

    @property
    def answers(self) -> bool:
        return self.state == "answers"

    @property
    def is_empty(self) -> bool:
        return self.answers and not self.activations


class Backend(msgspec.Struct, frozen=True, kw_only=True):
    """Where one environment sends activations."""

    # "couchdb", "elasticsearch", "mongodb", "cosmosdb", "process-memory", "noop"; None where it isn't known
    kind: str | None
    said_by: str  # which variable of which environment, as a clause; where the kind isn't known, why
    identity: str | None = None  # of the store, None where the environment doesn't say enough
    origin: str = ""  # the environment
    where: str = ""  # a store that isn't examined, in brackets
    files: str = ""  # the folder of files that every activation is written to as well


class Detection(msgspec.Struct, frozen=True, kw_only=True):
    """The whole answer."""

    backends: tuple[Backend, ...]
    probes: tuple[Examined, ...]
    conclusions: tuple[str, ...]
    findings: tuple[Finding, ...]
    commands: tuple[str, ...]  # that bring the activations together

    @property
    def looked_into(self) -> bool:
        """Whether the stores that activations are written to were examined, or any where these aren't known."""
        answering = [probe for probe in self.probes if probe.answers]
        known = [backend for backend in self.backends if backend.kind is not None]
        if not known:
            return bool(answering)
        live = [probe for probe in answering if probe.kind not in ("archive", "file")]
        return all(
            any(probe.identity == each.identity or (not each.identity and probe.kind == each.kind) for probe in live)
            for each in known
        )

    @property
    def exit_code(self) -> int:
        """0, or the highest of the stores that couldn't be examined; 10 where nothing that counts was."""
        return max((probe.exit_code for probe in self.probes), default=0) or (0 if self.looked_into else 10)
