"""The variables that OpenWhisk's playbooks give to controller and scheduler.

A folder of an environment (`ansible/environments/local`), an inventory or a file of variables enters; an `Environment`
for the controller, and one for the scheduler where it is deployed, leave. The defaults are those of the playbooks.
What `ansible-playbook -e` sets can't be seen here.

Source: `ansible/group_vars/all`, `templates/db_local.ini.j2`, `roles/controller/tasks/deploy.yml` and
`roles/schedulers/tasks/deploy.yml` of apache/openwhisk.
"""

from __future__ import annotations

import configparser
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import jinja2.sandbox
import msgspec

from migrator.errors import UsageError
from migrator.operations.detect.environment import Environment, environment, parse_yaml, printable_path, read_text

_SPI = "CONFIG_whisk_spi_"
_DB = "CONFIG_whisk_couchdb_"
_ES = "CONFIG_whisk_activationStore_elasticsearch_"
_STORE = "org.apache.openwhisk.core.database."
_CHECKER = "org.apache.openwhisk.core.scheduler.queue.ElasticSearchDurationCheckerProvider"
_INVENTORIES = ("hosts", "hosts.ini", "hosts.j2.ini", "inventory", "inventory.ini")
_GROUP = re.compile(r"\[([^\]:]+)(?::(\w+))?\]")
_KNOWN = re.compile(r"(db|elastic|elasticsearch|mongodb|scheduler|controller|invoker|userLogs|duration_checker)_?")
_jinja = jinja2.sandbox.SandboxedEnvironment(undefined=jinja2.StrictUndefined, autoescape=False)


class _Inventory(msgspec.Struct):
    """What an inventory, its group_vars and `db_local.ini` say."""

    hosts: dict[str, list[str]] = {}  # of each group, as they are reached
    children: dict[str, list[str]] = {}
    variables: dict[str, Any] = {}
    logins: dict[str, dict[str, str]] = {}  # the sections of db_local.ini

    def members(self, group: str, depth: int = 0) -> list[str]:
        """The hosts of a group and of its children, each once."""
        found = list(self.hosts.get(group, ()))
        for child in self.children.get(group, ()) if depth < 10 else ():
            found += self.members(child, depth + 1)
        return list(dict.fromkeys(found))

    def get(self, name: str, default: str = "") -> str:
        """A variable as the playbooks see it. Raises `_Elsewhere` where it is made of what isn't here."""
        value = self.variables.get(name)
        return default if value is None else self._render(name, value, 0)

    def _render(self, name: str, value: Any, depth: int) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        text = str(value)
        if "{{" not in text and "{%" not in text:
            return text
        if depth > 5:
            raise _Elsewhere(name)
        try:
            groups = {group: self.members(group) for group in {*self.hosts, *self.children}}
            return self._render(name, _jinja.from_string(text).render({**self.variables, "groups": groups}), depth + 1)
        except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError):
            raise _Elsewhere(name) from None


class _Elsewhere(Exception):
    """A variable is made of something that isn't in the files; its text is the variable's name."""


def from_ansible(path: Path) -> list[Environment]:
    """What an inventory of OpenWhisk's playbooks comes to. Raises `UsageError`."""
    inventory = _read(path)
    if not any(_KNOWN.match(name) for name in inventory.variables) and not inventory.members("controllers"):
        raise UsageError(
            f"{path}: neither an inventory with a group [controllers] nor variables of OpenWhisk's playbooks "
            "(db_prefix, db_activation_backend, …); give the folder ansible/environments/NAME"
        )
    origin = f"the Ansible inventory {printable_path(path)}"
    found = [_component(inventory, "controller", origin)]
    if _flag(inventory, "scheduler_enable", default=True) and inventory.members("schedulers"):
        found.append(_component(inventory, "scheduler", f"the scheduler of {origin}"))
    return found


def _flag(inventory: _Inventory, name: str, *, default: bool) -> bool:
    try:
        return inventory.get(name, str(default)).lower() in ("true", "yes", "on", "1")
    except _Elsewhere:
        return default


# -- reading ------------------------------------------------------------------------------------------------------


def _read(path: Path) -> _Inventory:
    inventory = _Inventory(hosts={}, children={}, variables={}, logins={})
    if path.is_dir():
        files = [path / name for name in _INVENTORIES if (path / name).is_file()]
        folder = path
    else:
        files, folder = [path], path.parent
    for file in _group_vars(folder / "group_vars"):
        _take_variables(inventory, file, read_text(file))
    for file in files:
        text = read_text(file)
        if _GROUP.search(text) and file.suffix not in (".yml", ".yaml"):
            _take_inventory(inventory, text)
        else:
            _take_variables(inventory, file, text)
    if not files and not inventory.variables:
        raise UsageError(f"{path}: no inventory (hosts) and no group_vars in it")
    for ancestor in (folder, *folder.absolute().parents[:3]):
        if (ancestor / "db_local.ini").is_file():
            inventory.logins = _sections(ancestor / "db_local.ini")
            break
    return inventory


def _group_vars(folder: Path) -> Iterator[Path]:
    for name in ("all", "all.yml", "all.yaml"):
        if (folder / name).is_file():
            yield folder / name
    if (folder / "all").is_dir():
        yield from sorted(each for each in (folder / "all").iterdir() if each.is_file())


def _take_variables(inventory: _Inventory, file: Path, text: str) -> None:
    for document in parse_yaml(file, text):
        if isinstance(document, dict):
            # Settings that are objects follow from these variables, in the playbooks' own file.
            inventory.variables |= {
                str(name): value
                for name, value in document.items()
                if not isinstance(value, dict | list) or str(name).endswith("extraEnv")
            }


def _take_inventory(inventory: _Inventory, text: str) -> None:
    group, kind = "ungrouped", None
    for line in map(str.strip, text.splitlines()):
        if not line or line[0] in "#;" or line.startswith("{%"):
            continue
        if found := _GROUP.fullmatch(line):
            group, kind = found[1], found[2]
            continue
        if kind == "vars":
            name, _, value = line.partition("=")
            inventory.variables[name.strip()] = value.strip().strip("'\"")
        elif kind == "children":
            inventory.children.setdefault(group, []).append(line)
        else:
            inventory.hosts.setdefault(group, []).append(_address(line))


def _address(line: str) -> str:
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        words = line.split()
    pairs = dict(word.partition("=")[::2] for word in words[1:])
    return pairs.get("ansible_host") or pairs.get("ansible_ssh_host") or (words[0] if words else "")


def _sections(file: Path) -> dict[str, dict[str, str]]:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(read_text(file))
    except configparser.Error:
        raise UsageError(f"{file}: not an INI file") from None
    return {name: dict(parser[name]) for name in parser.sections()}


# -- what follows -------------------------------------------------------------------------------------------------


def _component(inventory: _Inventory, component: str, origin: str) -> Environment:
    variables: dict[str, str] = {}
    unresolved: dict[str, str] = {}

    def put(name: str, variable: str, default: str = "") -> None:
        try:
            variables[name] = inventory.get(variable, default)
        except _Elsewhere:
            unresolved[name] = f"the Ansible variable {variable}, which is made of others"

    credentials, own = inventory.logins.get("db_creds", {}), inventory.logins.get(component, {})
    prefix = inventory.variables.get("db_prefix", "")
    databases = inventory.members("db")
    put(f"{_DB}protocol", "db_protocol", credentials.get("db_protocol", "http"))
    put(f"{_DB}host", "db_host", credentials.get("db_host") or (databases[0] if databases else ""))
    put(f"{_DB}port", "db_port", credentials.get("db_port", "5984"))
    put(f"{_DB}provider", "db_provider", credentials.get("db_provider", "CouchDB"))
    put(f"{_DB}username", f"db_{component}_user", own.get("db_username") or f"{prefix}{component}0")
    put(f"{_DB}password", f"db_{component}_pass", own.get("db_password") or f"some_{component}_passw0rd")
    put(f"{_DB}databases_WhiskActivation", "db_prefix")
    if name := variables.get(f"{_DB}databases_WhiskActivation"):
        variables[f"{_DB}databases_WhiskActivation"] = f"{name}activations"
    put(f"{_SPI}LogStoreProvider", "userLogs_spi")
    extra = inventory.variables.get(f"{component}_extraEnv")
    variables |= {str(name): str(value) for name, value in extra.items()} if isinstance(extra, dict) else {}
    undecided = _activations(inventory, component, put, variables)
    found = environment(
        origin,
        {name: value for name, value in variables.items() if value},
        unresolved,
        named=component,
    )
    return msgspec.structs.replace(found, undecided=undecided)


def _activations(inventory: _Inventory, component: str, put: Any, variables: dict[str, str]) -> str:
    """Set what the playbooks set for other stores than CouchDB; why nothing follows, empty where it does."""
    try:
        backend = inventory.get("db_activation_backend", "CouchDB")
        artifacts = inventory.get("db_artifact_backend", "CouchDB")
    except _Elsewhere as name:
        return f"{name} is made of variables that aren't in the inventory"
    if artifacts == "MongoDB":
        variables[f"{_SPI}ArtifactStoreProvider"] = f"{_STORE}mongodb.MongoDBArtifactStoreProvider"
        put("CONFIG_whisk_mongodb_uri", "mongodb_connect_string", "mongodb://172.17.0.1:27017")
        put("CONFIG_whisk_mongodb_database", "mongodb_database", "whisks")
    if component == "scheduler":
        put(f"{_SPI}DurationCheckerProvider", "duration_checker_spi")
    if backend == "ElasticSearch":
        variables[f"{_SPI}ActivationStoreProvider"] = f"{_STORE}elasticsearch.ElasticSearchActivationStoreProvider"
        put(f"{_ES}protocol", "elastic_protocol", "http")
        put(f"{_ES}indexPattern", "elastic_index_pattern", "openwhisk-%s")
        put(f"{_ES}username", "elastic_username", "admin")
        put(f"{_ES}password", "elastic_password", "admin")
        put(f"{_ES}hosts", "elasticsearch_connect_string", _hosts(inventory))
        if component == "scheduler":
            variables[f"{_SPI}DurationCheckerProvider"] = _CHECKER
        return ""
    if "db_activation_backend" not in inventory.variables:
        settings = [name for name in inventory.variables if re.match(r"elastic(search)?_", name)]
        if settings:
            return (
                f"{settings[0]} is set and db_activation_backend isn't: it may have been given on the command line "
                "(ansible-playbook -e db_activation_backend=ElasticSearch), which leaves no trace here"
            )
    return ""


def _hosts(inventory: _Inventory) -> str:
    """As the playbooks join them: the port counts up with the hosts."""
    try:
        port = int(inventory.get("elastic_port", "9200"))
    except (_Elsewhere, ValueError):
        port = 9200
    return ",".join(f"{host}:{port + number}" for number, host in enumerate(inventory.members("elasticsearch")))
