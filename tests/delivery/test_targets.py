"""Webhooks reach public addresses only, however the target is written."""

import asyncio
from collections.abc import Sequence
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flowkick.delivery.targets import TargetGuard, TargetRefused, parse_target

GUARD = TargetGuard()
LOOPBACK = TargetGuard([ip_network("127.0.0.0/8")])

FORBIDDEN_ADDRESSES = [
    # unspecified and "this network"
    "0.0.0.0",
    "0.1.2.3",
    "::",
    # loopback
    "127.0.0.1",
    "127.255.255.254",
    "::1",
    # private
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "fc00::1",
    "fdff::1",
    # link-local, site-local, zones
    "169.254.0.1",
    "fe80::1",
    "fe80::1%1",
    "2606:4700::1111%1",
    "fec0::1",
    # metadata services
    "169.254.169.254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "fd00:ec2::254",
    "fd20:ce::254",
    # shared, reserved, documentation, benchmarks
    "100.64.0.1",
    "100.127.255.255",
    "192.0.0.1",
    "192.0.0.8",
    "192.0.0.170",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "240.0.0.1",
    "254.1.2.3",
    "255.255.255.255",
    "100::1",
    "2001:db8::1",
    "3fff::1",
    "5f00::1",
    "4000::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    # multicast
    "224.0.0.1",
    "239.255.255.250",
    "ff02::1",
    "ff0e::1",
    # IPv4 inside IPv6, of private and of public addresses
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1",
    "::127.0.0.1",
    "::8.8.8.8",
    "64:ff9b::127.0.0.1",
    "64:ff9b::8.8.8.8",
    "64:ff9b:1::1",
    "2002:7f00:1::1",
    "2002:a00:1::",
    "2002:808:808::1",
    "2001:0:7f00:1::",
    "2001::1",
    "2606:4700::5efe:10.0.0.1",
    "2606:4700::200:5efe:10.0.0.1",
]

PUBLIC_ADDRESSES = [
    "8.8.8.8",
    "1.1.1.1",
    "9.9.9.9",
    "11.0.0.1",
    "100.63.255.255",
    "100.128.0.1",
    "126.255.255.255",
    "128.0.0.1",
    "169.253.0.1",
    "172.15.255.255",
    "172.32.0.1",
    "192.0.1.1",
    "192.167.0.1",
    "198.17.0.1",
    "198.20.0.1",
    "223.255.255.255",
    "2606:4700::1111",
    "2001:4860:4860::8888",
    "2a00:1450:4001::200e",
    "2400:cb00::1",
]

FORBIDDEN_URLS = [
    # IPv4 in decimal, octal, hexadecimal, short and mixed forms
    "http://2130706433/",
    "http://3232235521/",
    "http://017700000001/",
    "http://0177.0.0.1/",
    "http://0177.0.0.01/",
    "http://127.0.0.01/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0X7F.0x0.0x0.0x1/",
    "http://127.0.0.0x1/",
    "http://0x7f.1/",
    "http://127.1/",
    "http://127.0.1/",
    "http://10.1/",
    "http://0/",
    "http://0x/",
    "http://1/",
    "http://127.0.0.1./",
    "http://127.0.0.1.5/",
    "http://256.0.0.1/",
    "http://1.2.3.08/",
    "http://134744072/",  # 8.8.8.8, but nobody writes it so
    "http://example.123/",
    # IPv6 in long, upper-case and embedded forms
    "http://[::1]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[0000:0000:0000:0000:0000:0000:0000:0001]:8080/",
    "http://[::FFFF:7F00:1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[::]/",
    "http://[FD00:EC2::254]/",
    # zone ids
    "http://[fe80::1%eth0]/",
    "http://[fe80::1%25eth0]/",
    "http://[::1%25lo]/",
    "http://[2606:4700::1111%251]/",
    # brackets gone wrong
    "http://[::1/",
    "http://::1/",
    "http://[v1.fe80]/",
    "http://[127.0.0.1]/",
    "http://[example.com]/",
    "http://[::1].example.com/",
    "http://[::1]x:80/",
    # credentials
    "http://user@8.8.8.8/",
    "http://user:password@example.com/",
    "http://example.com@127.0.0.1/",
    "http://@example.com/",
    "http://:@example.com/",
    "http://example.com:80@127.0.0.1/",
    # names for this machine and for private networks
    "http://localhost/",
    "http://LOCALHOST:8080/",
    "http://localhost./",
    "http://app.localhost/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://printer.local/",
    "http://router.home.arpa/",
    # IDNA and look-alikes
    "http://１２７.０.０.１/",
    "http://127。0。0。1/",
    "http://127．0．0．1/",
    "http://127｡0｡0｡1/",
    "http://①②⑦.⓪.⓪.①/",
    "http://⑯.⑯.⑯.⑯/",
    "http://𝟏𝟐𝟕.𝟎.𝟎.𝟏/",
    "http://８.８.８.８/",
    "http://ｌｏｃａｌｈｏｓｔ/",
    "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/",
    "http://local\u00adhost/",
    "http://local\u200bhost/",
    "http://localho\u017ft/",
    "http://example。com/",
    "http://exa\u2024mple/",
    "http://example.com\uff0f@127.0.0.1/",
    # escapes, whitespace, control characters, backslashes
    "http://127%2e0%2e0%2e1/",
    "http://%31%32%37.0.0.1/",
    "http://%6c%6f%63%61%6c%68%6f%73%74/",
    "http://127.0.0.1%00.example.com/",
    "http://127.0.0.1\x00.example.com/",
    "http://example.com\t/",
    "http://exam\nple.com/",
    "http://example.com/\r\nX-Injected: 1",
    " http://example.com/",
    "http://example.com /",
    "http://example.com/a b",
    "http://example.com\\@127.0.0.1/",
    "http:\\\\127.0.0.1\\",
    "http://example.com/\x7f",
    "http://example.com/\ud800",
    "http://example.com/\u202e",
    # empty and broken hosts
    "http:///path",
    "http://",
    "http://:80/",
    "http://./",
    "http://../",
    "http://.example.com/",
    "http://a..example.com/",
    "http://-example.com/",
    "http://exa$mple.com/",
    "http://exa,mple.com/",
    "http://(127.0.0.1)/",
    "http://" + "a" * 64 + ".example.com/",
    "http://" + "a." * 127 + "example.com/",
    "http://xn--/",
    # ports
    "http://example.com:0/",
    "http://example.com:65536/",
    "http://example.com:-1/",
    "http://example.com:+80/",
    "http://example.com:8_0/",
    "http://example.com:８０/",
    "http://example.com:80:80/",
    "http://example.com:/",
    "http://example.com:http/",
    # fragments
    "http://example.com/#fragment",
    "http://example.com/#",
    "http://example.com#@127.0.0.1/",
    # other schemes, and none
    "",
    "example.com",
    "//example.com/",
    "/path",
    "http:example.com",
    "http:/example.com/",
    "https:///example.com",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "unix:///run/docker.sock",
    "javascript:alert(1)",
    "ws://example.com/",
    "http+unix://%2Frun%2Fdocker.sock/",
    "httpx://example.com/",
    # length
    "http://example.com/" + "a" * 2048,
]

PUBLIC_URLS = [
    "https://example.com",
    "https://example.com/",
    "HTTPS://Example.COM/Path",
    "http://example.com:8080/hook",
    "https://sub-domain.example.co.uk/a/b?c=d&e=%20f",
    "https://under_score.example.com/",
    "https://example.com./",
    "https://bücher.example/ä?ö=ü",
    "https://例え.テスト/",
    "https://faß.example/",
    "https://xn--bcher-kva.example/",
    "https://123.example.com/",
    "https://0x7f.example.com/",
    "https://localhost.example.com/",
    "https://notlocalhost/",
    "https://internal.example.com/",
    "https://example.com/@user?mail=a@b.example&x=[1]",
    "https://example.com?query",
    "http://8.8.8.8/",
    "http://1.1.1.1:8443/hook",
    "http://[2606:4700::1111]/",
    "http://[2606:4700:0:0::1111]:8443/hook",
    "https://example.com/" + "a" * 2028,
]


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
