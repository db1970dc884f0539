"""A bucket as the place of an archive: on a real S3 server, and on one that is scripted to fail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from migrator.activations.document import Form
from migrator.adapters.archive import object_store
from migrator.adapters.archive.catalog import read_catalog
from migrator.adapters.archive.object_store import Bucket
from migrator.adapters.archive.places import Place
from migrator.adapters.memory import _stores, memory_store
from migrator.api.backup import backup
from migrator.api.restore import restore
from migrator.errors import AccessDenied, MigratorError, NotFound, Unavailable, UsageError
from migrator.testing.documents import activation
from tests.conformance.places import HEAD, PlaceConformance
from tests.support.archives import add_backup, read_archive
from tests.support.s3 import LOGIN, NOWHERE, S3Server, s3_server
from tests.support.scripted import Request, answer, serve

PART = "backups/20261124T021500Z-3f9a2c/part-000001.ndjson.zst"


class _Conformance(PlaceConformance):
    prefix: str

    @pytest.fixture
    def place(self, s3: S3Server, bucket: str) -> Iterator[Place]:
        self.s3, self.bucket = s3, bucket
        s3.put(bucket, "what/others/keep.txt", b"not ours")
        place = Bucket("/".join(filter(None, (f"s3://{bucket}", self.prefix))))
        yield place
        place.close()
        assert "canary" not in place.printed
        assert s3.uploads(bucket) == []

    def raw(self, name: str) -> bytes | None:
        return self.s3.get(self.bucket, f"{self.prefix}/{name}")


class TestBelowAPrefix(_Conformance):
    prefix = "backups/openwhisk"


class TestBelowAnOddPrefix(_Conformance):
    prefix = "the firm's/Öffentlich +1"


# -- whole backups --------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _no_stores() -> Iterator[None]:
    _stores.clear()
    yield
    _stores.clear()


def test_a_bucket_is_backed_up_into_and_restored_from(s3: S3Server, bucket: str, tmp_path: Path) -> None:
    """In full and incrementally; nothing is left in the bucket but what the manifests list."""
    archive, source = f"s3://{bucket}/openwhisk", memory_store("source")
    for number in range(500):
        document = activation(number)
        source.put(document.id, document.body)
    full = backup("memory:source", archive, state=tmp_path, part_bytes=1 << 16)
    late = activation(1000)
    source.put(late.id, late.body)
    more = backup("memory:source", archive, state=tmp_path)
    assert full.backup
    assert more.backup
    assert (more.backup.mode, more.backup.parent, more.backup.documents) == ("incremental", full.backup.backup, 1)
    restore(archive, "memory:target", state=tmp_path)
    target = memory_store("target")
    assert {id: entry.body for id, entry in target.entries.items()} == {
        id: entry.body for id, entry in source.entries.items()
    }
    listed = {f"openwhisk/{each.folder}{part.name}" for each in (full.backup, more.backup) for part in each.parts}
    others = {"openwhisk/archive.json"}
    for each in (full.backup, more.backup):
        others |= {f"openwhisk/{each.folder}manifest.json", f"openwhisk/{each.folder}SHA256SUMS"}
    assert set(s3.keys(bucket)) == listed | others


def _killed_when(command: list[str], reached: Callable[[], bool], environment: dict[str, str]) -> bool:
    """Start a command, kill it as soon as `reached()` says so; False where it ended by itself before that."""
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        while process.poll() is None:
            if reached():
                process.send_signal(signal.SIGKILL)
                process.wait()
                return True
            time.sleep(0.01)
        assert process.stderr
        assert process.returncode == 0, process.stderr.read().decode()
        return False


@pytest.mark.slow
def test_a_backup_killed_in_the_middle_is_no_backup_and_goes_on(s3: S3Server, bucket: str, tmp_path: Path) -> None:
    """Killed after each of several parts and resumed: what is there at the end is what an unbroken run leaves."""
    documents = [activation(number, logs=[os.urandom(300).hex()]) for number in range(12_000)]
    add_backup(tmp_path / "from", Form.COUCHDB, [documents], part_documents=500)
    archive = f"s3://{bucket}/killed"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "migrator", "backup", f"archive:{tmp_path / 'from'}", archive]
    command += ["--state", str(tmp_path / "state"), "--part-size", "64KiB", "--jobs", "2", "--max-rate", "6000"]

    def reached(wanted: int) -> bool:
        return sum(".zst" in key for key in s3.keys(bucket)) >= wanted

    kills = 0
    for wanted in (1, 3, 5):
        if not _killed_when(command, partial(reached, wanted), environment):
            break
        kills += 1
        catalog = read_catalog(Bucket(archive))
        assert catalog.backups == ()
        assert len(catalog.unfinished) == 1
        with pytest.raises(NotFound, match="no complete backup"):
            restore(archive, "memory:never", state=tmp_path / "restoring")
    assert kills == 3
    subprocess.run([*command, "--quiet"], env=environment, check=True)
    (made,) = read_catalog(Bucket(archive)).backups
    assert made.documents == len(documents)
    folder = f"killed/{made.folder}"
    expected = {"killed/archive.json", f"{folder}manifest.json", f"{folder}SHA256SUMS"}
    assert set(s3.keys(bucket)) == expected | {folder + part.name for part in made.parts}
    restore(archive, "memory:target", state=tmp_path / "restoring")
    restored = {id: entry.body for id, entry in memory_store("target").entries.items()}
    assert restored == {document.id: document.body for document in documents}


@pytest.mark.slow
def test_a_restore_killed_in_the_middle_goes_on(s3: S3Server, bucket: str, tmp_path: Path) -> None:
    """From the bucket into another archive, killed twice: every document is there once."""
    source = memory_store("source")
    for number in range(8_000):
        document = activation(number, logs=[os.urandom(100).hex()])
        source.put(document.id, document.body)
    archive = f"s3://{bucket}"
    backup("memory:source", archive, state=tmp_path / "made", part_bytes=1 << 16)
    folder = tmp_path / "copy"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "migrator", "backup", archive, f"archive:{folder}"]
    command += ["--state", str(tmp_path / "state"), "--part-size", "64KiB", "--jobs", "2", "--max-rate", "4000"]

    def reached(wanted: int) -> bool:
        return len(list(folder.rglob("*.zst"))) >= wanted

    for wanted in (1, 2):
        assert _killed_when(command, partial(reached, wanted), environment)
    subprocess.run([*command, "--quiet"], env=environment, check=True)
    found = read_archive(folder)
    assert len(found) == 8_000
    assert {each.id: each.body for each in found} == {id: entry.body for id, entry in source.entries.items()}


def test_an_upload_that_was_never_completed_is_no_piece(s3: S3Server, bucket: str) -> None:
    """What a killed process leaves of an upload can't be seen: the bucket's lifecycle rules remove it."""
    s3.request("POST", f"/{bucket}/{PART}?uploads")
    assert s3.uploads(bucket) == [PART]
    place = Bucket(f"s3://{bucket}")
    assert list(place.names("")) == []
    assert place.size(PART) is None


@pytest.mark.parametrize("odd", ["x//y", f"{PART.rpartition('/')[0]}//y"])
def test_pieces_are_found_beside_a_key_that_cannot_be_named(s3: S3Server, bucket: str, odd: str) -> None:
    """Each once, of every backup, wherever the key stands that makes listings fail; that is reported too."""
    pieces = [HEAD, PART, PART.replace("000001", "000002"), PART.replace("20261124", "20261125")]
    for key in [*pieces, odd]:
        s3.put(bucket, key, b"1234")
    names = [name for name, _ in Bucket(f"s3://{bucket}").names("")]
    assert sorted(set(names) - {odd}) == sorted(pieces)
    assert len(names) == len(set(names))
    assert odd in names


def test_a_key_that_hides_all_backups_is_refused(s3: S3Server, bucket: str) -> None:
    """It is named, with what to do: an archive that is listed without its backups would seem to be empty."""
    for key in (HEAD, PART, "backups//y"):
        s3.put(bucket, key, b"1234")
    told = "the key backups// can't be addressed by this tool, and hides others from it; remove it from the bucket"
    with pytest.raises(UsageError, match=f"^s3://{bucket}: {told}$"):
        list(Bucket(f"s3://{bucket}").names(""))


# -- what goes wrong ------------------------------------------------------------------------------------------------


def one_line(error: MigratorError) -> str:
    """The message, after a look at what no message has."""
    text = str(error)
    assert len(text.splitlines()) == 1
    assert "canary" not in text
    assert "Debug" not in text
    assert len(text) < 400
    return text


def test_a_missing_bucket_is_not_found(s3: S3Server, bucket: str, tmp_path: Path) -> None:
    """By every way in, before anything is written."""
    missing = f"s3://missing-{bucket}"
    place = Bucket(missing)
    assert not place.exists()
    for call in (
        lambda: place.size(HEAD),
        lambda: place.read(HEAD),
        lambda: place.write(HEAD, b"x"),
        lambda: list(place.names("")),
        lambda: backup("memory:source", missing, state=tmp_path, dry_run=True),
        lambda: backup("memory:source", missing, state=tmp_path),
    ):
        with pytest.raises(NotFound) as caught:
            call()
        assert one_line(caught.value) == f"{missing}: there is no such bucket; create it, or check its name"
    with pytest.raises(NotFound):
        restore(missing, "memory:target", state=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_bucket_that_refuses_is_reported_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A real server that looks at who asks, and doesn't know the key."""
    with s3_server(INITIAL_NO_AUTH_ACTION_COUNT="1") as server:
        server.make_bucket("closed")
        for name, value in {**LOGIN, **NOWHERE, "AWS_ENDPOINT_URL": server.url}.items():
            monkeypatch.setenv(name, value)
        for call in (
            lambda: Bucket("s3://closed/x").size(HEAD),
            lambda: Bucket("s3://closed/x").write(HEAD, b"x"),
            lambda: Bucket("s3://closed/x").read(HEAD),
            lambda: list(Bucket("s3://closed/x").names("")),
            lambda: backup("memory:source", "s3://closed/x", state=tmp_path, retry_for_s=60),
        ):
            with pytest.raises(AccessDenied, match=r"s3://closed/x.*403.*AWS_ACCESS_KEY_ID") as caught:
                call()
            one_line(caught.value)


def test_without_a_login_the_variables_are_named(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last place where a login is looked for is a service that only machines of the cloud have."""
    for name in LOGIN:
        monkeypatch.delenv(name)
    with pytest.raises(AccessDenied) as caught:
        Bucket(f"s3://{bucket}").exists()
    told = "the environment has no login; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    assert one_line(caught.value) == f"s3://{bucket}: {told}"


def test_an_unreachable_store_is_unavailable_at_once(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what to check is said."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    for call in (Bucket(f"s3://{bucket}").exists, lambda: Bucket(f"s3://{bucket}").write(HEAD, b"x")):
        with pytest.raises(Unavailable) as caught:
            call()
        assert one_line(caught.value).endswith("; check the network and AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL")


@pytest.mark.parametrize("scheme", ["gs", "az"])
def test_the_other_clouds_open_by_their_variables(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their servers don't run here: that a request goes where the environment says, and its answer is understood."""
    with serve(lambda _: answer(b"", 403)) as server:
        url = f"http://127.0.0.1:{server.port}"
        monkeypatch.setenv("GOOGLE_BASE_URL", url)
        monkeypatch.setenv("GOOGLE_SKIP_SIGNATURE", "true")
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "Y2FuYXJ5")
        monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", url)
        with pytest.raises(AccessDenied, match=f"{scheme}://bucket/prefix: 403") as caught:
            Bucket(f"{scheme}://bucket/prefix").exists()
        one_line(caught.value)
        assert server.requests
        assert all("bucket" in path for path in server.paths)


def test_without_the_extra_its_name_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(UsageError, match=r"^s3://bucket: buckets need the extra \[s3\]: pip install obstore$"):
        Bucket("s3://bucket")


def test_a_wrong_environment_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(UsageError) as caught:
        Bucket("az://container/prefix")
    said = one_line(caught.value)
    assert said.startswith("az://container/prefix: ")
    assert said.endswith("; check AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY")


@pytest.mark.parametrize(
    "endpoint", ["minio:9000", "minio", "http://", " http://minio", "http://a:99999", "http://[::1"]
)
def test_an_endpoint_that_is_no_url_is_a_usage_error(endpoint: str) -> None:
    """The variable is named; at the first request obstore would panic."""
    for variable in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"):
        with pytest.raises(UsageError) as caught:
            Bucket("s3://bucket", {variable: endpoint})
        told = f"{variable} is not a URL; write http://HOST:PORT or https://HOST:PORT"
        assert one_line(caught.value) == f"s3://bucket: {told}"


class _Failing:
    """A store that answers one request after another by a word: `1` well, `5` with 503, `x` not at all."""

    def __init__(self, word: str) -> None:
        self.left = iter(word)
        self.asked: list[str] = []

    def __call__(self, request: Request) -> bytes:
        self.asked.append(f"{request.method} {','.join(request.query)}".strip())
        match next(self.left):
            case "5":
                return answer(b"<Error><Code>SlowDown</Code><Message>Please reduce.\n</Message></Error>", 503)
            case "x":
                return b""
            case _:
                kind = b"Initiate" if "uploads" in request.query else b"Complete"
                told = b"<%sMultipartUploadResult><UploadId>u</UploadId><ETag>e</ETag></%sMultipartUploadResult>"
                return answer(told % (kind, kind), ETag='"e"')


_WHERE = f"s3://bucket/prefix: {HEAD}"
_LOGIN = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and the permissions of the bucket"
_NAME = "check the name of the bucket, its region and its endpoint"
_NO_BUCKET = "s3://bucket/prefix: there is no such bucket; create it, or check its name"


@pytest.mark.parametrize(
    ("status", "code", "kind", "told"),
    [
        (400, "ExpiredToken", AccessDenied, f"{_WHERE}: 400 ExpiredToken (It was so); {_LOGIN}"),
        (400, "InvalidToken", AccessDenied, f"{_WHERE}: 400 InvalidToken (It was so); {_LOGIN}"),
        (400, "TokenRefreshRequired", AccessDenied, f"{_WHERE}: 400 TokenRefreshRequired (It was so); {_LOGIN}"),
        (401, "Unauthorized", AccessDenied, f"{_WHERE}: 401 Unauthorized (It was so); {_LOGIN}"),
        (403, "AccessDenied", AccessDenied, f"{_WHERE}: 403 AccessDenied (It was so); {_LOGIN}"),
        (404, "NoSuchBucket", NotFound, _NO_BUCKET),
        (404, "ContainerNotFound", NotFound, _NO_BUCKET),
        (404, "NoSuchKey", NotFound, f"{_WHERE} isn't there"),
        (400, "InvalidBucketName", UsageError, f"{_WHERE}: 400 InvalidBucketName (It was so); {_NAME}"),
        (
            400,
            "AuthorizationHeaderMalformed",
            UsageError,
            f"{_WHERE}: 400 AuthorizationHeaderMalformed (It was so); {_NAME}",
        ),
        (400, "Other", Unavailable, f"{_WHERE}: 400 Other (It was so)"),
        (500, "InternalError", Unavailable, f"{_WHERE}: 500 InternalError (It was so)"),
        (503, "SlowDown", Unavailable, f"{_WHERE}: 503 SlowDown (It was so)"),
    ],
)
def test_what_a_store_answers_is_reported_by_what_to_do(
    status: int, code: str, kind: type[MigratorError], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its status and its code; its sentence in one line, without the dot."""
    error = refusal_of(f"<Error><Code>{code}</Code><Message>It was\n so.</Message></Error>", status, monkeypatch)
    assert (type(error), one_line(error)) == (kind, told)


def refusal_of(body: str, status: int, monkeypatch: pytest.MonkeyPatch) -> MigratorError:
    """What is said where a store answers so."""
    for name, value in LOGIN.items():
        monkeypatch.setenv(name, value)
    with serve(lambda _: answer(body.encode(), status)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.port}")
        with pytest.raises(MigratorError) as caught:
            Bucket("s3://bucket/prefix").read(HEAD)
    return caught.value


def test_a_bucket_in_another_region_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library follows the redirection to nowhere, and tells only that."""
    error = refusal_of("<Error><Code>PermanentRedirect</Code></Error>", 301, monkeypatch)
    assert type(error) is UsageError
    assert one_line(error).startswith(f"{_WHERE}: ")
    assert one_line(error).endswith(f"; {_NAME}")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("", "503 Service Unavailable"),
        ("busy", "503 Service Unavailable"),
        ("<Error><Code> SlowDown </Code></Error>", "503 SlowDown"),
        ("<Error><Message>Too  much.</Message></Error>", "503 Service Unavailable (Too much)"),
        (f"<Error><Code>X</Code><Message>{'y' * 300}</Message></Error>", f"503 X ({'y' * 200})"),
    ],
)
def test_an_answer_is_reported_as_far_as_it_says_anything(
    body: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert one_line(refusal_of(body, 503, monkeypatch)) == f"{_WHERE}: {told}"


@pytest.mark.parametrize("fault", ["5", "x"])
def test_a_failure_is_reported_after_one_request(fault: str, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library tries nothing again: that is the policy of the wrappers."""
    script = _Failing(fault * 4)
    with serve(script) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.port}")
        place = Bucket("s3://bucket/prefix")
        calls: list[Callable[[], object]] = [place.exists, lambda: place.read(HEAD), lambda: place.write(HEAD, b"x")]
        for number, call in enumerate(calls, 1):
            with pytest.raises(Unavailable, match="503 SlowDown .Please reduce." if fault == "5" else "network"):
                call()
            assert len(script.asked) == number


def test_an_upload_that_fails_is_given_up_and_can_be_made_again(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk is refused: the store is asked to drop the upload. The same spool is then stored from its beginning."""
    script = _Failing("15111111")  # begin, a chunk that fails, drop; begin, three chunks, the end
    with serve(script) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.port}")
        place = Bucket("s3://bucket")
        spool = place.spool(PART)
        spool.write(os.urandom(11 << 20))
        with pytest.raises(Unavailable, match=f"{PART}: 503 SlowDown"):
            place.store(PART, spool)
        assert script.asked == ["POST uploads", "PUT partNumber,uploadId", "DELETE uploadId"]
        script.asked.clear()
        stored = place.store(PART, spool)
        assert stored.size_bytes == 11 << 20
        assert script.asked == ["POST uploads", *["PUT partNumber,uploadId"] * 3, "POST uploadId"]


def test_a_piece_of_one_chunk_is_sent_in_one_request(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upload in several takes three requests at least."""
    script = _Failing("1")
    monkeypatch.setattr(object_store, "_CHUNK_BYTES", 10)
    with serve(script) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.port}")
        place = Bucket("s3://bucket")
        spool = place.spool(PART)
        spool.write(bytes(10))
        assert place.store(PART, spool).size_bytes == 10
    assert script.asked == ["PUT"]


def test_a_key_that_hides_others_is_named_with_what_to_do() -> None:
    """As `x//y`, which other tools can make and this one can't address."""
    obstore = pytest.importorskip("obstore")
    error = obstore.exceptions.InvalidPathError('Path "x//y" contained empty path segment')
    told = Bucket("s3://bucket", LOGIN)._condition("", error)
    assert isinstance(told, UsageError)
    assert str(told) == (
        "s3://bucket: the key x//y can't be addressed by this tool, and hides others from it; remove it from the bucket"
    )
