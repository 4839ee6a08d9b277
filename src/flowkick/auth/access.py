"""Authentication of an HTTP request: an API key, or an admin's id that a gateway vouches for."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

from starlette.requests import HTTPConnection

from flowkick.auth.service import Principal, recognise_admin, recognise_key
from flowkick.core.clock import Clock
from flowkick.core.errors import Forbidden, Unauthenticated
from flowkick.core.settings import Settings
from flowkick.storage.database import Database

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="flowkick"'}


async def authenticate(
    request: HTTPConnection, database: Database, settings: Settings, clock: Clock
) -> Principal:
    """Who is asking. Raises Unauthenticated (401), or Forbidden (403) where the two disagree."""
    authorization = request.headers.get("authorization")
    admin_id = request.headers.get("x-admin-id")
    try:
        async with database.system_reading() as session:
            if authorization is not None:
                principal = await recognise_key(session, _bearer(authorization), clock())
                if admin_id is not None and admin_id != principal.admin_id:
                    raise Forbidden("X-Admin-ID names another admin than the API key's.")
                return principal
            if admin_id is not None and _vouched_for(request, settings):
                return await recognise_admin(session, admin_id)
    except Unauthenticated as error:
        error.headers = _CHALLENGE
        raise
    raise Unauthenticated(_how_to(admin_id), headers=_CHALLENGE)


def _bearer(authorization: str) -> str:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("Send the API key as `Authorization: Bearer fk_…`.")
    return token.strip()


def _vouched_for(request: HTTPConnection, settings: Settings) -> bool:
    """Whether the peer may name an admin without a key: never a forwarded address."""
    if not settings.trust_admin_header or request.client is None:
        return False
    try:
        peer = _plain(ip_address(request.client.host))
    except ValueError:
        return False
    if settings.trusted_proxies:
        return any(peer in network for network in settings.trusted_proxies)
    return peer.is_loopback


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that a socket of both families writes as ``::ffff:10.1.2.3``."""
    return getattr(address, "ipv4_mapped", None) or address


def _how_to(admin_id: str | None) -> str:
    if admin_id is None:
        return "Send an API key as `Authorization: Bearer fk_…`."
    return "X-Admin-ID alone is not trusted here: send an API key as `Authorization: Bearer fk_…`."
