"""The cluster that tests run against behaves as they rely on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import lacking
from tests.support.postgres import Cluster, PostgresError, find_binaries


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    if find_binaries() is None:
        lacking("PostgreSQL")
    with Cluster(durable=True) as cluster:
        yield cluster


def test_what_was_committed_outlives_a_crash_on_the_same_address(cluster: Cluster) -> None:
    url = cluster.create_database("crash")
    cluster.execute("CREATE TABLE kept AS SELECT 7 AS number", database="crash")

    cluster.restart("immediate")

    assert cluster.url("crash") == url
    assert cluster.execute("SELECT number FROM kept", database="crash") == "7"


def test_a_template_is_copied_with_what_it_holds(cluster: Cluster) -> None:
    cluster.create_database("original")
    cluster.execute("CREATE TABLE copied AS SELECT 7 AS number", database="original")

    copy = cluster.create_database(template="original")

    assert cluster.execute("SELECT number FROM copied", database=copy.rpartition("/")[2]) == "7"
    cluster.drop_database(copy)
    with pytest.raises(PostgresError, match="does not exist"):
        cluster.execute("SELECT 1", database=copy.rpartition("/")[2])


def test_letters_beyond_ascii_change_their_case(cluster: Cluster) -> None:
    assert cluster.execute("SELECT lower('ÉÇÖ')") == "éçö"


def test_nothing_is_left_behind_and_nobody_is_root() -> None:
    if find_binaries() is None:
        lacking("PostgreSQL")
    with Cluster() as cluster:
        data = Path(cluster.execute("SHOW data_directory"))
        if os.geteuid() == 0:
            assert data.stat().st_uid != 0
    assert not data.parent.exists()
    assert not cluster.running
