"""Where a provider's address may lead."""

import pytest

from zango_ai.providers import addresses

LISTED = ("http://localhost:11434/v1", "https://llm.corp.example")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fd00::1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "168.63.129.16",
        "192.0.0.192",
        "fec0::1",
        "::7f00:1",
        "::ffff:0:7f00:1",
        "64:ff9b:1::7f00:1",
        "2001:470::5efe:a00:1",
        "192.88.99.1",
        "3fff::1",
        "5f00::1",
    ],
)
def test_the_hosts_network_is_inside_in_every_spelling(address):
    assert addresses.is_inside(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111"])
def test_the_internet_is_outside(address):
    assert not addresses.is_inside(address)


@pytest.mark.parametrize("url", ["http://localhost:11434/v1", "http://localhost:11434/v1/chat/completions"])
def test_what_is_below_a_listed_prefix_is_allowed(url):
    assert addresses.is_listed(url, LISTED)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:11435/v1",
        "http://localhost/v1",
        "https://localhost:11434/v1",
        "http://localhost:11434/v2",
        "http://localhost:11434/v10",
        "http://localhost:11434/v1/../admin",
        "http://localhost:11434/v1/%2e%2e/admin",
        "http://localhost:11434/v1/%252e%252e/admin",
        "http://localhost:11434/v1/..;/admin",
        "http://localhost:11434/v1/..%5cadmin",
        "http://localhost:99999/v1",
        "http://localhost:11434.evil.example/v1",
        "http://evil.example@localhost.evil.example:11434/v1",
        "https://llm.corp.example.evil.example/",
        "https://llm.corp.example:8443/",
    ],
)
def test_a_neighbour_of_a_listed_prefix_is_not(url):
    assert not addresses.is_listed(url, LISTED)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8000",
        "http://127.0.0.1:9200/v1",
        "http://[::1]/v1",
        "http://metadata.google.internal/",
        "http://printer.local/",
        "http://2130706433/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "https:///v1",
        "http://[",
        "http://[x]/",
        "http://\u2100.com",
        "https://example.com:99999/v1",
        "https://exa mple.com/v1",
        "https://user:pass@example.com/v1",
        "https://example.com/v1?key=1",
    ],
)
def test_an_address_that_cannot_be_used_is_told_as_it_is_written(url):
    assert addresses.problem_of(url, LISTED)


@pytest.mark.parametrize("url", ["https://api.openai.com/v1", "http://localhost:11434/v1", "https://8.8.8.8/v1"])
def test_an_address_that_can_be_used_has_no_problem(url):
    assert addresses.problem_of(url, LISTED) is None


def test_a_refusal_says_what_is_allowed():
    allowed = ("http://localhost:8000/v1",)
    assert "allows http://localhost:8000/v1." in str(addresses.problem_of("http://127.0.0.1:8000/v1", allowed))
    assert "allows no address." in str(addresses.problem_of("http://127.0.0.1:8000/v1", ()))
