"""Which addresses a webhook may reach: the guard against server-side request forgery.

A customer chooses the URL, so without a guard a subscription could be pointed at the
operator's own network: a database, a metadata service, a router. The guard answers at three
moments: when a subscription is saved (`TargetGuard.check_url` and `check_resolved`), when a
name is looked up for a request (`resolve`), and when a socket is about to be connected
(`check_address`). Only the last one decides; the earlier ones tell people sooner.
"""

import asyncio
import re
import socket
import unicodedata
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from yarl import URL

__all__ = ["Address", "Lookup", "Network", "TargetGuard", "TargetRefused", "parse_target"]

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Lookup = Callable[[str, int], Awaitable[Sequence[str]]]
"""Resolves (host, port) to textual addresses; raises OSError where it cannot."""

MAX_URL_LENGTH = 2048
SAVE_LOOKUP_SECONDS = 2.0
"""How long saving a subscription may wait for a name server."""

LOOKUP_THREADS = 32
"""getaddrinfo blocks a thread for up to half a minute when a name server is silent; asyncio's
own pool has six threads on two cores, so six such names would stop every other lookup."""


class TargetRefused(Exception):
    """This URL or address is not one that a webhook may be sent to; the text says why."""


# The IANA special-purpose registries, RFC 6890 and its successors, written out because
# ipaddress.is_global of Python 3.11 is wrong on several (192.0.0.8, 64:ff9b::/96, 2002::/16).
# First match wins, so the narrower network stands first.
_REFUSED: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(network), reason)
    for network, reason in (
        ("169.254.169.254/32", "a cloud provider's metadata address"),
        ("168.63.129.16/32", "a cloud provider's internal address"),
        ("100.100.100.200/32", "a cloud provider's metadata address"),
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared carrier address space"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "reserved for documentation"),
        ("192.88.99.0/24", "a 6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "reserved for benchmarks"),
        ("198.51.100.0/24", "reserved for documentation"),
        ("203.0.113.0/24", "reserved for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("255.255.255.255/32", "broadcast"),
        ("240.0.0.0/4", "reserved"),
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::ffff:0:0/96", "an IPv4-mapped form"),
        ("::ffff:0:0:0/96", "an IPv4-translated form"),
        ("::/96", "an IPv4-compatible form"),
        ("64:ff9b::/96", "a NAT64 form"),
        ("64:ff9b:1::/48", "a NAT64 form"),
        ("100::/64", "a discard prefix"),
        ("2001::/32", "a Teredo form"),
        ("2001::/23", "reserved"),
        ("2001:db8::/32", "reserved for documentation"),
        ("2002::/16", "a 6to4 form"),
        ("3fff::/20", "reserved for documentation"),
        ("fd00:ec2::254/128", "a cloud provider's metadata address"),
        ("fd20:ce::254/128", "a cloud provider's metadata address"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
)
_REFUSED_IPV4 = tuple(pair for pair in _REFUSED if pair[0].version == 4)
_REFUSED_IPV6 = tuple(pair for pair in _REFUSED if pair[0].version == 6)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})
_LOOPBACKS = (IPv4Address("127.0.0.1"), IPv6Address("::1"))

# Names of private networks: RFC 6761, 6762 and 8375, ICANN's `internal`.
_PRIVATE_SUFFIXES = (".internal", ".local", ".home.arpa", ".lan", ".intranet", ".localdomain")

_AUTHORITY = re.compile(
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(?::(?P<port>[0-9]{1,5}))?", re.DOTALL
)
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,254}}\Z){_LABEL}(?:\.{_LABEL})*\.?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PLAIN_TARGET = re.compile(r"[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=%]*")
_LOOKALIKE_DOTS = frozenset("\u3002\uff0e\uff61")

_ONLY_PUBLIC = "webhooks reach public addresses only"


def parse_target(url: str) -> URL:
    """The URL as it will be requested, or TargetRefused with the reason.

    Looks at the text alone. The path and query are kept byte for byte where they are valid as
    they stand, since receivers may sign or compare them.
    """
    scheme, authority, rest = _split(url)
    host, port = _split_authority(authority)
    try:
        origin = URL(f"{scheme}://{authority}")
        if _PLAIN_TARGET.fullmatch(rest):
            slash = "" if rest.startswith("/") else "/"
            target = URL(f"{origin.origin()}{slash}{rest}", encoded=True)
        else:
            target = URL(url)
    except ValueError:
        raise TargetRefused("The URL is not valid.") from None
    _check_port(port)
    _check_host_form(host, target.raw_host or "")
    return target


def _split(url: str) -> tuple[str, str, str]:
    if len(url) > MAX_URL_LENGTH:
        raise TargetRefused(f"The URL is longer than {MAX_URL_LENGTH:,} characters.")
    if not url.isprintable() or " " in url or "\\" in url:
        raise TargetRefused("The URL contains whitespace, a backslash or an invisible character.")
    scheme, separator, tail = url.partition("://")
    if not separator or scheme.lower() not in ("http", "https"):
        raise TargetRefused("The URL must be absolute and begin with http:// or https://.")
    if "#" in tail:
        raise TargetRefused("The URL must not have a fragment (the part from # on).")
    end = min((at for at in (tail.find("/"), tail.find("?")) if at >= 0), default=len(tail))
    return scheme.lower(), tail[:end], tail[end:]


def _split_authority(authority: str) -> tuple[str, str | None]:
    if "@" in authority:
        raise TargetRefused("The URL must not carry credentials (a name or password before @).")
    if "%" in authority:
        raise TargetRefused("The URL's host must not have escapes or a zone id (%).")
    if not authority or authority.startswith(":"):
        raise TargetRefused("The URL has no host.")
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise TargetRefused("The URL's host or port is not valid.")
    return match["host"], match["port"]


def _check_port(port: str | None) -> None:
    if port is not None and not 1 <= int(port) <= 65535:
        raise TargetRefused("The URL's port must be between 1 and 65535.")


def _check_host_form(written: str, host: str) -> None:
    """`written` is the host as typed, `host` what the HTTP client makes of it."""
    if any(_looks_like_ascii(character) for character in written):
        raise TargetRefused("The URL's host must be written with plain letters, digits and dots.")
    if _literal(host) is not None:
        return
    if _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2].lower()):
        raise TargetRefused(
            "The URL's host is an IPv4 address in an unusual form; write four decimal numbers."
        )
    if _NAME.fullmatch(host.lower()) is None:
        raise TargetRefused("The URL's host is not a valid name.")


def _looks_like_ascii(character: str) -> bool:
    """Full-width digits, circled numbers and the like, which IDNA turns into plain ones."""
    if character.isascii():
        return False
    return character in _LOOKALIKE_DOTS or unicodedata.normalize("NFKC", character).isascii()


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _refusal(address: Address) -> str | None:
    """What kind of non-public address this is, None if it is public."""
    if isinstance(address, IPv4Address):
        return next((why for network, why in _REFUSED_IPV4 if address in network), None)
    if address.scope_id is not None:
        return "bound to one network interface"
    for network, why in _REFUSED_IPV6:
        if address in network:
            return why
    if address not in _GLOBAL_UNICAST:
        return "reserved"
    if (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
        return "an ISATAP form"
    return None


_lookup_threads = lru_cache(maxsize=1)(
    lambda: ThreadPoolExecutor(LOOKUP_THREADS, thread_name_prefix="flowkick-lookup")
)


async def system_lookup(host: str, port: int) -> Sequence[str]:
    """The operating system's resolver, in threads of its own."""

    def resolve() -> list[str]:
        try:
            found = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
            )
        except UnicodeError:  # a label that the operating system's IDNA does not take
            raise socket.gaierror(socket.EAI_NONAME, "not a name") from None
        return [str(sockaddr[0]) for *_, sockaddr in found]

    return await asyncio.get_running_loop().run_in_executor(_lookup_threads(), resolve)


class TargetGuard:
    """Lets webhooks reach public addresses, and those of the networks in `allowed`.

    `allowed` counts for the address connected to, in the form it is connected to: with
    127.0.0.0/8 allowed, ::ffff:127.0.0.1 is still refused.
    """

    def __init__(self, allowed: Iterable[Network] = (), *, lookup: Lookup = system_lookup) -> None:
        self._allowed = tuple(allowed)
        self._lookup = lookup

    def check_address(self, address: str | Address) -> None:
        """Raise TargetRefused unless the address is public or in an allowed network."""
        parsed = _literal(address) if isinstance(address, str) else address
        if parsed is None:
            raise TargetRefused("The target is not an IP address.")
        if not self._is_allowed(parsed) and (why := _refusal(parsed)):
            raise TargetRefused(f"The target {parsed} is {why}; {_ONLY_PUBLIC}.")

    def check_url(self, url: str) -> None:
        """Raise TargetRefused where the URL alone shows that it may not be reached."""
        self.target(url)

    def target(self, url: str) -> URL:
        """The URL as it is to be requested, after the checks of `check_url`."""
        target = parse_target(url)
        host = (target.raw_host or "").lower().rstrip(".")
        literal = _literal(host)
        if literal is not None:
            self.check_address(literal)
        elif host == "localhost" or host.endswith(".localhost"):
            if not any(self._is_allowed(loopback) for loopback in _LOOPBACKS):
                raise TargetRefused(f"The target {host} is loopback; {_ONLY_PUBLIC}.")
        elif host.endswith(_PRIVATE_SUFFIXES) and not self._allowed:
            raise TargetRefused(f"The name {host} belongs to a private network; {_ONLY_PUBLIC}.")
        return target

    async def check_resolved(self, url: str) -> None:
        """`check_url`, and where the host is a name, what it resolves to now.

        A name that does not resolve within two seconds is let through: it may exist by the
        time of the first delivery, and every attempt checks again.
        """
        target = self.target(url)
        host = target.raw_host or ""
        if _literal(host) is not None:
            return
        try:
            async with asyncio.timeout(SAVE_LOOKUP_SECONDS):
                await self.resolve(host, target.port or 0)
        except OSError:  # a TimeoutError is one too
            return

    async def resolve(self, host: str, port: int) -> list[str]:
        """The addresses of a name that may be reached.

        One forbidden address among public ones refuses the name: an honest name has none. Only
        where an operator allowed networks are those addresses picked from a mixture, so that
        `localhost` works with 127.0.0.0/8 allowed on a machine that also has ::1.
        Raises TargetRefused, or OSError where the lookup fails. The addresses are not told:
        whoever saved the URL shall not learn the operator's internal names from it.
        """
        found = list(dict.fromkeys(await self._lookup(host, port)))
        refused = [why for address in found if (why := self._refused(address))]
        if not refused:
            return found
        if picked := [address for address in found if self._is_listed(address)]:
            return picked
        raise TargetRefused(
            f"The name {host} leads to an address that is {refused[0]}; {_ONLY_PUBLIC}."
        )

    def _refused(self, address: str) -> str | None:
        parsed = _literal(address)
        if parsed is None:
            return "not valid"
        return None if self._is_allowed(parsed) else _refusal(parsed)

    def _is_listed(self, address: str) -> bool:
        parsed = _literal(address)
        return parsed is not None and self._is_allowed(parsed)

    def _is_allowed(self, address: Address) -> bool:
        return any(address in network for network in self._allowed)
