"""`docs/archive-format.md` is true: a reader written from it agrees with ours, and its recipes do what they say."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import msgspec
import pytest
import zstandard

from migrator.activations.document import Form
from migrator.adapters.archive.manifest import ArchiveHead, Manifest, PartNote
from migrator.demo.servers import Server
from migrator.testing.documents import activation
from tests.support import independent_reader
from tests.support.archives import add_backup
from tests.support.damage import documents_of, flipped, frames_of, pieces, put
from tests.support.profiles import stride
from tests.support.servers import couchdb_url, request

DOCUMENT = (Path(__file__).parents[2] / "docs" / "archive-format.md").read_text()
ID = "20261124T021500Z-3f9a2c"  # of the backup in the document's examples
BLOCKS: list[str] = re.findall(r"^```\w*\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)
TOOLS = ("zstdcat", "jq", "curl", "sha256sum", "split", "sed", "paste")


def recipe(*words: str) -> str:
    """The block of the document that has these words in it."""
    (found,) = [block for block in BLOCKS if all(word in block for word in words)]
    return found


def shell(folder: Path, script: str) -> str:
    for tool in TOOLS:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} isn't installed here")
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(params=Form)
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A chain with a round of catch-up, in frames of some documents."""
    form: Form = request.param
    made = [activation(number, "guest" if number % 3 else "whisk.system", form=form) for number in range(60)]
    again = [activation(number, form=form, logs=["again"]) for number in (1, 61)]
    newer = [activation(number, form=form, logs=["newer"]) for number in (1, 2, 62)]
    with frames_of(3_000):
        full = add_backup(tmp_path, form, [made, again], part_documents=25)
        add_backup(tmp_path, form, [newer], parent=full.backup)
    return tmp_path


def test_a_reader_written_from_the_document_agrees(archive: Path) -> None:
    """The same documents, of every backup; as a program of its own it needs nothing of ours."""
    lines = independent_reader.state(archive)
    assert len(lines) == 62
    assert lines.keys() == documents_of(archive).keys()
    assert all(body in lines[id] for id, body in documents_of(archive).items())
    script = Path(independent_reader.__file__)
    assert "migrator" not in re.sub(r'""".*?"""', "", script.read_text(), flags=re.DOTALL)
    printed = subprocess.run([sys.executable, script, archive], capture_output=True, check=True).stdout
    assert sorted(printed.splitlines()) == sorted(lines.values())


def test_a_reader_written_from_the_document_finds_damage(archive: Path) -> None:
    """What the document says of hashes and checksums is enough for that."""
    for name, data in pieces(archive).items():
        if name.endswith(".zst"):
            for bit in range(0, len(data) * 8, 997 * stride()):
                put(archive, {name: flipped(data, bit)})
                with pytest.raises((ValueError, zstandard.ZstdError)):
                    independent_reader.state(archive)
            put(archive, {name: data})


@pytest.mark.parametrize("type", [ArchiveHead, Manifest, PartNote])
def test_every_field_is_in_the_document(type: type[msgspec.Struct]) -> None:
    for name in type.__struct_fields__:
        assert f"`{name}`" in DOCUMENT or f'"{name}"' in DOCUMENT


def only_backup(folder: Path, form: Form) -> str:
    made = [activation(number, form=form) for number in range(30)]
    return add_backup(folder, form, [made], part_documents=30).backup


def test_the_recipes_for_looking(tmp_path: Path) -> None:
    """Hashes, lines and links with coreutils, zstd and jq."""
    backup = only_backup(tmp_path, Form.COUCHDB)
    assert shell(tmp_path, recipe("sha256sum -c").replace(ID, backup)).count(": OK\n") == 2
    assert len(shell(tmp_path, recipe("zstdcat", "select(").replace(ID, backup)).splitlines()) == 30
    inline = re.search(r"`(jq -r [^`]*)`", DOCUMENT)
    assert inline
    assert shell(tmp_path, inline[1]).split() == [backup, "full"]


def test_the_recipe_for_elasticsearch(tmp_path: Path, elasticsearch_server: Server, index_prefix: str) -> None:
    """Into 6.7.2, which wants a type: counted in the server."""
    made = [
        msgspec.structs.replace(activation(number, form=Form.ELASTICSEARCH), index=f"{index_prefix}guest")
        for number in range(2_500)
    ]
    backup = add_backup(tmp_path, Form.ELASTICSEARCH, [made]).backup
    (tmp_path / "bulk.sed").write_text(recipe("s/^", '"_type":"_doc","_id"'))
    script = recipe("zstdcat", "bulk.sed")
    told = shell(tmp_path, script.replace(ID, backup).replace("http://127.0.0.1:9200", elasticsearch_server.url))
    assert told.split() == ["false"] * 3
    request("POST", f"{elasticsearch_server.url}/{index_prefix}guest/_refresh")
    assert request("GET", f"{elasticsearch_server.url}/{index_prefix}guest/_count")["count"] == 2_500


@pytest.mark.parametrize("with_type", [False, True])
def test_the_recipe_makes_what_bulk_takes(tmp_path: Path, with_type: bool) -> None:
    """An action and the document as it is, of each line."""
    document = activation(1, form=Form.ELASTICSEARCH, logs=['"_source":{"a"}', 1e22])
    add_backup(tmp_path, Form.ELASTICSEARCH, [[msgspec.structs.replace(document, index="openwhisk-guest")]])
    scripts = [block for block in BLOCKS if block.startswith("s/^") and ('"_type":"_doc","_id"' in block) == with_type]
    (tmp_path / "bulk.sed").write_text(scripts[0])
    told = shell(tmp_path, "zstdcat backups/*/part-*.zst | sed -E -f bulk.sed")
    action, body = told.splitlines()
    kind = {"_type": "_doc"} if with_type else {}
    assert json.loads(action) == {"index": {"_index": "openwhisk-guest", **kind, "_id": document.id}}
    assert body.encode() == document.body


def test_the_recipe_for_couchdb(tmp_path: Path, couchdb_database: str) -> None:
    """With the revisions that the documents had."""
    made = [
        msgspec.structs.replace(each, body=each.body.replace(b"{", b'{"_rev":"1-967a00dff5e02add41819138abb3284d",', 1))
        for each in (activation(number) for number in range(1_500))
    ]
    backup = add_backup(tmp_path, Form.COUCHDB, [made]).backup
    script = recipe("_bulk_docs")
    url = couchdb_url(couchdb_database)
    told = shell(tmp_path, script.replace(ID, backup).replace("http://127.0.0.1:5984/whisk_local_activations", url))
    assert told.split() == ["[]", "[]"]
    assert request("GET", url)["doc_count"] == 1_500
    assert uuid.UUID(request("GET", f"{url}/guest%2F{made[7].id.partition('/')[2]}")["activationId"])
