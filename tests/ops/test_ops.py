"""The alert rules and the dashboard name what `GET /metrics` really has, and nothing else."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from flowkick.app import Process
from flowkick.core import metrics
from tests.ops.promql import Named, read
from tests.support.endpoint import Endpoint
from tests.support.factories import create_subscription
from tests.support.server import Api

OPS = Path(__file__).resolve().parents[2] / "ops"
DOCS = OPS.parent / "docs"
# What Prometheus adds to everything that it scrapes.
ADDED = {"instance", "job"}
FUNCTIONS = {"sum", "max", "rate", "increase", "deriv", "absent", "histogram_quantile"}


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((OPS / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((OPS / "grafana-dashboard.json").read_text())
    return loaded


def targets() -> list[dict[str, Any]]:
    return [target for panel in dashboard()["panels"] for target in panel["targets"]]


def expressions() -> list[str]:
    return [one["expr"] for one in (*rules(), *targets())]


async def scraped(api: Api) -> dict[str, set[str]]:
    """The labels of each metric that a scrape gives, by the names of its samples."""
    answer = await api.http.get("/metrics")
    assert answer.status_code == 200
    found: dict[str, set[str]] = defaultdict(set)
    for family in text_string_to_metric_families(answer.text):
        found[family.name] |= set()
        for sample in family.samples:
            found[sample.name] |= set(sample.labels)
    return found


def labels_of(name: str) -> set[str]:
    """The labels that a metric is declared with, by the name of one of its samples."""
    collector = metrics.REGISTRY._names_to_collectors[name]  # noqa: SLF001  # there is no other way
    return set(getattr(collector, "_labelnames", ()))


async def test_every_metric_and_label_of_the_rules_and_the_dashboard_exists(
    api: Api, process: Process
) -> None:
    keys = process.settings.key_ring
    async with Endpoint() as endpoint:
        await create_subscription(api.database, keys, api.admin_id, endpoint.url)
        await api.http.post("/api/admin/users", json={"firstName": "Ada"})
        await endpoint.wait_for(1)
        assert (await api.http.get("/api/admin/export/users/csv")).status_code == 200
        assert (await api.http.get("/api/admin/events")).status_code == 200
        shown = await scraped(api)
    for expression in expressions():
        named = read(expression)
        assert named.metrics, expression
        missing = set(named.metrics) - set(shown)
        assert not missing, f"{missing} is not in GET /metrics: {expression}"
        for name, labels in named.metrics.items():
            there = ADDED | shown.get(name, set()) | labels_of(name)
            assert labels <= there, f"{labels - there} is no label of {name}: {expression}"
        anywhere = ADDED.union(
            *(shown.get(name, set()) | labels_of(name) for name in named.metrics)
        )
        assert named.grouped <= anywhere, f"{named.grouped - anywhere}: {expression}"
        assert named.functions <= FUNCTIONS, expression


def test_every_metric_is_on_the_dashboard_and_documented() -> None:
    on_board = {name for target in targets() for name in read(target["expr"]).metrics}
    page = (DOCS / "operating.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"`(flowkick_[a-z_]+)(?:\{[a-z, ]+\})?`", page))
    for family in metrics.REGISTRY.collect():
        names = {family.name, f"{family.name}_total", f"{family.name}_bucket"}
        assert names & on_board, family.name
        assert names & documented, family.name


def test_legends_and_texts_use_labels_that_their_expressions_leave() -> None:
    for target in targets():
        used = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        assert used <= read(target["expr"]).grouped, target
    for rule in rules():
        text = " ".join(rule["annotations"].values())
        used = set(re.findall(r"\$labels\.(\w+)", text))
        assert used <= read(rule["expr"]).grouped, rule["alert"]


def test_every_alert_says_how_grave_it_is_and_what_to_do() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))
    for rule in rules():
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert rule["annotations"].keys() == {"summary", "action"}


def test_every_panel_has_a_place_of_its_own() -> None:
    panels = dashboard()["panels"]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(places) == len(set(places))
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["description"] for panel in panels)


def test_what_is_read_of_an_expression_is_what_it_names() -> None:
    named = read('sum by (le, a) (rate(x_total{b="c{d}", e!~"f"}[5m])) / on (g) h:i > 0.5 and k')
    assert named == Named(
        {"x_total": {"b", "e"}, "h:i": set(), "k": set()}, {"le", "a", "g"}, {"sum", "rate"}
    )


@pytest.mark.parametrize("expression", ["sum(x", "x)", "x } y", "x ; y"])
def test_what_is_no_expression_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        read(expression)
