"""Webhooks reach public addresses only, however the target is written."""

import asyncio
from collections.abc import Sequence
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flowkick.delivery.targets import TargetGuard, TargetRefused, parse_target
from tests.delivery.target_forms import (
    FORBIDDEN_ADDRESSES,
    FORBIDDEN_URLS,
    PUBLIC_ADDRESSES,
    PUBLIC_URLS,
)

GUARD = TargetGuard()
LOOPBACK = TargetGuard([ip_network("127.0.0.0/8")])


class Names:
    """A name server of the test's own: what each name resolves to, lookup by lookup.

    The last answer stays; an exception among the answers is raised.
    """

    def __init__(self, **answers: list[Sequence[str] | OSError]) -> None:
        self.answers = {name.replace("_", "."): list(given) for name, given in answers.items()}
        self.lookups: list[str] = []

    async def __call__(self, host: str, _port: int) -> Sequence[str]:
        self.lookups.append(host)
        answers = self.answers[host]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, OSError):
            raise answer
        return answer


@pytest.mark.parametrize("address", FORBIDDEN_ADDRESSES)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    with pytest.raises(TargetRefused, match=r"webhooks reach public addresses only\.$"):
        GUARD.check_address(address)
    with pytest.raises(TargetRefused):
        GUARD.check_address(ip_address(address))


@pytest.mark.parametrize("address", FORBIDDEN_ADDRESSES)
def test_a_url_with_an_address_that_is_not_public_is_refused(address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(TargetRefused):
        GUARD.check_url(f"https://{host}:8443/hook")


@pytest.mark.parametrize("address", PUBLIC_ADDRESSES)
def test_a_public_address_is_let_through(address: str) -> None:
    GUARD.check_address(address)


@pytest.mark.parametrize("text", ["", "example.com", "127.1", "0x7f000001", "2130706433"])
def test_what_is_not_an_address_is_refused_as_one(text: str) -> None:
    with pytest.raises(TargetRefused):
        GUARD.check_address(text)


@pytest.mark.parametrize("url", FORBIDDEN_URLS)
def test_a_forbidden_url_is_refused_with_a_sentence(url: str) -> None:
    with pytest.raises(TargetRefused, match=r"^The .*\.$"):
        GUARD.check_url(url)


@pytest.mark.parametrize("url", PUBLIC_URLS)
def test_a_public_url_is_let_through(url: str) -> None:
    GUARD.check_url(url)


@given(st.integers(0, 2**32 - 1))
@example(int(ip_address("127.0.0.1")))
@example(int(ip_address("169.254.169.254")))
def test_no_way_of_writing_an_ipv4_address_gets_past_its_check(number: int) -> None:
    address = ip_address(number)
    a, b, c, d = number >> 24, number >> 16 & 255, number >> 8 & 255, number & 255
    forms = [
        str(number),
        hex(number),
        f"0{number:o}",
        f"{a}.{number & 0xFFFFFF}",
        f"{a}.{b}.{number & 0xFFFF}",
        f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        f"{a:#x}.{b:#x}.{c:#x}.{d:#x}",
        f"[::ffff:{address}]",
        f"[::{address}]",
        f"[64:ff9b::{address}]",
        f"[2002:{number >> 16:x}:{number & 0xFFFF:x}::1]",
    ]
    for form in forms:
        with pytest.raises(TargetRefused):
            GUARD.check_url(f"http://{form}/")


@given(st.text(max_size=60))
def test_any_text_is_either_a_valid_target_or_refused(text: str) -> None:
    for url in (text, "http://" + text, "https://example.com" + text):
        try:
            target = parse_target(url)
        except TargetRefused:
            continue
        assert target.scheme in ("http", "https")
        assert target.raw_host
        assert target.raw_host.isascii()
        assert target.user is None
        assert target.raw_path_qs.isascii()
        assert target.raw_path_qs.isprintable()


@pytest.mark.parametrize(
    ("url", "requested"),
    [
        ("https://example.com", "/"),
        ("https://example.com?a=b", "/?a=b"),
        ("https://example.com/a%2Fb/../c~%7E?x=%2B+%20&sig=a%2Fb%3D", None),
        ("https://bücher.example/a%2Fb", "/a%2Fb"),
        ("https://example.com/ä?ö", "/%C3%A4?%C3%B6"),
        ('https://example.com/{"a"}', "/%7B%22a%22%7D"),
    ],
)
def test_a_valid_path_and_query_are_requested_byte_for_byte(
    url: str, requested: str | None
) -> None:
    assert parse_target(url).raw_path_qs == (requested or url.removeprefix("https://example.com"))


def test_allowed_networks_may_be_reached() -> None:
    guard = TargetGuard([ip_network("10.0.0.0/8"), ip_network("fd00::/8")])
    guard.check_url("http://10.1.2.3/")
    guard.check_url("http://[fd00::1]:8080/")
    for refused in ("http://192.168.0.1/", "http://127.0.0.1/", "http://localhost/"):
        with pytest.raises(TargetRefused):
            guard.check_url(refused)


def test_allowing_a_network_does_not_allow_other_forms_of_its_addresses() -> None:
    LOOPBACK.check_url("http://127.0.0.1/")
    for other in ("[::ffff:127.0.0.1]", "[::1]", "[64:ff9b::127.0.0.1]", "127.1", "2130706433"):
        with pytest.raises(TargetRefused):
            LOOPBACK.check_url(f"http://{other}/")


def test_localhost_may_be_reached_where_loopback_is_allowed() -> None:
    LOOPBACK.check_url("http://localhost:3001/hook")


async def test_names_of_private_networks_are_decided_by_their_address_where_some_are_allowed() -> (
    None
):
    names = Names(crm_internal=[["10.0.0.7"]], db_internal=[["192.168.0.7"]])
    guard = TargetGuard([ip_network("10.0.0.0/8")], lookup=names)
    await guard.check_resolved("http://crm.internal/")
    with pytest.raises(TargetRefused):
        await guard.check_resolved("http://db.internal/")


@pytest.mark.parametrize("address", FORBIDDEN_ADDRESSES)
async def test_a_name_that_resolves_to_a_forbidden_address_is_refused(address: str) -> None:
    guard = TargetGuard(lookup=Names(crm_example=[[address]]))
    with pytest.raises(TargetRefused, match=r"^The name crm\.example leads to"):
        await guard.check_resolved("https://crm.example/hook")


async def test_a_name_with_one_forbidden_address_among_public_ones_is_refused() -> None:
    guard = TargetGuard(lookup=Names(crm_example=[["8.8.8.8", "10.0.0.1", "1.1.1.1"]]))
    with pytest.raises(TargetRefused):
        await guard.check_resolved("https://crm.example/")


async def test_a_refused_name_does_not_tell_the_address_behind_it() -> None:
    guard = TargetGuard(lookup=Names(db_corp_example=[["10.11.12.13"]]))
    with pytest.raises(TargetRefused) as refusal:
        await guard.check_resolved("https://db.corp.example/")
    assert "10.11.12.13" not in str(refusal.value)


async def test_a_name_with_public_addresses_is_let_through() -> None:
    guard = TargetGuard(lookup=Names(crm_example=[["8.8.8.8", "2606:4700::1111"]]))
    await guard.check_resolved("https://crm.example/")
    assert await guard.resolve("crm.example", 443) == ["8.8.8.8", "2606:4700::1111"]


async def test_only_allowed_addresses_of_a_mixture_are_used() -> None:
    names = Names(localhost=[["::1", "127.0.0.1"]])
    guard = TargetGuard([ip_network("127.0.0.0/8")], lookup=names)
    assert await guard.resolve("localhost", 80) == ["127.0.0.1"]


async def test_a_name_that_cannot_be_looked_up_may_be_saved() -> None:
    guard = TargetGuard(lookup=Names(new_example=[OSError("no such name")]))
    await guard.check_resolved("https://new.example/")


async def test_a_name_server_that_never_answers_does_not_hold_up_saving() -> None:
    async def never(_host: str, _port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    async with asyncio.timeout(30):
        await TargetGuard(lookup=never).check_resolved("https://slow.example/")


async def test_an_address_is_not_looked_up() -> None:
    names = Names()
    await TargetGuard(lookup=names).check_resolved("https://8.8.8.8/")
    assert names.lookups == []


async def test_the_operating_system_resolves_localhost_to_a_refused_address() -> None:
    with pytest.raises(TargetRefused):
        await GUARD.resolve("localhost", 80)
