//! Addresses of mail and of machines.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::Kind;
use super::find::{Match, Scan, is_word};

/// Bytes of the part before `@` and of the domain (RFC 5321).
const LOCAL_MAX: usize = 64;
const DOMAIN_MAX: usize = 253;

/// Email: a local part and a domain with a top-level name. `@user@host` is a public
/// handle, `package@1.2.3` and `name@2x.png` are files.
pub(super) fn email(scan: &Scan<'_>, anchor: usize) -> Option<Match> {
    if !scan.has_at || !scan.wants(Kind::Email) {
        return None;
    }
    let bytes = scan.bytes();
    let at = match bytes[anchor] {
        b'@' => anchor,
        _ => {
            let ahead = bytes[anchor..].iter().take(LOCAL_MAX + 1).position(|b| !is_local(*b))?;
            Some(anchor + ahead).filter(|at| bytes[*at] == b'@')?
        }
    };
    let run =
        bytes[scan.floor.min(at)..at].iter().rev().take(LOCAL_MAX + 1).take_while(|b| is_local(**b)).count();
    // A longer one is none.
    if run > LOCAL_MAX || scan.before(at - run) == b'@' {
        return None;
    }
    let marks =
        bytes[at - run..at].iter().take_while(|b| matches!(b, b'.' | b'\'' | b'-' | b'+' | b'%')).count();
    let start = at - run + marks;
    if start == at || bytes[at - 1] == b'.' {
        return None;
    }
    let length = domain(&bytes[at + 1..])?;
    let end = at + 1 + length;
    let name = &bytes[start..at];
    let is_remote_path =
        scan.after(end) == b':' && matches!(scan.after(end + 1), b'a'..=b'z' | b'A'..=b'Z' | b'/' | b'~');
    if (is_remote_path && matches!(name, b"git" | b"hg" | b"svn")) || scan.after(end) == b'@' {
        return None;
    }
    let value = String::from_utf8_lossy(&bytes[start..end]).to_lowercase();
    Some(Match { kind: Kind::Email, start, end, value })
}

fn is_local(byte: u8) -> bool {
    is_word(byte) || matches!(byte, b'.' | b'+' | b'-' | b'%' | b'\'')
}

/// Length of the domain that `bytes` begins with.
fn domain(bytes: &[u8]) -> Option<usize> {
    let in_label = |b: &u8| b.is_ascii_alphanumeric() || *b == b'-' || *b >= 0x80;
    let run = bytes.iter().take(DOMAIN_MAX + 1).take_while(|b| in_label(b) || **b == b'.').count();
    if run > DOMAIN_MAX || bytes.get(run) == Some(&b'_') {
        return None;
    }
    let mut end = bytes[..run].windows(2).position(|two| two == b"..").unwrap_or(run);
    while end > 0 && matches!(bytes[end - 1], b'.' | b'-') {
        end -= 1;
    }
    let labels = || bytes[..end].split(|b| *b == b'.');
    let last = labels().next_back()?;
    let is_top = last.len() >= 2
        && (last.starts_with(b"xn--") || last.iter().all(|b| b.is_ascii_alphabetic() || *b >= 0x80));
    let well_formed =
        labels().all(|l| !l.is_empty() && l.len() <= 63 && l[0] != b'-' && l[l.len() - 1] != b'-');
    let count = labels().count();
    let is_number = |label: &[u8]| label.iter().all(u8::is_ascii_digit);
    let is_version = count >= 3 && labels().take(2).all(is_number);
    const FILES: &[&[u8]] = &[b"png", b"jpg", b"jpeg", b"gif", b"webp", b"svg", b"avif"];
    let is_file = FILES.iter().any(|file| last.eq_ignore_ascii_case(file));
    (count >= 2 && is_top && well_formed && !is_version && !is_file).then_some(end)
}

/// IPv4: four octets without leading zeros; not loopback, nobody or broadcast, and not a
/// version where the words before say so or where every part is small.
pub(super) fn ipv4(scan: &Scan<'_>, anchor: usize) -> Option<Match> {
    if !scan.wants(Kind::Ipv4) {
        return None;
    }
    let before = scan.before(anchor);
    let earlier = if anchor > scan.floor { scan.before(anchor - 1) } else { b' ' };
    if is_word(before) || before == b'.' || before == b',' || (before == b'-' && is_word(earlier)) {
        return None;
    }
    // "Chrome/120.0.0.0", but not "http://192.0.2.1" or "10.0.0.1/192.0.2.1".
    if before == b'/' && (earlier.is_ascii_alphabetic()) {
        return None;
    }
    let bytes = &scan.bytes()[anchor..];
    let length = bytes.iter().take(16).take_while(|b| b.is_ascii_digit() || **b == b'.').count();
    let length = if bytes[length - 1] == b'.' { length - 1 } else { length };
    let address: Ipv4Addr = std::str::from_utf8(&bytes[..length]).ok()?.parse().ok()?;
    let (end, octets) = (anchor + length, address.octets());
    let (next, then) = (scan.after(end), scan.after(end + 1));
    let goes_on = is_word(next) || (matches!(next, b'.' | b'-') && is_word(then));
    if goes_on || address.is_loopback() || octets[0] == 0 || address.is_broadcast() {
        return None;
    }
    let is_reached =
        (next == b':' || next == b'/') && then.is_ascii_digit() || matches!(before, b'/' | b'@' | b'[');
    let context = scan.context(anchor, end);
    let is_small = octets.iter().all(|octet| *octet < 20);
    if !is_reached && !context.says_address() && (context.says_version() || is_small) {
        return None;
    }
    Some(Match { kind: Kind::Ipv4, start: anchor, end, value: address.to_string() })
}

/// IPv6: whatever the standard reads as one and no time, path or fingerprint is.
pub(super) fn ipv6(scan: &Scan<'_>, anchor: usize) -> Option<Match> {
    // Eight groups of four, or with an IPv4 address at the end.
    const LENGTH_MAX: usize = 45;
    if !scan.wants(Kind::Ipv6) {
        return None;
    }
    let bytes = scan.bytes();
    let in_address = |b: &u8| b.is_ascii_hexdigit() || *b == b':';
    let head =
        bytes[scan.floor..anchor].iter().rev().take(LENGTH_MAX + 1).take_while(|b| in_address(b)).count();
    let tail =
        bytes[anchor..].iter().take(LENGTH_MAX + 1).take_while(|b| in_address(b) || **b == b'.').count();
    let (mut start, mut end) = (anchor - head, anchor + tail);
    if bytes[start..].starts_with(b":") && !bytes[start..].starts_with(b"::") {
        start += 1;
    }
    while end > start
        && (bytes[end - 1] == b'.' || (bytes[end - 1] == b':' && !bytes[..end].ends_with(b"::")))
    {
        end -= 1;
    }
    let written = bytes.get(start..end).filter(|w| (4..=LENGTH_MAX).contains(&w.len()))?;
    if written.iter().filter(|b| **b == b':').count() < 2
        || is_word(scan.before(start))
        || is_word(scan.after(end))
    {
        return None;
    }
    let address: Ipv6Addr = std::str::from_utf8(written).ok()?.parse().ok()?;
    let groups = || written.split(|b| *b == b':').filter(|group| !group.is_empty());
    // Eight pairs are a fingerprint or the name of a disk; "a::b" is a path in a program.
    let is_wide = groups().any(|group| group.len() > 2);
    if address.is_loopback() || address.is_unspecified() || groups().count() < 2 || !is_wide {
        return None;
    }
    Some(Match { kind: Kind::Ipv6, start, end, value: address.to_string() })
}

/// MAC: six pairs with `:` or `-`, or three fours with dots; not broadcast, not nobody.
pub(super) fn mac(scan: &Scan<'_>, anchor: usize) -> Option<Match> {
    if !scan.wants(Kind::Mac) {
        return None;
    }
    let bytes = scan.bytes();
    let near = &bytes[anchor.saturating_sub(4)..bytes.len().min(anchor + 5)];
    if !near.iter().any(|b| matches!(b, b':' | b'-' | b'.')) {
        return None;
    }
    let is_hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    for (width, groups, separators) in [(2, 6, &b":-"[..]), (4, 3, &b"."[..])] {
        // The first digit may stand anywhere in it.
        let length = width * groups + groups - 1;
        for back in 0..length.min(anchor - scan.floor + 1) {
            let start = anchor - back;
            let separator = scan.after(start + width);
            if !separators.contains(&separator) || bytes.len() < start + length {
                continue;
            }
            let fits = (0..length).all(|i| match (i + 1) % (width + 1) {
                0 => bytes[start + i] == separator,
                _ => is_hex(start + i),
            });
            let end = start + length;
            let goes_on = |at: u8| is_word(at) || at == separator;
            if !fits
                || goes_on(scan.before(start))
                || is_word(scan.after(end))
                || (scan.after(end) == separator && is_hex(end + 1))
            {
                continue;
            }
            let value: Vec<u8> = bytes[start..end]
                .iter()
                .filter(|b| b.is_ascii_hexdigit())
                .map(u8::to_ascii_lowercase)
                .collect();
            let letters = value.iter().any(u8::is_ascii_alphabetic);
            // Six pairs of digits with dashes are an account or a date.
            if value.iter().all(|b| *b == b'0')
                || value.iter().all(|b| *b == b'f')
                || (!letters && separator != b':')
            {
                return None;
            }
            let value = String::from_utf8_lossy(&value).into_owned();
            return Some(Match { kind: Kind::Mac, start, end, value });
        }
    }
    None
}
