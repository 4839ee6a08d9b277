"""A stand-in for ManyChat's API, as far as its documents and what was seen of it go."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiohttp import web

GOOD_TOKEN = "1234567:page-key-of-the-test"
_TEXTS = (
    "first_name",
    "last_name",
    "name",
    "gender",
    "profile_pic",
    "locale",
    "language",
    "timezone",
    "live_chat_url",
    "last_input_text",
    "phone",
    "email",
    "subscribed",
    "last_seen",
    "ig_username",
    "whatsapp_phone",
    "last_interaction",
)


def contact(contact_id: str, **values: Any) -> dict[str, Any]:
    """A contact as ``getInfo`` gives it: every key there, most of them null."""
    flags = ("optin_phone", "optin_email", "optin_whatsapp", "is_followup_enabled")
    return {
        "id": contact_id,
        "page_id": "1234567",
        "user_refs": [],
        **dict.fromkeys(_TEXTS),
        **dict.fromkeys(flags, False),
        "ig_id": None,
        "tags": [],
        "custom_fields": [],
        **values,
    }


@dataclass
class ManyChat:
    """Answers ``getInfo`` for `contacts` to who has the token, or with `answer`, after `delay`."""

    contacts: dict[str, dict[str, Any]] = field(default_factory=dict)
    answer: web.Response | None = None
    delay: float = 0.0
    asked: list[str] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/fb/subscriber/getInfo", self._get_info)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()

    async def _get_info(self, request: web.Request) -> web.Response:
        contact_id = request.query.get("subscriber_id", "")
        self.asked.append(contact_id)
        self.begun.set()
        await asyncio.sleep(self.delay)
        if self.answer is not None:
            return self.answer
        if request.headers.get("Authorization") != f"Bearer {GOOD_TOKEN}":
            return _refused(401, "Wrong token")
        if contact_id not in self.contacts:
            return _refused(400, "Subscriber does not exist")
        return web.json_response({"status": "success", "data": self.contacts[contact_id]})


def _refused(status: int, message: str) -> web.Response:
    return web.json_response({"status": "error", "message": message}, status=status)
