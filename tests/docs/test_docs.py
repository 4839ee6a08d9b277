"""The docs tell of what there is: all of it, and nothing else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from sqlalchemy import create_engine, text
from standardwebhooks import WebhookVerificationError

from flowkick import emitters
from flowkick.app import Process
from flowkick.bookings import states as bookings
from flowkick.cli.main import app
from flowkick.core import errors
from flowkick.core.settings import Settings, load_settings
from flowkick.delivery.signing import new_secret, signed_headers, signing_secret
from flowkick.delivery.states import TRANSITIONS, DeliveryState
from flowkick.history import models as history
from flowkick.storage.base import Base
from flowkick.users.schemas import UserInput
from flowkick.webhooks.catalogue import CATALOGUE, GROUPS, SUBSCRIBABLE
from flowkick.webhooks.schemas import WebhookInput
from tests.support import lacking

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def test_every_setting_is_documented_and_no_other() -> None:
    settings = {f"FLOWKICK_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"^\| `(FLOWKICK_[A-Z_]+)`", page("operating.md"), re.M)) == settings
    for path in PAGES:
        assert set(re.findall(r"FLOWKICK_[A-Z_]+[A-Z]", path.read_text())) <= settings, path.name


def test_the_defaults_of_settings_are_documented() -> None:
    rows = re.findall(r"^\| `FLOWKICK_([A-Z_]+)` \| (.+?) \|", page("operating.md"), re.M)
    for name, shown in rows:
        default = Settings.model_fields[name.lower()].default
        if default is None or default == ():
            assert shown == "none", name
        else:
            expected = str(default).lower() if isinstance(default, bool) else f"{default}"
            assert shown == f"`{expected.removesuffix('.0')}`", name


def _commands(command: Any, prefix: str) -> Iterator[str]:
    for name, inner in command.commands.items():
        if hasattr(inner, "commands"):
            yield from _commands(inner, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}"


def test_every_command_is_documented_and_no_other() -> None:
    commands = set(_commands(typer.main.get_command(app), "flowkick"))
    assert set(re.findall(r"^\| `(flowkick [a-z ]+)`", page("operating.md"), re.M)) == commands


def test_no_page_names_a_command_that_there_is_not() -> None:
    commands = {tuple(command.split()) for command in _commands(typer.main.get_command(app), "")}
    known = {command[:1] for command in commands} | commands
    for path in PAGES:
        named = re.findall(
            r"(?:^ *|`|/|[A-Z] )flowkick ([a-z]+)(?: ([a-z]+))?", path.read_text(), re.MULTILINE
        )
        for words in named:
            first = (words[0],)
            is_group = first not in commands
            assert (words if is_group and words[1] else first) in known, (path.name, words)


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


def test_no_page_names_an_event_that_there_is_not() -> None:
    families = "|".join({name.partition(".")[0] for name in CATALOGUE})
    for path in PAGES:
        named = set(re.findall(rf"[`\"]((?:{families})\.(?:[a-z]+|\*))[`\"]", path.read_text()))
        assert named <= {*CATALOGUE, *GROUPS}, path.name
    assert set(re.findall(r"`([a-z]+\.\*)`", page("events.md"))) == GROUPS
    assert set(CATALOGUE) - SUBSCRIBABLE == {
        "webhook.test",
        "backfill.started",
        "backfill.completed",
    }


def test_every_emitter_is_documented_and_no_other() -> None:
    assert set(re.findall(r"`(emit_[a-z_]+)`", page("events.md"))) == set(emitters.__all__)


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
    (states,) = re.findall(r"^The states are (.+?)\.", page("architecture.md"), re.M)
    assert re.findall(r"`([a-z]+)`", states) == [state.value for state in DeliveryState]


def test_every_transition_of_a_booking_is_documented_and_no_other() -> None:
    transitions = [
        (before.value, after.value, event)
        for before, afters in bookings.TRANSITIONS.items()
        for after, event in afters.items()
    ]
    rows = re.findall(r"^\| `([a-z]+)` \| `([a-z]+)` \| `([a-z.]+)` \|$", page("history.md"), re.M)
    assert rows == transitions


def test_every_table_of_what_users_did_is_documented_and_no_other() -> None:
    tables = {
        mapper.class_.__tablename__
        for mapper in Base.registry.mappers
        if mapper.class_.__module__ == history.__name__
    }
    assert set(re.findall(r"^\| `\"([A-Za-z]+)\"`", page("history.md"), re.M)) == tables


BODY = '{"name":"Zoë"}'.encode()


def _signed(secret: str, body: bytes = BODY, at: datetime | None = None) -> dict[str, str]:
    return signed_headers(
        event="user.created",
        message_id="evt_1",
        payload_timestamp="2025-11-06T10:30:00.000Z",
        attempt=1,
        body=body,
        secrets=[secret],
        at=at or datetime.now(UTC),
    )


def _python(number: int) -> dict[str, Any]:
    """What one of the receivers' Python snippets defines."""
    names: dict[str, Any] = {}
    exec(_snippets("receivers.md", "python")[number], names)  # noqa: S102  # the docs' own lines
    return names


def _snippets(name: str, language: str) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)```", page(name), re.DOTALL | re.MULTILINE)


def test_the_python_receiver_accepts_ours_and_refuses_a_changed_body() -> None:
    verify_webhook = _python(0)["verify_webhook"]
    secret = new_secret()
    signature = _signed(secret)["X-Webhook-Signature"]
    assert verify_webhook(BODY, signature, secret)
    assert not verify_webhook(BODY + b" ", signature, secret)
    assert not verify_webhook(BODY, signature, new_secret())
    assert not verify_webhook(BODY, "ü", secret)


def test_the_python_receiver_of_recent_requests_refuses_what_is_old_or_changed() -> None:
    verify_recent = _python(0)["verify_recent"]
    secret, former = new_secret(), new_secret()
    headers = {name.lower(): value for name, value in _signed(secret).items()}
    both = f"{_signed(former)['webhook-signature']} {headers['webhook-signature']}"
    assert verify_recent(BODY, headers, secret)
    assert verify_recent(BODY, headers | {"webhook-signature": both}, secret)
    assert not verify_recent(BODY + b" ", headers, secret)
    assert not verify_recent(BODY, headers, former)
    assert not verify_recent(BODY, headers | {"webhook-id": "evt_2"}, secret)
    assert not verify_recent(BODY, headers | {"webhook-signature": "ü"}, secret)
    assert not verify_recent(BODY, {}, secret)
    for digits in (400, 5_000):  # too many for a float, and for int()
        assert not verify_recent(BODY, headers | {"webhook-timestamp": "9" * digits}, secret)
    old = _signed(secret, at=datetime.now(UTC) - timedelta(seconds=400))
    assert not verify_recent(BODY, {name.lower(): value for name, value in old.items()}, secret)


def test_the_library_of_standard_webhooks_takes_the_signing_secret() -> None:
    read_webhook = _python(1)["read_webhook"]
    secret = new_secret()
    headers = _signed(secret)
    assert read_webhook(BODY, headers, signing_secret(secret)) == {"name": "Zoë"}
    with pytest.raises(WebhookVerificationError):
        read_webhook(BODY + b" ", headers, signing_secret(secret))


@pytest.mark.parametrize("name", ["receivers.md", "../README.md"])
def test_the_node_receiver_accepts_ours_refuses_others_and_never_throws(name: str) -> None:
    (snippet,) = (one for one in _snippets(name, "javascript") if "verifyWebhook" in one)
    secret = new_secret()
    signature = _signed(secret)["X-Webhook-Signature"]
    tries = [
        [BODY.decode(), signature],
        [BODY.decode() + " ", signature],
        [BODY.decode(), "0" * 64],
        [BODY.decode(), "é" * 64],  # as many characters as a signature has, but more bytes
        [BODY.decode(), None],
    ]
    lines = f"""{snippet}
    const said = {json.dumps(tries)}.map(([body, signature]) =>
      verifyWebhookSignature(Buffer.from(body), signature ?? undefined, {json.dumps(secret)}));
    console.log(JSON.stringify(said));"""
    node = shutil.which("node") or lacking("Node")
    ran = subprocess.run([node, "-e", lines], capture_output=True, text=True, check=False)
    assert ran.stderr == ""
    assert json.loads(ran.stdout) == [True, False, False, False, False]


def test_every_header_of_a_request_is_documented_and_no_other() -> None:
    rows = re.findall(r"^\| `([A-Za-z-]+)` \|", page("receivers.md"), re.MULTILINE)
    assert rows == list(_signed(new_secret()))


def test_the_event_that_is_shown_is_the_example_of_the_catalogue() -> None:
    (shown,) = _snippets("events.md", "json")
    assert json.loads(shown) == CATALOGUE["user.created"].example()


def test_the_fields_of_a_subscription_are_documented_with_their_defaults() -> None:
    rows = re.findall(r"^\| `([a-zA-Z]+)` \| .* \| (.+) \|$", page("api.md"), re.MULTILINE)
    assert [name for name, _ in rows] == [
        field.alias for field in WebhookInput.model_fields.values()
    ]
    shown = {name: default.strip("`") for name, default in rows}
    for field in WebhookInput.model_fields.values():
        alias = str(field.alias)
        if field.is_required():
            assert shown[alias] == "required"
        elif field.default is not None:
            assert json.loads(shown[alias]) == field.default


def test_the_fields_of_a_user_are_documented() -> None:
    fields = page("api.md").partition("## Users")[2].partition("All are optional")[0]
    named = re.findall(r"`([a-zA-Z]+)`", fields.replace("`POST` and `PATCH`", ""))
    assert named == [field.alias for field in UserInput.model_fields.values()]


def test_the_queries_run_and_quote_what_postgresql_would_fold() -> None:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    queries = _snippets("operating.md", "sql")
    assert len(queries) == 2
    with engine.connect() as connection:
        for query in queries:
            connection.execute(text(query))
            unquoted = re.sub(r"\"\w+\"|'[^']*'", "", query)
            assert not re.search(r"[a-z][A-Z]", unquoted), query
    engine.dispose()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_between_pages_lead_somewhere(path: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", path.read_text()):
        linked = path.parent / target if target else path
        assert linked.exists(), target
        titles = re.findall(r"^#+ (.+)$", linked.read_text(), re.M) if anchor else []
        assert not anchor or anchor in {title.lower().replace(" ", "-") for title in titles}


def test_the_make_targets_that_the_readme_names_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    readme = (ROOT / "README.md").read_text()
    named = set(re.findall(r"(?:^ {4}|`)make ([a-z]+)", readme, re.M))
    assert {"demo", "test"} <= named
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.M), target
