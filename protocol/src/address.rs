//! Which network addresses are public: what a caller names is fetched or told only where anybody could reach it.
//!
//! Judge the address that is dialled, not the name: a name may resolve to anything, and to something else a moment later.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Tells whether an address belongs to the public internet: no loopback, private, link-local, shared, multicast or reserved one, and no
/// IPv6 address that carries an IPv4 address of its own.
pub const fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// What <https://www.iana.org/assignments/iana-ipv4-special-registry> does not set aside.
const fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let shared = a == 100 && b & 0xc0 == 64;
    let protocol_assignments = a == 192 && b == 0 && c == 0;
    let relay_6to4 = a == 192 && b == 88 && c == 99;
    let benchmarking = a == 198 && b & 0xfe == 18;
    !(a == 0
        || a >= 224
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_documentation()
        || shared
        || protocol_assignments
        || relay_6to4
        || benchmarking)
}

/// Global unicast (`2000::/3`), without what is set aside in it or carries an IPv4 address that was not judged: Teredo and other protocol
/// assignments (`2001::/23`), 6to4 (`2002::/16`), documentation. Mapped (`::ffff:0:0/96`) and NAT64 addresses (`64:ff9b::/96`,
/// `64:ff9b:1::/48`) lie outside.
const fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let assignments = first == 0x2001 && second < 0x200;
    let documentation = (first == 0x2001 && second == 0xdb8) || (first == 0x3fff && second < 0x1000);
    first & 0xe000 == 0x2000 && !assignments && !documentation && first != 0x2002
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(text: &str) -> bool {
        is_public(text.parse().unwrap())
    }

    #[test]
    fn what_is_set_aside_is_not_public() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "100::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001:2::1",
            "2001:db8::1",
            "3fff::1",
            "5f00::1",
        ] {
            assert!(!judged(address), "{address}");
        }
    }

    #[test]
    fn an_ipv6_address_that_carries_an_ipv4_address_is_not_public() {
        for address in [
            "::ffff:127.0.0.1",
            "::ffff:93.184.215.14",
            "::127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b::93.184.215.14",
            "64:ff9b:1::10.0.0.1",
            "64:ff9b:1:ffff::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        ] {
            assert!(!judged(address), "{address}");
        }
    }

    #[test]
    fn the_rest_is_public_up_to_the_edges() {
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "93.184.215.14",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2001:200::1",
            "2003::1",
            "2606:4700::1111",
            "2a00:1450:4001:80b::200e",
        ] {
            assert!(judged(address), "{address}");
        }
    }
}
