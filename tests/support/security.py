"""An Elasticsearch with security and TLS, whose users and API keys have the rights that a test gives them."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from migrator.demo import servers
from migrator.demo.programs import distribution
from migrator.demo.servers import Access, JavaMissing, Server
from tests.support.servers import request

Role = Mapping[str, Any]

NEWEST, OLDER = "8.19.3", "7.17.29"

_DESCRIPTOR = """\
name=email
description=what the index of API keys asks for
version=1
elasticsearch.version={version}
java.version=17
"""
_COMPONENTS = {
    "org.elasticsearch.plugin.analysis.TokenFilterFactory": {
        "pattern_capture": "email.Email$Capture",
        "unique": "email.Email$Unique",
    },
    "org.elasticsearch.plugin.analysis.TokenizerFactory": {"uax_url_email": "email.Email$Words"},
}
_SOURCE = """\
package email;
import org.apache.lucene.analysis.TokenStream;
import org.apache.lucene.analysis.Tokenizer;
import org.apache.lucene.analysis.standard.StandardTokenizer;
import org.elasticsearch.plugin.NamedComponent;
import org.elasticsearch.plugin.analysis.TokenFilterFactory;
import org.elasticsearch.plugin.analysis.TokenizerFactory;
public class Email {
    @NamedComponent("uax_url_email")
    public static class Words implements TokenizerFactory {
        @Override public Tokenizer create() { return new StandardTokenizer(); }
    }
    @NamedComponent("pattern_capture")
    public static class Capture implements TokenFilterFactory {
        @Override public TokenStream create(TokenStream stream) { return stream; }
    }
    @NamedComponent("unique")
    public static class Unique implements TokenFilterFactory {
        @Override public TokenStream create(TokenStream stream) { return stream; }
    }
}
"""


@dataclass(frozen=True)
class Secured:
    """The server, and whether it makes API keys."""

    server: Server
    makes_keys: bool

    @property
    def access(self) -> Access:
        """The administrator's."""
        assert self.server.access
        return self.server.access

    @property
    def password(self) -> str:
        """Of every user."""
        return self.access.password

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        return request(method, f"{self.server.url}{path}", body, access=self.access)

    def key(self, role: Role) -> str:
        """An API key with these rights and no others."""
        made = self.ask("POST", "/_security/api_key", {"name": "test", "role_descriptors": {"all": role}})
        return base64.b64encode(f"{made['id']}:{made['api_key']}".encode()).decode()


@contextmanager
def secured_search(folder: Path, roles: Mapping[str, Role], monkeypatch: pytest.MonkeyPatch) -> Iterator[Secured]:
    """A server with one user a role, both of the same name; of 7.17 where no Java here runs 8.19."""
    jdk = servers.find_jdk(17)
    version, makes_keys = (NEWEST, (jdk / "bin/javac").is_file()) if jdk else (OLDER, False)
    if makes_keys:
        assert jdk
        monkeypatch.setenv("MIGRATOR_SERVERS", str(_with_keys(folder / "programs", version, jdk)))
    data = folder / "server"
    data.mkdir()
    try:
        server = servers.elasticsearch(version, folder=data, tls=True)
    except JavaMissing as missing:
        pytest.skip(str(missing))
    config = server.folder / "config"
    users = (config / "users").read_text()
    password = users.partition(":")[2].partition("\n")[0]
    (config / "users").write_text(users + "".join(f"{name}:{password}\n" for name in roles))
    with (config / "users_roles").open("a") as lines:
        lines.writelines(f"{name}:{name}\n" for name in roles)
    # JSON is YAML as well.
    (config / "roles.yml").write_text("".join(f"{name}: {json.dumps(role)}\n" for name, role in roles.items()))
    with server:
        yield Secured(server, makes_keys)


def _with_keys(cache: Path, version: str, jdk: Path) -> Path:
    """A folder of programs in which the server has the parts of the analysis that its build lacks.

    Without them it can't make the index of API keys, whose mapping names them; their results don't matter for that.
    """
    home = cache / f"elasticsearch-{version}"
    shutil.copytree(distribution("elasticsearch", version), home)
    source, classes, plugin = cache / "Email.java", cache / "classes", home / "plugins/email"
    source.write_text(_SOURCE)
    classes.mkdir()
    plugin.mkdir(parents=True)
    compiled = ["-cp", f"{home}/lib/*", "-d", str(classes), str(source)]
    subprocess.run([str(jdk / "bin/javac"), *compiled], check=True, capture_output=True)
    subprocess.run([str(jdk / "bin/jar"), "cf", str(plugin / "email.jar"), "-C", str(classes), "."], check=True)
    (plugin / "stable-plugin-descriptor.properties").write_text(_DESCRIPTOR.format(version=version))
    (plugin / "named_components.json").write_text(json.dumps(_COMPONENTS))
    for path in (cache, *cache.rglob("*")):
        path.chmod(path.stat().st_mode | 0o444 | (0o111 if path.is_dir() else 0))
    return cache
