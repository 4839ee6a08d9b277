"""The docs tell of what there is: all of it, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer

from flowkick.app import Process
from flowkick.cli.main import app
from flowkick.core import errors
from flowkick.core.settings import Settings, load_settings
from flowkick.delivery.signing import new_secret, signed_headers
from flowkick.delivery.states import TRANSITIONS
from flowkick.webhooks.catalogue import CATALOGUE

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def test_every_setting_is_documented_and_no_other() -> None:
    settings = {f"FLOWKICK_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"^\| `(FLOWKICK_[A-Z_]+)`", page("operating.md"), re.M)) == settings
    for path in PAGES:
        assert set(re.findall(r"FLOWKICK_[A-Z_]+[A-Z]", path.read_text())) <= settings, path.name


def _commands(command: Any, prefix: str) -> Iterator[str]:
    for name, inner in command.commands.items():
        if hasattr(inner, "commands"):
            yield from _commands(inner, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}"


def test_every_command_is_documented_and_no_other() -> None:
    commands = set(_commands(typer.main.get_command(app), "flowkick"))
    assert set(re.findall(r"^\| `(flowkick [a-z ]+)`", page("operating.md"), re.M)) == commands


def _helps(command: Any) -> Iterator[tuple[str, str]]:
    for name, inner in command.commands.items():
        if hasattr(inner, "commands"):
            yield from _helps(inner)
        else:
            yield name, inner.help


def test_the_help_of_every_command_has_an_example() -> None:
    without = [n for n, text in _helps(typer.main.get_command(app)) if "Example: " not in text]
    assert without == []


def test_every_event_is_documented_and_no_other() -> None:
    documented = re.findall(r"^\| `([a-z]+\.[a-z]+)`", page("events.md"), re.M)
    assert documented == list(CATALOGUE)


def _errors(kind: type[errors.FlowkickError]) -> Iterator[type[errors.FlowkickError]]:
    for inner in kind.__subclasses__():
        yield inner
        yield from _errors(inner)


def test_every_error_code_is_documented_and_no_other() -> None:
    codes = {
        (str(error.status), error.code)
        for error in _errors(errors.FlowkickError)
        if error.__module__ == errors.__name__
    }
    assert set(re.findall(r"^\| (\d{3}) \| `([a-z_]+)`", page("api.md"), re.M)) == codes


def test_every_route_is_documented_and_no_other(tmp_path: Path) -> None:
    settings = load_settings(
        _env_file=None, database_url=f"sqlite:///{tmp_path}/x.db", secret_key="x" * 32
    )
    paths = Process(settings).application().openapi()["paths"]
    routes = {f"{method.upper()} {path}" for path, item in paths.items() for method in item}
    assert set(re.findall(r"^\| `([A-Z]+ /[^`]*)`", page("api.md"), re.M)) == routes


def test_every_transition_is_documented_and_no_other() -> None:
    transitions = {
        (before.value, after.value, why)
        for before, afters in TRANSITIONS.items()
        for after, why in afters.items()
    }
    rows = re.findall(r"^\| `([a-z]+)` \| `([a-z]+)` \| (.+) \|$", page("architecture.md"), re.M)
    assert set(rows) == transitions


def test_the_python_receiver_accepts_ours_and_refuses_a_changed_body() -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", page("receivers.md"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(snippet, names)  # noqa: S102  # the docs' own lines
    secret, body = new_secret(), '{"name":"Zoë"}'.encode()
    headers = signed_headers(
        event="user.created",
        message_id="evt_1",
        payload_timestamp="2025-11-06T10:30:00.000Z",
        attempt=1,
        body=body,
        secrets=[secret],
        at=datetime.now(UTC),
    )
    signature = headers["X-Webhook-Signature"]
    assert names["verify_webhook"](body, signature, secret)
    assert not names["verify_webhook"](body + b" ", signature, secret)
    assert not names["verify_webhook"](body, "ü", secret)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_between_pages_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_the_make_targets_that_the_readme_names_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    readme = (ROOT / "README.md").read_text()
    named = set(re.findall(r"(?:^ {4}|`)make ([a-z]+)", readme, re.M))
    assert {"demo", "test"} <= named
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.M), target
