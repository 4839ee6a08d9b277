"""The command ``flowkick``: its commands, and how failures are told.

Exit codes: 0 done, 1 failed, 2 misused.
"""

from __future__ import annotations

import io
import sys
from typing import Final, NoReturn

import typer
from sqlalchemy.exc import SQLAlchemyError

from flowkick import __version__
from flowkick.cli import (
    access,
    audit,
    data,
    demo,
    diagnosis,
    exporting,
    importing,
    pruning,
    sealed,
    serving,
    tools,
)
from flowkick.cli.common import database_problem
from flowkick.core.errors import FlowkickError

app: Final = typer.Typer(
    name="flowkick",
    help="Contacts from chat, and a signed webhook for every change of them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(serving.serve)
app.command()(serving.worker)
app.command()(serving.migrate)
app.command()(demo.demo)
app.command()(data.seed)
app.command()(tools.listen)
app.command()(tools.trigger)
app.command()(tools.verify)
app.command()(pruning.prune)
app.command()(diagnosis.doctor)
app.command()(sealed.rekey)
app.add_typer(importing.importing, name="import")
app.add_typer(exporting.exporting, name="export")
app.add_typer(audit.audit, name="audit")
app.add_typer(access.admin, name="admin")
app.add_typer(access.key, name="key")
app.add_typer(access.connection, name="connection")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _main(
    version: bool = typer.Option(  # its callback does the work
        False, "--version", callback=_version, is_eager=True, help="Show the version."
    ),
) -> None:
    pass


def main() -> None:
    """Run the command line; errors that a person can mend are one line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may know no ✓, and no other script
            stream.reconfigure(errors="replace")
    try:
        app()
    except FlowkickError as error:
        _fail(error.sentence)
    except SQLAlchemyError as error:
        _fail(database_problem(error))
    except UnicodeEncodeError:
        _fail("An argument holds bytes that are no text in UTF-8.")
    except OSError as error:
        _fail(str(error))


def _fail(sentence: str) -> NoReturn:
    typer.echo(f"flowkick: {sentence}", err=True)
    sys.exit(1)
