"""An environment while it is read: its variables by name, and what was found wrong with them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from migrator.adapters.questions import Finding, Level
from migrator.operations.detect.environment import Environment

SPI = "CONFIG_whisk_spi_ActivationStoreProvider"
ARTIFACT_SPI = "CONFIG_whisk_spi_ArtifactStoreProvider"
COUCHDB = "CONFIG_whisk_couchdb_"
DATABASE = f"{COUCHDB}databases_WhiskActivation"
ELASTICSEARCH = "CONFIG_whisk_activationStore_elasticsearch_"
FILES = "CONFIG_whisk_activationStore_withFileStorage_"
OTHER = "WHISK_ACTIVATION_STORE"


class Reading(NamedTuple):
    """An environment while it is read, and what was found wrong."""

    environment: Environment
    findings: list[Finding]

    @property
    def variables(self) -> Mapping[str, str]:
        return self.environment.variables

    def get(self, name: str) -> str:
        """The value, empty where there is none; what stands elsewhere is reported."""
        if name in self.environment.unresolved and not self.made_by_chart(name):
            self.find(
                "value-elsewhere",
                "warning",
                f"{name} has its value from {self.environment.unresolved[name]}, which isn't in what was given",
                "give the objects together (kubectl get … -o yaml), or name the store with its login",
            )
        return self.variables.get(name, "").strip()

    def made_by_chart(self, name: str) -> str:
        """The service that a chart makes under this setting, whose name depends on the release; empty where none."""
        service = re.match(r"the service (\S+)", self.environment.unresolved.get(name, ""))
        return service[1] if service else ""

    def is_set(self, name: str) -> bool:
        """Whether it has a value, here or elsewhere; OpenWhisk passes over an empty one."""
        return name in self.environment.unresolved or bool(self.variables.get(name, "").strip())

    def find(self, kind: str, level: Level, text: str, advice: str) -> None:
        found = Finding(kind=kind, level=level, text=text, advice=advice)
        if found not in self.findings:
            self.findings.append(found)
