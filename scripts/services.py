"""Finds what the tests need from the system; installs it where it may, else says what to install.

``python -m scripts.services``: that is a PostgreSQL server (the tests run one of their own, as an
ordinary user), Node (whose receiver verifies our signatures) and LibreOffice's Calc (which opens
our exports).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.libreoffice import find_libreoffice
from tests.support.postgres import OLDEST_MAJOR, find_binaries

CLUSTER_DEFAULTS = Path("/etc/postgresql-common/createcluster.conf")
CALC_PACKAGE = "libreoffice-calc-nogui"  # Calc without a desktop


@dataclass(frozen=True)
class Service:
    """Something of the system: how to find it, and how to install it on Debian and its kin."""

    name: str
    package: str
    is_there: Callable[[], bool]
    install: Callable[[], None]


def _apt_get(*arguments: str) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    # Its errors are shown; the hundreds of lines on what it unpacks are not.
    command = ["apt-get", *arguments]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


def _install(package: str) -> None:
    _apt_get("install", "-y", "-qq", "--no-install-recommends", package)


@contextlib.contextmanager
def _no_system_cluster() -> Iterator[None]:
    """Keep Debian's package from making and starting a cluster that nobody asked for."""
    before = CLUSTER_DEFAULTS.read_text(encoding="utf-8")
    CLUSTER_DEFAULTS.write_text(f"{before}\ncreate_main_cluster = false\n", encoding="utf-8")
    try:
        yield
    finally:
        CLUSTER_DEFAULTS.write_text(before, encoding="utf-8")


def _install_postgresql() -> None:
    _install("postgresql-common")
    with _no_system_cluster():
        _install("postgresql")


SERVICES = (
    Service(
        f"PostgreSQL {OLDEST_MAJOR} or newer (the server)",
        "postgresql",
        lambda: find_binaries() is not None,
        _install_postgresql,
    ),
    Service("Node", "nodejs", lambda: shutil.which("node") is not None, lambda: _install("nodejs")),
    Service(
        "LibreOffice Calc",
        CALC_PACKAGE,
        lambda: find_libreoffice() is not None,
        lambda: _install(CALC_PACKAGE),
    ),
)


def main() -> int:
    """Return 0 once all is there, 1 after saying in one line what to install."""
    missing = [service for service in SERVICES if not service.is_there()]
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        _report(f"installing {', '.join(service.package for service in missing)}")
        with contextlib.suppress(subprocess.CalledProcessError):
            _apt_get("update", "-qq")
            for service in missing:
                service.install()
        missing = [service for service in missing if not service.is_there()]
    if missing:
        names = ", ".join(service.name for service in missing)
        packages = " ".join(service.package for service in missing)
        _report(f"the tests need {names}: install it (Debian, Ubuntu: apt-get install {packages}).")
    return int(bool(missing))


def _report(sentence: str) -> None:
    sys.stderr.write(f"flowkick: {sentence}\n")


if __name__ == "__main__":
    sys.exit(main())
