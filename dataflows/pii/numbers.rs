//! Numbers of accounts and persons, each by the definition of its format.

use super::Kind;
use super::checks;
use super::digits::{Cluster, Gap};
use super::find::{Match, Scan, is_word};

fn text_of(digits: &[u8]) -> String {
    digits.iter().map(|d| (b'0' + d) as char).collect()
}

fn matched(kind: Kind, cluster: &Cluster, groups: usize) -> Match {
    let value = text_of(cluster.digits(groups));
    Match { kind, start: cluster.start(), end: cluster.end(groups), value }
}

/// How many groups a number has that is written in one of these shapes, or in one piece.
fn shaped(scan: &Scan<'_>, cluster: &Cluster, shapes: &[&[u8]], gaps: &[Gap]) -> Option<usize> {
    let shape = shapes.iter().find(|shape| {
        gaps.iter().any(|gap| cluster.has_shape(shape, *gap)) && cluster.ends(scan, shape.len())
    })?;
    (!cluster.continues(scan)).then_some(shape.len())
}

const SPACE_OR_DASH: &[Gap] = &[Gap::Space, Gap::Dash];

/// Payment cards: prefix and length of a network, and Luhn. Nineteen digits in one piece are
/// far more often the id of something.
pub(super) fn card(scan: &Scan<'_>, cluster: &Cluster) -> Option<Match> {
    const SHAPES: &[&[u8]] = &[&[16], &[15], &[14], &[4, 4, 4, 4, 3], &[4, 4, 4, 4], &[4, 6, 5], &[4, 6, 4]];
    if !scan.wants(Kind::Card) {
        return None;
    }
    let groups = shaped(scan, cluster, SHAPES, SPACE_OR_DASH)?;
    let digits = cluster.digits(groups);
    (checks::card_network(digits) && checks::luhn(digits)).then(|| matched(Kind::Card, cluster, groups))
}

/// US social security numbers: 3-2-4 with dashes; otherwise the words around must say so.
pub(super) fn ssn(scan: &Scan<'_>, cluster: &Cluster) -> Option<Match> {
    if !scan.wants(Kind::UsSsn) {
        return None;
    }
    let groups = shaped(scan, cluster, &[&[3, 2, 4], &[9]], SPACE_OR_DASH)?;
    if !checks::ssn(cluster.digits(groups)) {
        return None;
    }
    let found = matched(Kind::UsSsn, cluster, groups);
    let is_plain = groups == 3 && cluster.gaps(3) == [Gap::Dash, Gap::Dash];
    let context = scan.context(found.start, found.end);
    (context.says_ssn() || (is_plain && !context.says_something_else())).then_some(found)
}

/// Aadhaar: twelve digits, the first 2 to 9, the last of Verhoeff; in one piece only where
/// it is named.
pub(super) fn aadhaar(scan: &Scan<'_>, cluster: &Cluster) -> Option<Match> {
    if !scan.wants(Kind::InAadhaar) {
        return None;
    }
    let groups = shaped(scan, cluster, &[&[4, 4, 4], &[12]], SPACE_OR_DASH)?;
    let digits = cluster.digits(groups);
    let are_years = digits.chunks(4).all(|group| matches!(group, [1, 9, ..] | [2, 0, ..]));
    if digits[0] < 2 || are_years || !checks::verhoeff(digits) {
        return None;
    }
    let found = matched(Kind::InAadhaar, cluster, groups);
    let context = scan.context(found.start, found.end);
    (context.says_aadhaar() || (groups == 3 && !context.says_something_else())).then_some(found)
}

/// PESEL: eleven digits with a date of birth and a check digit.
pub(super) fn pesel(scan: &Scan<'_>, cluster: &Cluster) -> Option<Match> {
    if !scan.wants(Kind::PlPesel) {
        return None;
    }
    let groups = shaped(scan, cluster, &[&[11]], SPACE_OR_DASH)?;
    if !checks::pesel(cluster.digits(groups)) {
        return None;
    }
    scan.unless_something_else(matched(Kind::PlPesel, cluster, groups))
}

/// NHS numbers: 3-3-4 with spaces; with dashes or in one piece only where it is named.
pub(super) fn nhs(scan: &Scan<'_>, cluster: &Cluster) -> Option<Match> {
    if !scan.wants(Kind::UkNhs) {
        return None;
    }
    let groups = shaped(scan, cluster, &[&[3, 3, 4], &[10]], SPACE_OR_DASH)?;
    let digits = cluster.digits(groups);
    if !checks::nhs(digits) || digits.iter().all(|d| *d == digits[0]) {
        return None;
    }
    let found = matched(Kind::UkNhs, cluster, groups);
    let context = scan.context(found.start, found.end);
    let is_spaced = groups == 3 && cluster.gaps(3)[0] == Gap::Space;
    let plain = is_spaced && !context.says_something_else() && !context.says_phone();
    (context.says_nhs() || plain).then_some(found)
}

/// Spanish DNI, NIF of minors and foreigners (K, L, M) and NIE: digits and their letter.
pub(super) fn nif(scan: &Scan<'_>, anchor: usize) -> Option<Match> {
    if !scan.wants(Kind::EsNif) {
        return None;
    }
    let bytes = scan.bytes();
    let (start, prefix) = nif_prefix(scan, anchor)?;
    let (mut number, mut length, mut at, mut dots) = (0u32, 0, anchor, 0);
    while length < 9 {
        match scan.after(at) {
            digit @ b'0'..=b'9' => {
                number = number * 10 + u32::from(digit - b'0');
                length += 1;
            }
            b'.' if prefix.is_none() && matches!(length, 2 | 5) && scan.after(at + 1).is_ascii_digit() => {
                dots += 1;
            }
            _ => break,
        }
        at += 1;
    }
    let wanted = if prefix.is_some() { 7 } else { 8 };
    if length != wanted || !matches!(dots, 0 | 2) {
        return None;
    }
    let gap = matches!(scan.after(at), b'-' | b' ');
    let letter = scan.after(at + usize::from(gap));
    let end = at + usize::from(gap) + 1;
    if !letter.is_ascii_alphabetic() || is_word(scan.after(end)) {
        return None;
    }
    let whole = match prefix {
        Some(prefix @ b'X'..=b'Z') => number + u32::from(prefix - b'X') * 10_000_000,
        _ => number,
    };
    if checks::nif_letter(whole) != letter.to_ascii_uppercase() || number == 0 {
        return None;
    }
    let is_plain = !bytes[start..end].iter().any(|b| b.is_ascii_lowercase() || *b == b' ');
    let context = scan.context(start, end);
    if !context.says_nif() && (!is_plain || context.says_something_else()) {
        return None;
    }
    let value: Vec<u8> = bytes[start..end].iter().filter(|b| b.is_ascii_alphanumeric()).copied().collect();
    let value = String::from_utf8_lossy(&value).to_uppercase();
    Some(Match { kind: Kind::EsNif, start, end, value })
}

/// Where a NIF or NIE whose first digit is at the anchor begins, and its letter if it has one.
fn nif_prefix(scan: &Scan<'_>, anchor: usize) -> Option<(usize, Option<u8>)> {
    let is_prefix = |byte: u8| matches!(byte.to_ascii_uppercase(), b'X' | b'Y' | b'Z' | b'K' | b'L' | b'M');
    let before = scan.before(anchor);
    let letter_at = match before {
        b'-' if anchor >= scan.floor + 2 && is_prefix(scan.before(anchor - 1)) => anchor - 2,
        letter if is_prefix(letter) => anchor - 1,
        b'.' | b',' | b'-' | b'/' | b'#' | b'$' => return None,
        byte if is_word(byte) => return None,
        _ => return Some((anchor, None)),
    };
    let earlier = scan.before(letter_at);
    if is_word(earlier) || earlier == b'-' {
        return None;
    }
    Some((letter_at, Some(scan.bytes()[letter_at].to_ascii_uppercase())))
}

/// IBAN: the length of its country and 1 modulo 97; in one piece or in fours.
pub(super) fn iban(scan: &Scan<'_>, anchor: usize) -> Option<Match> {
    if !scan.wants(Kind::Iban) || anchor < scan.floor + 2 {
        return None;
    }
    let bytes = scan.bytes();
    let start = anchor - 2;
    let head = &bytes[start..anchor];
    let is_lower = head[0].is_ascii_lowercase();
    let same_case =
        |b: &u8| b.is_ascii_digit() || if is_lower { b.is_ascii_lowercase() } else { b.is_ascii_uppercase() };
    if !head.iter().all(|b| b.is_ascii_alphabetic() && same_case(b)) || is_word(scan.before(start)) {
        return None;
    }
    let country = [head[0].to_ascii_uppercase(), head[1].to_ascii_uppercase()];
    let length = checks::iban_length(country)?;
    let (mut value, mut at) = (Vec::with_capacity(length), start);
    while value.len() < length {
        let byte = scan.after(at);
        if same_case(&byte) {
            value.push(byte.to_ascii_uppercase());
        } else if !(matches!(byte, b' ' | b'-')
            && value.len().is_multiple_of(4)
            && same_case(&scan.after(at + 1)))
        {
            return None;
        }
        at += 1;
    }
    let has_checks = value[2..4].iter().all(u8::is_ascii_digit);
    if !has_checks || is_word(scan.after(at)) || !checks::mod_97(&value) {
        return None;
    }
    Some(Match { kind: Kind::Iban, start, end: at, value: String::from_utf8_lossy(&value).into_owned() })
}
