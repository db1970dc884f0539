"""The values that modules of the engine and of archives hand on: who may change them, and what they say by default."""

from __future__ import annotations

import gc
import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType

import msgspec
import pytest

import migrator.adapters.archive
import migrator.engine
from migrator.activations import document, forms
from migrator.activations.accounts import Counts
from migrator.activations.selection import Selection
from migrator.adapters.archive import format as archive_format

TALLIES = {"Inventory", "NamespacePurge", "NamespaceResult"}
"""What is filled while something is gone through."""

PARSED = {"_Body", "_ElasticsearchLine", "_Version"}
"""What is decoded and taken apart at once."""

BY_PLACE = {
    "Candidate",
    "Carried",
    "Catalog",
    "Failed",
    "Frame",
    "FrameNote",
    "Gap",
    "Index",
    "Noted",
    "Notes",
    "Origin",
    "Outpaced",
    "Sample",
    "Told",
    "Unproven",
    "WholeFrame",
    "_Chosen",
    "_Damaged",
    "_Header",
    "_Saved",
}
"""What needs no names: its order is that of a file, or it has few fields of different kinds."""

SAID = {
    "ArchiveHead.format": "openwhisk-activation-archive",
    "ArchiveHead.version": 1,
    "CopyOptions.jobs": 4,
    "CopyOptions.max_rejects": 10_000,
    "CopyOptions.most_rounds": 20,
    "CopyOptions.on_conflict": "skip",
    "CopyOptions.slice_documents": 20_000,
    "CopyOptions.small_round": 1_000,
    "Live.phase": "planning",
    "Manifest.format": "openwhisk-activation-archive",
    "Manifest.selection": Selection(),
    "Manifest.version": 1,
    "PartOfCopy.state": "absent",
    "PartOfCopy.totals": Counts(),
    "PurgeOptions.compact": True,
    "PurgeOptions.jobs": 4,
    "Terms.on_conflict": "skip",
    "VerifyOptions.jobs": 4,
    "VerifyOptions.slice_documents": 20_000,
}
"""What somebody who says nothing gets; whatever isn't here is nothing: no number, no text, none of something."""


def modules() -> Iterator[ModuleType]:
    for package in (migrator.engine, migrator.adapters.archive):
        yield package
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            yield importlib.import_module(module.name)


def values() -> Iterator[type[msgspec.Struct]]:
    for module in modules():
        for each in vars(module).values():
            if isinstance(each, type) and issubclass(each, msgspec.Struct) and each.__module__ == module.__name__:
                yield each


def defaults(value: type[msgspec.Struct]) -> Iterator[tuple[str, object]]:
    fields = value.__struct_fields__
    for name, default in zip(reversed(fields), reversed(value.__struct_defaults__), strict=False):
        if default is not msgspec.NODEFAULT:
            yield name, default.factory() if hasattr(default, "factory") else default


def test_a_value_cannot_be_changed_by_those_it_is_handed_to() -> None:
    changeable = {each.__name__ for each in values() if not each.__struct_config__.frozen}
    assert changeable == TALLIES | PARSED


def test_a_value_is_made_by_the_names_of_its_fields() -> None:
    by_place = {each.__name__ for each in values() if each.__match_args__}
    assert by_place == BY_PLACE | PARSED


def test_a_value_says_nothing_that_nobody_said() -> None:
    said = {
        f"{each.__name__}.{name}": default
        for each in values()
        for name, default in defaults(each)
        if default and default is not msgspec.UNSET
    }
    assert said == SAID


def test_what_nobody_said_is_none_where_there_may_be_none() -> None:
    assert [
        f"{each.__name__}.{name}: {default!r}"
        for each in values()
        for name, default in defaults(each)
        if ("None" in str(each.__annotations__.get(name)) and default is not None)
    ] == []


@pytest.mark.parametrize(
    "line",
    [
        document._Named("id"),
        document._NamedHeader("activation", "guest", "hello", 1),
        archive_format._ElasticsearchLine("id", msgspec.Raw(b"{}")),
        archive_format._Body("id"),
        forms._Annotation("key", msgspec.Raw(b"1")),
    ],
    ids=lambda line: type(line).__name__,
)
def test_what_is_made_of_every_document_is_no_work_for_the_garbage_collector(line: msgspec.Struct) -> None:
    assert not gc.is_tracked(line)


def test_what_a_module_says_it_exports_is_there() -> None:
    """Whoever imports all of it would fail, and nobody else would notice."""
    lacking = [
        f"{module.__name__}.{name}"
        for module in modules()
        for name in getattr(module, "__all__", ())
        if name not in vars(module)
    ]
    assert lacking == []
