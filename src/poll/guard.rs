//! Which addresses a fetch may reach: none that only this network can.
//!
//! A feed's address comes from a settings file, but its redirects and what its
//! name resolves to come from strangers. So the check is made on addresses, at
//! the two places where one is chosen: by our own resolver for names, and on the
//! URL of every hop for literal addresses (which a client never resolves).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Why a URL may not be fetched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Blocked {
    #[error("{0}: only http and https are fetched")]
    Scheme(String),
    #[error("the URL has no host")]
    NoHost,
    #[error("{0} is not a public address ([poll] private_hosts permits it)")]
    Address(IpAddr),
    #[error("{0} resolves to no public address ([poll] private_hosts permits it)")]
    Name(String),
}

/// What may be reached: public addresses, and what the settings add.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// Everything, public or not.
    pub allow_private: bool,
    /// Hosts (names, or addresses as a URL writes them) that may be anywhere.
    pub private_hosts: Arc<[String]>,
}

impl Guard {
    /// Checks what can be known before resolving: scheme and literal addresses.
    pub fn check(&self, url: &Url) -> Result<(), Blocked> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Blocked::Scheme(url.scheme().to_string()));
        }
        let address = match url.host() {
            Some(Host::Domain(_)) => return Ok(()),
            Some(Host::Ipv4(v4)) => IpAddr::V4(v4),
            Some(Host::Ipv6(v6)) => IpAddr::V6(v6),
            None => return Err(Blocked::NoHost),
        };
        let free = self.is_free(url.host_str().unwrap_or_default());
        if free || is_public(address) { Ok(()) } else { Err(Blocked::Address(address)) }
    }

    fn is_free(&self, host: &str) -> bool {
        self.allow_private || self.private_hosts.iter().any(|h| h.eq_ignore_ascii_case(host))
    }
}

/// Resolves with the system's resolver and hands out what may be reached, so that
/// a name cannot mean another address when it is connected to than when it was checked.
impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_string();
        let free = self.is_free(&host);
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            let none_found = found.is_empty();
            let usable: Vec<SocketAddr> = found.into_iter().filter(|a| free || is_public(a.ip())).collect();
            if usable.is_empty() && !none_found {
                return Err(Blocked::Name(host).into());
            }
            let addresses: Addrs = Box::new(usable.into_iter());
            Ok(addresses)
        })
    }
}

/// Whether the address is one that anybody on the internet could mean.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(a: Ipv4Addr) -> bool {
    let [first, second, third, _] = a.octets();
    let reserved = a.is_unspecified()
        || a.is_loopback()
        || a.is_private()
        || a.is_link_local()
        || a.is_multicast()
        || a.is_broadcast()
        || a.is_documentation()
        || first == 0
        // Carrier-grade NAT, 100.64.0.0/10.
        || (first == 100 && (64..128).contains(&second))
        // IETF protocol assignments, 192.0.0.0/24, and the old 6to4 relays, 192.88.99.0/24.
        || (first == 192 && second == 0 && third == 0)
        || (first == 192 && second == 88 && third == 99)
        // Benchmarks, 198.18.0.0/15.
        || (first == 198 && (18..20).contains(&second))
        // Reserved for ever, 240.0.0.0/4.
        || first >= 240;
    !reserved
}

fn is_public_v6(a: Ipv6Addr) -> bool {
    // Addresses that carry an IPv4 address are as public as that one.
    if let Some(v4) = a.to_ipv4_mapped() {
        return is_public_v4(v4);
    }
    let s = a.segments();
    let [.., o12, o13, o14, o15] = a.octets();
    if s[0] == 0x0064 && s[1] == 0xff9b {
        // NAT64: the well-known prefix carries an address, the local one is local.
        return s[2..6] == [0; 4] && is_public_v4(Ipv4Addr::new(o12, o13, o14, o15));
    }
    if s[0] == 0x2002 {
        let [_, _, a2, a3, a4, a5, ..] = a.octets();
        return is_public_v4(Ipv4Addr::new(a2, a3, a4, a5));
    }
    // Global unicast is 2000::/3; in it Teredo and documentation lead nowhere public.
    let global = s[0] & 0xe000 == 0x2000;
    let teredo = s[0] == 0x2001 && s[1] == 0;
    let documentation = (s[0] == 0x2001 && s[1] == 0x0db8) || s[0] & 0xfff0 == 0x3ff0;
    global && !teredo && !documentation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_pass() {
        let refused = [
            "0.0.0.0",
            "127.0.0.1",
            "127.8.8.8",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "fe80::1",
            "fc00::1",
            "fd12:3456::1",
            "ff02::1",
            "2001:db8::1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001::1",
            "fec0::1",
            "3fff::1",
        ];
        for text in refused {
            assert!(!is_public(text.parse().unwrap()), "{text} must be refused");
        }
        let passed = [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.32.0.1",
            "198.20.0.1",
            "2606:4700:4700::1111",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::",
        ];
        for text in passed {
            assert!(is_public(text.parse().unwrap()), "{text} must pass");
        }
    }

    #[test]
    fn literal_addresses_are_read_as_a_browser_reads_them() {
        let refused = [
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f.0.0.1/",
            "http://[::1]/",
            "http://0/",
            "http://[::ffff:7f00:1]:8080/x",
            "ftp://example.com/",
            "file:///etc/passwd",
        ];
        let check = |guard: &Guard, text: &str| guard.check(&Url::parse(text).unwrap());
        let strict = Guard::default();
        for text in refused {
            assert!(check(&strict, text).is_err(), "{text} must be refused");
        }
        assert!(check(&strict, "https://example.com/feed").is_ok());
        let open = Guard { allow_private: true, ..Guard::default() };
        assert!(check(&open, "http://127.0.0.1/").is_ok());
        assert!(check(&open, "file:///etc/passwd").is_err());
        let one = Guard { private_hosts: ["10.0.0.7".to_string()].into(), ..Guard::default() };
        assert!(check(&one, "http://10.0.0.7:1200/x").is_ok());
        assert!(check(&one, "http://10.0.0.8:1200/x").is_err());
    }
}
