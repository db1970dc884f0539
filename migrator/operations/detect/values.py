"""What a look at a deployment comes to: values that are printed as text or as JSON, and hold no secret."""

from __future__ import annotations

import msgspec

from migrator.adapters.questions import Finding, Probe


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
