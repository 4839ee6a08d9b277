"""Exports that run as jobs, as a client orders and fetches them."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

EXPORTS = "/api/admin/exports"


async def order(http: httpx.AsyncClient, format_: str, **asked: Any) -> str:
    answer = await http.post(EXPORTS, json={"format": format_, **asked})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["export"]["id"])


async def ended(http: httpx.AsyncClient, export_id: str) -> dict[str, Any]:
    async with asyncio.timeout(120):
        while True:
            shown: dict[str, Any] = (await http.get(f"{EXPORTS}/{export_id}")).json()
            if shown["export"]["status"] != "running":
                return shown
            await asyncio.sleep(0.02)


async def download(http: httpx.AsyncClient, export_id: str) -> httpx.Response:
    answer = await http.get(f"{EXPORTS}/{export_id}/download")
    assert answer.status_code == 200, answer.text
    return answer


async def file_of(http: httpx.AsyncClient, format_: str, **asked: Any) -> bytes:
    export_id = await order(http, format_, **asked)
    assert (await ended(http, export_id))["export"]["status"] == "completed"
    return (await download(http, export_id)).content
