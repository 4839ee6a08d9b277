"""The project installs from any index, on any machine, exactly what was tested."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = {name: ROOT / "requirements" / f"{name}.lock" for name in ("run", "dev")}
PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ ]+)(?: ; (?P<marker>[^\\]+))? \\")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")
BUILD_FILES = [
    *LOCKS.values(),
    ROOT / "pyproject.toml",
    ROOT / "Makefile",
    ROOT / ".ci" / "run",
    *sorted((ROOT / "scripts").glob("*.*")),
]


def pins(lock: str) -> dict[str, str]:
    """The version of each package that a lock names."""
    found = (PIN.fullmatch(line) for line in LOCKS[lock].read_text(encoding="utf-8").splitlines())
    return {canonicalize_name(pin["name"]): pin["version"] for pin in found if pin}


def group(name: str) -> list[str]:
    """A dependency group's requirements, with those of the groups it includes."""
    entries: list[Any] = PYPROJECT["dependency-groups"][name]
    return [
        requirement
        for entry in entries
        for requirement in ([entry] if isinstance(entry, str) else group(entry["include-group"]))
    ]


def declared(*groups: str) -> list[Requirement]:
    """What pyproject.toml asks for: dependencies, every extra, and the groups named."""
    project = PYPROJECT["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    grouped = [line for name in groups for line in group(name)]
    return [Requirement(line) for line in (*project["dependencies"], *extras, *grouped)]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_is_nothing_but_versions_and_hashes(lock: str) -> None:
    strange = [
        line
        for line in LOCKS[lock].read_text(encoding="utf-8").splitlines()
        if not (PIN.fullmatch(line) or HASH.fullmatch(line))
    ]
    assert strange == []


@pytest.mark.parametrize("path", BUILD_FILES, ids=lambda path: path.name)
def test_no_build_file_names_an_index_or_somebodys_folder(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    index = r"\w+://|--(extra-)?index-url|--find-links|--trusted-host|PIP_[A-Z]+=|UV_[A-Z]+="
    folder = r"(?<![\w.])/(home|root|Users|work|tmp)/"
    assert re.findall(f"{index}|{folder}", text) == []


@pytest.mark.parametrize(("lock", "groups"), [("run", ["build"]), ("dev", ["dev"])])
def test_a_lock_covers_every_declared_dependency(lock: str, groups: list[str]) -> None:
    locked = pins(lock)
    unmet = [
        str(requirement)
        for requirement in declared(*groups)
        if not requirement.specifier.contains(locked.get(canonicalize_name(requirement.name), "0"))
    ]
    assert unmet == [], "run `make lock`"


def test_what_runs_is_what_was_tested() -> None:
    assert pins("run").items() <= pins("dev").items()


def test_the_makefile_has_the_habits() -> None:
    targets = re.findall(
        r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert {"demo", "test", "check", "bench", "format", "lock", "clean"} <= set(targets)


def test_without_a_usable_python_installing_says_so_in_one_line(tmp_path: Path) -> None:
    """Version managers leave a ``python3`` on PATH that only prints an error."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "cat", "tr", "cksum", "dirname", "id"):
        (tools / name).symlink_to(str(shutil.which(name)))
    shim = tools / "python3"
    shim.write_text("#!/bin/sh\necho 'python3: no such version' >&2\nexit 127\n", encoding="utf-8")
    shim.chmod(0o755)
    checkout = tmp_path / "checkout"
    for folder in ("scripts", "requirements"):
        shutil.copytree(ROOT / folder, checkout / folder)
    shutil.copy(ROOT / "pyproject.toml", checkout)

    told = subprocess.run(
        ["sh", "scripts/install.sh", "run"],
        cwd=checkout,
        env={**os.environ, "PATH": str(tools), "PYTHON": ""},
        capture_output=True,
        text=True,
        check=False,
    )

    assert told.returncode == 1
    assert told.stderr.count("\n") == 1
    assert "Python 3.11 or newer is needed" in told.stderr
    assert not (checkout / ".venv").exists()
