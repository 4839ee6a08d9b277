"""A client of ManyChat's API: reads one contact (``GET /fb/subscriber/getInfo``).

A page's key may ask ten times a second; neither a 429 nor how long to wait is documented, so calls
are spaced here, for each key. An External Request waits about ten seconds for its answer, and is
not sent again: whatever happens, a call ends within `MOST_SECONDS`, with a contact or a sentence.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import OrderedDict
from collections.abc import Callable
from functools import cached_property
from http import HTTPStatus
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import httpx

MOST_SECONDS: Final = 5.0
MOST_BYTES: Final = 1024 * 1024
_MOST_KEYS: Final = 1000
_SPACING_SECONDS: Final = 0.1
_LONGEST_QUEUE_SECONDS: Final = 2.0
_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 60
_SLOW_DOWN: Final = "ManyChat asked to slow down, or too many contacts came at once"


class NotReadError(Exception):
    """A contact that could not be read; the message is a clause that says why."""


class ManyChatApi:
    """Reads contacts; one for a process, since it knows when each key may ask next."""

    def __init__(self, base_url: str, clock: Callable[[], float] = monotonic) -> None:
        self._base_url = base_url.rstrip("/")
        self._clock = clock
        self._free: OrderedDict[str, float] = OrderedDict()

    async def get_info(self, token: str, subscriber_id: str) -> dict[str, Any]:
        """What ManyChat knows of a contact: the ``data`` of its answer.

        Raises NotReadError for everything else that can come of it.
        """
        try:
            async with asyncio.timeout(MOST_SECONDS):
                await self._wait_for_turn(token)
                status, body = await self._get(token, subscriber_id)
        except TimeoutError:
            raise NotReadError(f"ManyChat did not answer within {MOST_SECONDS:g} seconds") from None
        data = _data(status, body)
        if str(data.get("id")) != subscriber_id:
            raise NotReadError("ManyChat's answer tells of another contact")
        return data

    async def _wait_for_turn(self, token: str) -> None:
        now = self._clock()
        turn = max(self._free.get(token, now), now)
        if turn - now > _LONGEST_QUEUE_SECONDS:
            raise NotReadError(_SLOW_DOWN)
        self._next(token, turn + _SPACING_SECONDS)
        await asyncio.sleep(turn - now)

    def _next(self, token: str, moment: float) -> None:
        self._free[token] = max(moment, self._free.get(token, moment))
        self._free.move_to_end(token)
        if len(self._free) > _MOST_KEYS:
            self._free.popitem(last=False)

    async def _get(self, token: str, subscriber_id: str) -> tuple[int, bytes]:
        import httpx  # noqa: PLC0415  # 15 MB of memory, for those alone who read contacts

        url = f"{self._base_url}/fb/subscriber/getInfo"
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        client = httpx.AsyncClient(verify=self._trust, trust_env=False, timeout=MOST_SECONDS)
        try:
            async with (
                client,
                client.stream(
                    "GET", url, params={"subscriber_id": subscriber_id}, headers=headers
                ) as response,
            ):
                if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
                    self._next(token, self._clock() + _asked_pause(response))
                return response.status_code, await _bounded(response)
        except httpx.TimeoutException:
            raise TimeoutError from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NotReadError(f"ManyChat can't be reached ({type(error).__name__})") from None

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        return ssl.create_default_context()


def _asked_pause(response: httpx.Response) -> float:
    asked = response.headers.get("retry-after", "")
    if asked.isascii() and asked.isdigit() and len(asked) <= 6:
        return float(min(int(asked), _LONGEST_PAUSE_SECONDS))
    return _PAUSE_SECONDS


async def _bounded(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MOST_BYTES:
            raise NotReadError("ManyChat's answer is larger than 1 MiB")
    return bytes(body)


def _data(status: int, body: bytes) -> dict[str, Any]:
    """The contact in an answer. ManyChat refuses within a 200 too: only its own `status` counts."""
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise NotReadError("ManyChat refused the connection's API token: make a new one there")
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        raise NotReadError(_SLOW_DOWN)
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise NotReadError(f"ManyChat answered with {status} and no JSON object")
    data = answer.get("data")
    if status == HTTPStatus.OK and answer.get("status") == "success" and isinstance(data, dict):
        return data
    said = answer.get("message")
    reason = f": {said[:200]}" if isinstance(said, str) else ""
    raise NotReadError(f"ManyChat refused with {status}{reason}")
