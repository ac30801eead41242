"""Which addresses are let in; lookups are injected, nothing is connected."""

import ipaddress
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vectorflow.adapters._addresses import (
    Lookup,
    Policy,
    check_store_address,
    hook_policy,
    is_public,
    look_up,
)
from vectorflow.errors import ForbiddenAddress, InvalidSetting, Unavailable

PUBLIC = "93.184.215.14"
PUBLIC_6 = "2606:2800:21f:cb07:6820:80da:af6b:8b2c"
MARK = "in-no-message"

PRIVATE = [
    "0.0.0.0",  # noqa: S104 - nothing is bound
    "10.1.2.3",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.168.0.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
]
PRIVATE_6 = [
    "::",
    "::1",
    "::7f00:1",
    "::ffff:0:7f00:1",
    "64:ff9b:1::1",
    "64:ff9b:1:a00:0:100::",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]
ODD = [
    "http://127.1/",
    "http://127.0.1/",
    "http://2130706433/",
    "http://017700000001/",
    "http://0177.0.0.1/",
    "http://0x7f.0.0.1/",
    "http://0x7f000001/",
    "http://0x7f.1/",
    "http://127.0.0.1./",
    "http://127.0.0.1../",
    "http://127.0.0.256/",
    "http://127.0.0.1.1/",
    "http://%31%32%37.0.0.1/",
    "http://[fe80::1%25eth0]/",
    "http://[fe80::1%eth0]/",
    "http://[::1",
    "http://[127.0.0.1]/",
    "http://\uff11\uff12\uff17.0.0.1/",
    "http://127\u30020\u30020\u30021/",
]
NO_ADDRESS = [
    "",
    "example.com",
    "//example.com/",
    "https:example.com",
    "https:///path",
    "https://",
    "https://example.com:0/",
    "https://example.com:99999/",
    "https://example.com:4a3/",
    "https://user:password@example.com/",
    "https://user@example.com/",
    "https://@example.com/",
    "https://example.com./",
    "https://.example.com/",
    "https://a..b/",
    "https://-a.example/",
    "https://exa mple.com/",
    "https://example.com/a b",
    "https://example.com/\r\nX: y",
    "https://example.com\t/",
    "https://example.com\\@10.0.0.1/",
    "https://example.com%00.evil.example/",
    "https://a,b/",
    "https://" + "a" * 64 + ".example/",
    "https://" + "a." * 127 + "example/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com:443/",
    "ws://example.com/",
    "javascript:alert(1)",
]


def forms_of(address: ipaddress.IPv4Address) -> list[str]:
    """IPv6 addresses that hold an IPv4 address."""
    number = int(address)
    return [
        str(ipaddress.IPv6Address(value))
        for value in (
            number,  # v4-compatible
            0xFFFF << 32 | number,  # v4-mapped
            0xFFFF << 48 | number,  # v4-translated
            0x2002 << 112 | number << 80 | 1,  # 6to4
            0x2001_0000 << 96 | (number ^ 0xFFFF_FFFF),  # Teredo, the client
            0x2001_0000 << 96 | number << 64,  # Teredo, the server
            0x64_FF9B << 96 | number,  # NAT64
            0x64_FF9B_0001 << 80 | number,  # NAT64 of one's own
        )
    ]


def answering(*addresses: str) -> Lookup:
    async def lookup(_host: str, _port: int) -> Sequence[str]:
        return addresses

    return lookup


async def missing(_host: str, _port: int) -> Sequence[str]:
    raise OSError


async def judged(policy: Policy, url: str, address: str) -> Sequence[str]:
    target = policy.target(url)
    return await look_up(target.raw_host or "", target.port or 0, policy, answering(address))


def test_public_addresses_are_public() -> None:
    addresses = [PUBLIC, PUBLIC_6, "1.1.1.1", "223.255.255.254", "2001:4860:4860::8888"]

    assert all(is_public(ipaddress.ip_address(address)) for address in addresses)


@pytest.mark.parametrize("address", PRIVATE + PRIVATE_6)
def test_addresses_of_nobody_or_somebody_else_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PRIVATE)
def test_no_form_of_a_private_address_is_public(address: str) -> None:
    forms = forms_of(ipaddress.IPv4Address(address))

    assert [form for form in forms if is_public(ipaddress.ip_address(form))] == []


def test_public_addresses_may_be_reached_through_nat64_and_mapped() -> None:
    number = int(ipaddress.IPv4Address(PUBLIC))

    assert is_public(ipaddress.IPv6Address(0x64_FF9B << 96 | number))
    assert is_public(ipaddress.IPv6Address(0xFFFF << 32 | number))


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6))
def test_what_is_not_global_is_never_public(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    known = not address.is_global or address.is_multicast or address.is_reserved
    translated = address in ipaddress.ip_network("64:ff9b::/96") or (
        isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped
    )

    if known and not translated:
        assert not is_public(address)


@given(st.ip_addresses(v=4))
@example(ipaddress.IPv4Address("169.254.169.254"))
def test_a_form_is_public_only_if_its_address_is(address: ipaddress.IPv4Address) -> None:
    public = is_public(address)

    for form in forms_of(address):
        assert public or not is_public(ipaddress.ip_address(form))


@given(st.ip_addresses(v=4).filter(lambda address: not is_public(address)), st.data())
def test_no_url_of_a_private_address_is_let_in(
    address: ipaddress.IPv4Address, data: st.DataObject
) -> None:
    hosts = [str(address), str(int(address)), hex(int(address))]
    hosts += [f"[{form}]" for form in forms_of(address)]
    host = data.draw(st.sampled_from(hosts))

    with pytest.raises(ForbiddenAddress):
        hook_policy([]).target(f"https://{host}/")


@pytest.mark.parametrize("url", ODD + [url.replace("http:", "HTTPS:") for url in ODD])
def test_odd_forms_of_addresses_are_refused_even_where_all_is_let_in(url: str) -> None:
    policy = hook_policy(["0.0.0.0/0", "::/0"])

    try:
        target = policy.target(url)
    except ForbiddenAddress:
        return
    # IDNA turned it into plain ASCII, which is judged as such.
    assert target.raw_host == "127.0.0.1"
    with pytest.raises(ForbiddenAddress):
        hook_policy([]).target(url)


@pytest.mark.parametrize("url", NO_ADDRESS)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ForbiddenAddress, match="not an address that can be called"):
        hook_policy(["example.com", "*.example", "a"]).target(url)


@pytest.mark.parametrize("url", [f"{url}?token={MARK}" for url in NO_ADDRESS + ODD])
def test_refusals_show_nothing_of_the_url(url: str) -> None:
    with pytest.raises(ForbiddenAddress) as caught:
        hook_policy([], offline=True).target(url)

    assert MARK not in str(caught.value)


def test_a_public_https_url_is_let_in_as_it_was_written() -> None:
    url = "HTTPS://Bucket.S3.example.com/a%2Fb+c%20d?X-Sig=a%2Bb%2f&empty=&y=%7E#part"

    target = hook_policy([]).target(url)

    assert str(target) == url.replace("HTTPS://Bucket.S3", "https://bucket.s3").removesuffix(
        "#part"
    )


def test_names_of_other_alphabets_are_called_by_their_ascii_form() -> None:
    assert (
        hook_policy([]).target("https://b\u00fccher.example/").raw_host == "xn--bcher-kva.example"
    )


@pytest.mark.parametrize(
    "url",
    [
        f"http://{PUBLIC}/",
        f"http://{PUBLIC}:443/",
        f"https://{PUBLIC}:8443/",
        f"https://{PUBLIC}:80/",
        f"http://[{PUBLIC_6}]/",
        "http://example.com:443/",
    ],
)
def test_public_addresses_are_called_with_tls_on_its_port_only(url: str) -> None:
    with pytest.raises(ForbiddenAddress, match="VECTORFLOW_HOOKS__ALLOW"):
        hook_policy([]).target(url)


@pytest.mark.parametrize("port", [80, 8443, 22])
async def test_names_of_public_addresses_are_called_on_the_port_of_tls_only(port: int) -> None:
    with pytest.raises(ForbiddenAddress, match=f"port {port}"):
        await look_up("example.com", port, hook_policy([]), answering(PUBLIC))


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        [PUBLIC, "10.0.0.1"],
        ["10.0.0.1", PUBLIC],
        [PUBLIC_6, "::1"],
        [PUBLIC, "::ffff:127.0.0.1"],
        [PUBLIC, "64:ff9b::a00:1"],
        [PUBLIC, "fe80::1%eth0"],
        [f"{PUBLIC_6}%eth0"],
        [PUBLIC, "not an address"],
    ],
)
async def test_one_bad_address_refuses_the_name(addresses: list[str]) -> None:
    with pytest.raises(ForbiddenAddress, match=r"'rebind\.example' may not be called"):
        await look_up("rebind.example", 443, hook_policy([]), answering(*addresses))


async def test_refusals_do_not_say_what_a_name_stands_for() -> None:
    with pytest.raises(ForbiddenAddress) as caught:
        await look_up("inner.example", 443, hook_policy([]), answering("10.20.30.40"))

    assert "10.20" not in str(caught.value)


async def test_names_of_public_addresses_are_let_in() -> None:
    found = await look_up("example.com", 443, hook_policy([]), answering(PUBLIC, PUBLIC_6))

    assert found == (PUBLIC, PUBLIC_6)


@pytest.mark.parametrize("lookup", [missing, answering()])
async def test_names_without_an_address_are_tried_again(lookup: Lookup) -> None:
    with pytest.raises(Unavailable, match=r"'gone\.example' cannot be found"):
        await look_up("gone.example", 443, hook_policy([]), lookup)


@pytest.mark.parametrize(
    ("entry", "url", "address"),
    [
        ("hooks", "http://hooks/", "10.0.0.1"),
        ("HOOKS", "http://hooks:8080/", "127.0.0.1"),
        ("hooks:8080", "http://hooks:8080/", "10.0.0.1"),
        ("my_hooks", "http://my_hooks:8080/", "10.0.0.1"),
        ("*.corp.example", "http://a.b.corp.example:1/", "192.168.0.1"),
        ("*.corp.example:90", "http://a.corp.example:90/", "192.168.0.1"),
        ("10.0.0.0/8", "http://hooks:8080/", "10.0.0.1"),
        ("10.0.0.0/8", "http://10.0.0.1:8080/", "10.0.0.1"),
        ("10.0.0.1", "http://10.0.0.1/", "10.0.0.1"),
        ("10.0.0.1:81", "http://10.0.0.1:81/", "10.0.0.1"),
        ("10.0.0.0/8", "http://[::ffff:10.0.0.1]/", "::ffff:10.0.0.1"),
        ("::1", "http://[::1]:8080/", "::1"),
        ("[::1]:8080", "http://[::1]:8080/", "::1"),
        ("fd00::/8", "http://[fd00::5]/", "fd00::5"),
        ("169.254.169.254", "http://169.254.169.254/", "169.254.169.254"),
        ("metadata", "http://metadata/", "169.254.169.254"),
        ("b\u00fccher.example", "http://xn--bcher-kva.example/", "10.0.0.1"),
    ],
)
async def test_an_entry_lets_in(entry: str, url: str, address: str) -> None:
    assert list(await judged(hook_policy([entry]), url, address))


@pytest.mark.parametrize(
    ("entry", "url", "address"),
    [
        ("hooks", "http://hooks.evil.example/", "10.0.0.1"),
        ("hooks:8080", "http://hooks:8081/", "10.0.0.1"),
        ("*.corp.example", "http://corp.example/", "10.0.0.1"),
        ("*.corp.example", "http://evilcorp.example/", "10.0.0.1"),
        ("10.0.0.0/8", "http://hooks/", "11.0.0.1"),
        ("10.0.0.1:81", "http://10.0.0.1:82/", "10.0.0.1"),
        ("0.0.0.0/0", "http://hooks/", "169.254.169.254"),
        ("169.254.0.0/16", "http://169.254.169.254/", "169.254.169.254"),
        ("fd00::/8", "http://[fd00:ec2::254]/", "fd00:ec2::254"),
        ("*.google.internal", "http://metadata.google.internal/", "169.254.169.254"),
        ("*.azure.example", "https://wire.azure.example/", "168.63.129.16"),
    ],
)
async def test_an_entry_does_not_let_in(entry: str, url: str, address: str) -> None:
    with pytest.raises(ForbiddenAddress):
        await judged(hook_policy([entry]), url, address)


@pytest.mark.parametrize(
    "entry",
    [
        "http://hooks",
        "hooks:port",
        "10.0.0.1/8",
        "a b",
        "*",
        "*.",
        "user@host",
        "127.1",
        ":80",
        "a:0",
        "a:65536",
    ],
)
def test_an_entry_that_is_no_host_is_a_wrong_setting(entry: str) -> None:
    with pytest.raises(InvalidSetting, match="entry 2 of VECTORFLOW_HOOKS__ALLOW is no host"):
        hook_policy(["fine", entry])


@pytest.mark.parametrize("url", ["https://example.com/", f"https://{PUBLIC}/", "http://inner/"])
def test_offline_nothing_but_this_machine_is_called(url: str) -> None:
    policy = hook_policy(["inner", "0.0.0.0/0"], offline=True)

    with pytest.raises(ForbiddenAddress, match="VECTORFLOW_OFFLINE"):
        policy.target(url)


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "127.0.0.1", "[::1]"])
def test_offline_this_machine_is_called_if_it_is_let_in(host: str) -> None:
    policy = hook_policy(["localhost", "*.localhost", "127.0.0.1", "::1"], offline=True)

    assert policy.target(f"http://{host}:8080/").port == 8080


async def test_offline_a_local_name_of_another_machine_is_refused() -> None:
    policy = hook_policy(["a.localhost"], offline=True)

    with pytest.raises(ForbiddenAddress, match="VECTORFLOW_OFFLINE"):
        await look_up("a.localhost", 80, policy, answering(PUBLIC))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "[::1]", "db.localhost", "own"])
async def test_a_store_may_be_on_this_machine_or_the_operators_own(host: str) -> None:
    lookup = answering("10.0.0.9" if host == "own" else "127.0.0.1")

    assert await check_store_address(host, 6333, allow=[], own="own:6333", lookup=lookup)


async def test_a_store_may_be_at_a_public_address_and_any_port() -> None:
    found = await check_store_address("db.example", 5432, allow=[], lookup=answering(PUBLIC))

    assert list(found) == [PUBLIC]


@pytest.mark.parametrize("address", sorted({*PRIVATE, *PRIVATE_6} - {"::1"}))
async def test_a_store_elsewhere_inside_must_be_let_in(address: str) -> None:
    if ipaddress.ip_address(address).is_loopback:
        return
    for host in ("db.example", address):
        with pytest.raises(ForbiddenAddress, match="VECTORFLOW_STORES__ALLOW"):
            await check_store_address(host, 6333, allow=[], lookup=answering(address))


@pytest.mark.parametrize("entry", ["db.example", "db.example:6333", "*.example", "10.0.0.0/8"])
async def test_a_store_that_is_let_in_may_be_used(entry: str) -> None:
    lookup = answering("10.0.0.1")

    assert await check_store_address("DB.example", 6333, allow=[entry], lookup=lookup)


@pytest.mark.parametrize("host", ["", "a/b", "user@host", "127.1", "/var/run/postgresql", "a b"])
async def test_what_is_no_host_is_no_store(host: str) -> None:
    with pytest.raises(ForbiddenAddress, match="not the host of a store"):
        await check_store_address(host, 6333, allow=[], lookup=answering(PUBLIC))


async def test_offline_a_store_must_be_on_this_machine() -> None:
    with pytest.raises(ForbiddenAddress, match="VECTORFLOW_OFFLINE"):
        await check_store_address("own", 1, allow=[], own="own", offline=True)
