"""Options about what is copied and how, which only commands that copy have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import click
from typing_extensions import override

from migrator.commands.completing import choices
from migrator.commands.options import pack, with_options
from migrator.errors import UsageError
from migrator.text.units import parse_duration

if TYPE_CHECKING:
    from migrator.adapters.elasticsearch import TemplateOptions
    from migrator.adapters.elasticsearch.template import MappingName

F = TypeVar("F", bound=Callable[..., Any])


conflict_option = click.option(
    "--on-conflict",
    default="skip",
    show_default=True,
    metavar="skip|overwrite|fail",
    shell_complete=choices("skip", "overwrite", "fail"),
    help="If the target has another version of a document: keep it and list it, replace it, or stop.",
)


keep_revisions_option = click.option(
    "--keep-revisions",
    is_flag=True,
    help="CouchDB to CouchDB: keep the _rev of each document; other revisions in the target stay.",
)


mend_ids_option = click.option(
    "--mend-ids",
    is_flag=True,
    help="Treat documents under an id that OpenWhisk doesn't look up as if they had NAMESPACE/ACTIVATION_ID.",
)


create_option = click.option("--create", is_flag=True, help="Create a CouchDB database as the target if it is missing.")


ids_option = click.option(
    "--ids",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Only these documents: a file written by `migrator verify --output`, or one id per line.",
)


part_option = click.option(
    "--part",
    metavar="I/N",
    help="Copy only part I of N; run all N parts, at any time and on any machine, to copy everything.",
)


# -- index templates --------------------------------------------------------------------------------------------

_TEMPLATES = ("lean", "searchable")


class TemplateCommand(click.Command):
    """A command whose `--index-template` may stand without a value, as it did before it took one.

    Click would take the argument behind it for the value.
    """

    @override
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given = [*args, ""]
        end = given.index("--") if "--" in given else len(args)
        return super().parse_args(
            ctx,
            [
                f"{word}={_TEMPLATES[0]}"
                if word == "--index-template" and at < end and given[at + 1] not in _TEMPLATES
                else word
                for at, word in enumerate(args)
            ],
        )


def _template(
    *, index_template: MappingName | None, shards: int | None, replicas: int | None, field_limit: int | None
) -> TemplateOptions | None:
    """The template that was requested. Raises `UsageError` where only what belongs to it was given."""
    if index_template:
        from migrator.adapters.elasticsearch import TemplateOptions

        return TemplateOptions(mapping=index_template, shards=shards, replicas=replicas, field_limit=field_limit)
    if shards is not None or replicas is not None or field_limit is not None:
        raise UsageError("--shards, --replicas and --field-limit need --index-template")
    return None


def template_options(command: F) -> F:
    """`--index-template` and what belongs to it, as one argument `template`; None where none was requested."""
    return with_options(
        pack(command, "template", _template, "index_template", "shards", "replicas", "field_limit"),
        click.option(
            "--index-template",
            type=click.Choice(_TEMPLATES),
            help="Install an index template in the target first: lean (names only, and exactly; the default of this "
            "option) or searchable (logs and results too). By default none is installed, as with OpenWhisk.",
        ),
        click.option("--shards", type=int, help="With --index-template: primary shards of each new index."),
        click.option("--replicas", type=int, help="With --index-template: replicas of each new index."),
        click.option(
            "--field-limit", type=int, help="With --index-template: maximum number of fields of each new index."
        ),
    )


# -- following ---------------------------------------------------------------------------------------------------


class Following(TypedDict):
    """The keywords of `copy` about following, as the options give them."""

    follow: bool
    until_idle_s: float | None
    until_lag: int | None


def follow_options(command: F) -> F:
    """`--follow` and when it ends, as one argument `following`."""
    return with_options(
        pack(command, "following", _following, "follow", "until_idle", "until_lag"),
        click.option("--follow", is_flag=True, help="Stay after the copy, and copy what is new."),
        click.option(
            "--until-idle",
            callback=_seconds,
            metavar="DURATION",
            help="With --follow: end when nothing new came for this long, such as 60s.",
        ),
        click.option(
            "--until-lag",
            type=int,
            metavar="N",
            help="With --follow: end when at most N documents of the source aren't in the target yet.",
        ),
    )


def _seconds(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    found = parse_duration(value)
    if found is None:
        raise UsageError(f"--until-idle {value}: give a duration such as 60s")
    return float(found)


def _following(*, follow: bool, until_idle: float | None, until_lag: int | None) -> Following:
    return {"follow": follow, "until_idle_s": until_idle, "until_lag": until_lag}
