"""A client that a well-known generator makes of the OpenAPI document, and calls through it."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

from openapi_python_client import generate
from openapi_python_client.config import Config, ConfigFile, MetaType

PACKAGE = "generated_flowkick_client"
Document = dict[str, Any]


def generate_client(document: Document, folder: Path) -> list[str]:
    """Write the package into `folder`, where it can be imported from; what was complained of."""
    source = folder / "openapi.json"
    source.write_text(json.dumps(document))
    given = ConfigFile(
        post_hooks=[],  # they format what nobody reads
        # The generator knows no media types but JSON and text: what else there is are bytes.
        content_type_overrides=dict.fromkeys(_others(document), "application/octet-stream"),
    )
    config = Config.from_sources(
        config_file=given,
        meta_type=MetaType.NONE,
        document_source=source,
        file_encoding="utf-8",
        overwrite=True,
        output_path=folder / PACKAGE,
    )
    return [f"{error.header}: {error.detail}" for error in generate(config=config)]


def operations(document: Document) -> dict[str, list[str]]:
    """The ids of all operations, each with the media types of its answers."""
    found: dict[str, list[str]] = {}
    for item in document["paths"].values():
        for operation in item.values():
            types = [
                media_type
                for status, answer in operation["responses"].items()
                if status.startswith("2")
                for media_type in answer.get("content", {})
            ]
            found[operation["operationId"]] = types
    return found


def _others(document: Document) -> set[str]:
    types = {name for answered in operations(document).values() for name in answered}
    return {name for name in types if "json" not in name and not name.startswith("text/")}


class Calls:
    """The functions of the generated client, by the ids of their operations."""

    def __init__(self, folder: Path, document: Document) -> None:
        sys.path.insert(0, str(folder))
        try:
            api = importlib.import_module(f"{PACKAGE}.api")
            modules = [
                importlib.import_module(info.name)
                for info in pkgutil.walk_packages(api.__path__, f"{api.__name__}.")
                if not info.ispkg
            ]
            self.client_module = importlib.import_module(f"{PACKAGE}.client")
        finally:
            sys.path.remove(str(folder))
        self.operations = operations(document)
        self._modules = {module.__name__.rpartition(".")[2]: module for module in modules}

    def of(self, operation: str) -> Callable[..., Any]:
        """The function that calls an operation and gives the whole response."""
        plain = operation.lower()
        module: ModuleType = next(
            module for name, module in self._modules.items() if name.replace("_", "") == plain
        )
        call: Callable[..., Any] = module.asyncio_detailed
        return call


@dataclass
class Caller:
    """Calls operations of a running server, and remembers which."""

    calls: Calls
    url: str
    key: str
    called: set[str] = field(default_factory=set)

    async def __call__(self, operation: str, status: int = 200, **given: Any) -> Any:
        """Call an operation with its parameters, and a `body` as JSON; what the JSON answer says.

        The answer has to be one that the client has a model for, and the model to hold all of it.
        """
        call = self.calls.of(operation)
        given = {name: _modelled(call, name, value) for name, value in given.items()}
        module = self.calls.client_module
        async with module.AuthenticatedClient(base_url=self.url, token=self.key) as client:
            response = await call(client=client, **given)
        assert response.status_code == status, (operation, response.content[:500])
        self.called.add(operation)
        if response.headers["content-type"].partition(";")[0] != "application/json":
            return response.content
        answer = json.loads(response.content)
        assert response.parsed is not None, f"{operation}: {status} is not in the document"
        assert not _differences(response.parsed.to_dict(), answer), operation
        return answer


def _modelled(call: Callable[..., Any], name: str, value: Any) -> Any:
    """`value` as the model or the choice that the function takes, where it takes one."""
    annotation = inspect.signature(call, eval_str=True).parameters[name].annotation
    for kind in get_args(annotation) or (annotation,):
        if hasattr(kind, "from_dict") and isinstance(value, Mapping):
            return kind.from_dict(value)
        if inspect.isclass(kind) and issubclass(kind, Enum):
            return kind(value)
    return value


def _differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Where two JSON documents differ; a moment may be written in other ways."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = one.keys() | other.keys()
        pairs = [(one.get(key, ...), other.get(key, ...), f"{path}.{key}") for key in keys]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = [(*both, f"{path}[]") for both in zip(one, other, strict=True)]
    else:
        same = one == other or (_moment(one) is not None and _moment(one) == _moment(other))
        return [] if same else [f"{path}: {one!r}, {other!r}"]
    return [found for pair in pairs for found in _differences(*pair)]


def _moment(value: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
