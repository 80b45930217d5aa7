"""Which addresses count as public: each form that a private one may have is walked."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from app.host.public_addresses import is_never_meant, is_public

PUBLIC = ("1.1.1.1", "8.8.8.8", "99.255.255.255", "172.32.0.1", "192.169.0.1", "223.255.255.255",
          "2606:4700:4700::1111", "2a00:1450::1", "64:ff9b::808:808", "::ffff:8.8.8.8")  # fmt: skip
PRIVATE = ("10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "172.16.0.1", "172.31.255.255",
           "192.168.1.1", "192.0.2.1", "198.18.0.1", "198.51.100.7", "203.0.113.9", "240.0.0.1", "::1",
           "fc00::1", "fd12::1", "fec0::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
           "64:ff9b:1::a00:1", "::7f00:1", "2002:7f00:1::1", "2002:a00:1::", "2001:0:53aa:64c::1",
           "2001:db8::1", "3fff::1", "100::1")  # fmt: skip
NEVER = ("0.0.0.0", "0.1.2.3", "169.254.0.1", "169.254.169.254", "224.0.0.1", "239.255.255.250",
         "255.255.255.255", "::", "fe80::1", "ff02::1", "fd00:ec2::254", "100.100.100.200", "168.63.129.16",
         "192.0.0.192", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe")  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(ip_address(address))
    assert not is_never_meant(ip_address(address))


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_not_in_whatever_form_but_may_be_meant(address: str) -> None:
    assert not is_public(ip_address(address))
    assert not is_never_meant(ip_address(address))


@pytest.mark.parametrize("address", NEVER)
def test_what_a_cloud_tells_a_machine_and_what_is_no_host_is_never_meant(address: str) -> None:
    assert not is_public(ip_address(address))
    assert is_never_meant(ip_address(address))
