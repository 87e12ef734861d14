//! Telephone numbers: international ones by their country code, national ones by forms
//! that only telephone numbers have, or by a word before them that says so.
//!
//! The normal form is the international one where the form tells the country, so that
//! `(202) 555-0123` and `+1 202 555 0123` join; else the digits as they were dialled.

use super::Kind;
use super::checks;
use super::context::Context;
use super::digits::{Cluster, Gap};
use super::find::{Match, Scan, is_word};

/// Digits of a number of E.164, country code included, that is taken for one.
const DIGITS: std::ops::RangeInclusive<usize> = 8..=15;

pub(super) fn phone(scan: &Scan<'_>, cluster: &Cluster) -> Option<Match> {
    if !scan.wants(Kind::Phone) || cluster.digits(cluster.count()).len() < *DIGITS.start() {
        return None;
    }
    let before = scan.before(cluster.start());
    let plus = match before {
        b'+' => Some(cluster.start() - 1),
        b'(' if cluster.start() >= scan.floor + 2 && scan.before(cluster.start() - 1) == b'+' => {
            Some(cluster.start() - 2)
        }
        _ => None,
    };
    if let Some(start) = plus {
        // "4.10.0+2.12.1", "a+44": a sum or a version.
        if is_word(scan.before(start)) {
            return None;
        }
        return international(scan, cluster, 0).map(|found| Match { start, ..found });
    }
    let context = scan.context(cluster.start(), cluster.end(1));
    let says_phone = context.says_phone();
    if context.says_something_else_last() || (context.says_something_else() && !says_phone) {
        return None;
    }
    let found = exit_code(scan, cluster, says_phone)
        .or_else(|| north_american(scan, cluster, says_phone))
        .or_else(|| trunk_zero(scan, cluster, says_phone))
        .or_else(|| by_form(scan, cluster))
        .or_else(|| named(scan, cluster, &context))?;
    // The parenthesis before an area code belongs to the number.
    let opened = before == b'(' && scan.bytes()[cluster.start()..found.end].contains(&b')');
    Some(Match { start: found.start - usize::from(opened), ..found })
}

fn matched(cluster: &Cluster, groups: usize, prefix: &str, digits: &[u8]) -> Match {
    let mut value = prefix.to_string();
    value.extend(digits.iter().map(|d| (b'0' + d) as char));
    Match { kind: Kind::Phone, start: cluster.start(), end: cluster.end(groups), value }
}

/// The digits after `+`, or after an exit code of `skip` digits: a country code and as many
/// digits as its numbers have.
fn international(scan: &Scan<'_>, cluster: &Cluster, skip: usize) -> Option<Match> {
    let all = cluster.digits(cluster.count()).get(skip..)?;
    let code = checks::country_code(all)?;
    let lengths = lengths(&all[..code]);
    // The longest first: what follows a number with a space may belong to it.
    (1..=cluster.count()).rev().find_map(|groups| {
        let digits = cluster.digits(groups).get(skip..)?;
        let digits = without_trunk_zero(scan, cluster, digits, code);
        let subscriber = digits.get(code..)?;
        // "+255959.999" and "+262142-12-31".
        let is_decimal_or_date = matches!(
            (&cluster.lengths()[..groups], cluster.gaps(groups)),
            (_, [Gap::Dot]) | ([4..=9, 2, 2], [Gap::Dash, Gap::Dash])
        );
        let is_right = lengths.contains(&digits.len())
            && DIGITS.contains(&digits.len())
            && subscriber.iter().any(|d| *d != 0)
            && !is_round(subscriber)
            && !is_decimal_or_date
            && (code != 1 || all[0] != 1 || checks::nanp(subscriber));
        (is_right && ends(scan, cluster, groups)).then(|| matched(cluster, groups, "+", &digits))
    })
}

/// Digits of the whole numbers of a country, code included; the limits of E.164 where
/// they vary.
fn lengths(code: &[u8]) -> std::ops::RangeInclusive<usize> {
    match code {
        [1] | [7] | [3, 3] | [3, 4] | [4, 8] | [6, 1] | [3, 1] => 11..=11,
        [4, 4] => 11..=12,
        [4, 9] | [4, 3] => 9..=14,
        [3, 9] => 10..=13,
        [4, 6] | [4, 1] | [3, 2] => 10..=12,
        [4, 5] | [4, 7] => 10..=10,
        [5, 5] => 12..=13,
        [9, 1] => 12..=12,
        [8, 6] => 11..=13,
        [8, 1] | [8, 2] => 10..=13,
        _ => 9..=13,
    }
}

/// `+44 (0)20 …`: the zero is for calls within the country.
fn without_trunk_zero(scan: &Scan<'_>, cluster: &Cluster, digits: &[u8], code: usize) -> Vec<u8> {
    let mut digits = digits.to_vec();
    let written = &scan.bytes()[cluster.start()..cluster.end(cluster.count())];
    let parenthesised = written.windows(3).position(|three| three == b"(0)");
    if parenthesised.is_some_and(|at| at <= code + 4) && digits.get(code) == Some(&0) {
        digits.remove(code);
    }
    digits
}

/// Amounts of money and people end in many zeros.
fn is_round(digits: &[u8]) -> bool {
    digits.iter().rev().take_while(|d| **d == 0).count() >= 6
}

fn ends(scan: &Scan<'_>, cluster: &Cluster, groups: usize) -> bool {
    cluster.ends(scan, groups)
}

/// `00` and `011` instead of `+`: in groups, or named.
fn exit_code(scan: &Scan<'_>, cluster: &Cluster, says_phone: bool) -> Option<Match> {
    let digits = cluster.digits(cluster.count());
    let skip = match digits {
        [0, 0, ..] => 2,
        [0, 1, 1, ..] if cluster.lengths()[0] == 3 => 3,
        _ => return None,
    };
    if cluster.continues(scan) || !(says_phone || cluster.count() >= 3) {
        return None;
    }
    let found = international(scan, cluster, skip)?;
    (found.value.len() > 10).then_some(found)
}

/// North American numbers: 3-3-4 with an area code and an exchange that may be.
fn north_american(scan: &Scan<'_>, cluster: &Cluster, says_phone: bool) -> Option<Match> {
    let country = usize::from(cluster.lengths().first() == Some(&1) && cluster.digits(1) == [1]);
    let groups = country + 3;
    let shape = cluster.lengths().get(country..)?;
    if says_phone && shape == [10] && country == 0 && ends(scan, cluster, 1) {
        let digits = cluster.digits(1);
        return checks::nanp(digits).then(|| matched(cluster, 1, "+1", digits));
    }
    if !shape.starts_with(&[3, 3, 4]) || !ends(scan, cluster, groups) || cluster.continues(scan) {
        return None;
    }
    let gaps = cluster.gaps(groups);
    let (area, exchange) = (gaps[country], gaps[country + 1]);
    let is_written = matches!(area, Gap::Dash | Gap::Dot | Gap::Paren)
        && matches!((area, exchange), (Gap::Paren, _) | (Gap::Dash, Gap::Dash) | (Gap::Dot, Gap::Dot));
    let is_spaced = area == Gap::Space && matches!(exchange, Gap::Space | Gap::Dash);
    let digits = &cluster.digits(groups)[country..];
    let is_plain = is_written || (is_spaced && (says_phone || exchange == Gap::Dash || country == 1));
    (is_plain && checks::nanp(digits)).then(|| matched(cluster, groups, "+1", digits))
}

/// Numbers with a trunk zero: 9 to 12 digits in groups, no date and no series of numbers.
fn trunk_zero(scan: &Scan<'_>, cluster: &Cluster, says_phone: bool) -> Option<Match> {
    let lengths = cluster.lengths();
    let first = cluster.digits(1);
    if first[0] != 0 || first.get(1).is_none_or(|d| *d == 0) || is_date(cluster) || cluster.continues(scan) {
        return None;
    }
    // Lengths by how common they are; the rare ones only where they are named.
    [11, 10, 9, 12].into_iter().find_map(|wanted| {
        let groups = (1..=cluster.count()).find(|groups| cluster.digits(*groups).len() == wanted)?;
        // Thousands, and postal codes of the US.
        let is_no_nine = wanted == 9 && matches!(lengths[..groups], [3, 3, 3] | [5, 4]);
        let is_rare = groups == 1 || wanted == 12 || is_no_nine;
        let digits = cluster.digits(groups);
        let is_pairs = lengths[..groups].iter().all(|n| *n == 2);
        let has_parts = lengths[..groups].iter().all(|n| *n >= 2);
        let dotted = cluster.gaps(groups).contains(&Gap::Dot) && !is_pairs && lengths[0] < 3;
        let wrong = !has_parts
            || is_round(digits)
            || dotted
            || (is_pairs && (is_ascending(digits) || more_pairs(cluster, groups)));
        ((says_phone || !(is_rare || wrong)) && has_parts && ends(scan, cluster, groups))
            .then(|| matched(cluster, groups, "", digits))
    })
}

/// Day, month and year in either order, with the same sign between or none.
fn is_date(cluster: &Cluster) -> bool {
    let digits = cluster.digits(cluster.count());
    let gaps = cluster.gaps(3);
    let is_even = gaps.iter().all(|gap| *gap == gaps[0] && *gap != Gap::Paren);
    let number =
        |at: usize, n: usize| digits.iter().skip(at).take(n).fold(0u32, |sum, d| sum * 10 + u32::from(*d));
    let is_year = |at: usize| (1900..2100).contains(&number(at, 4));
    match cluster.lengths() {
        [2, 2, 4, ..] if is_even => number(0, 2) <= 31 && number(2, 2) <= 31,
        [4, 2, 2, ..] if is_even => is_year(0) && number(4, 2) <= 12 && number(6, 2) <= 31,
        [8, ..] => is_year(0) && number(4, 2) <= 12 && number(6, 2) <= 31,
        _ => false,
    }
}

/// Drawn numbers are written in order; telephone numbers are not.
fn is_ascending(pairs: &[u8]) -> bool {
    let numbers: Vec<u8> = pairs.chunks(2).map(|two| two.iter().fold(0, |n, d| n * 10 + d)).collect();
    numbers.windows(2).all(|two| two[0] < two[1])
}

fn more_pairs(cluster: &Cluster, groups: usize) -> bool {
    cluster.count() > groups && cluster.lengths()[groups] <= 2
}

/// Forms of single countries: Brazil, Russia, China, India.
fn by_form(scan: &Scan<'_>, cluster: &Cluster) -> Option<Match> {
    use Gap::{Dash, Paren, Space};
    if cluster.continues(scan) {
        return None;
    }
    let found = |groups: usize, prefix: &str, skip: usize| {
        ends(scan, cluster, groups).then(|| matched(cluster, groups, prefix, &cluster.digits(groups)[skip..]))
    };
    let lengths = cluster.lengths();
    let opened = scan.before(cluster.start()) == b'(';
    let area = cluster.digits(1);
    match (lengths, cluster.gaps(5.min(cluster.count()))) {
        ([2, 4 | 5, 4, ..], [Paren, Dash, ..]) if opened && area[0] > 0 && area[1] > 0 => found(3, "+55", 0),
        ([1, 3, 3, 2, 2, ..], [Paren, Paren, Dash | Space, Dash | Space] | [Dash, Dash, Dash, Dash])
            if area == [8] =>
        {
            found(5, "+7", 1)
        }
        ([3, 4, 4, ..], [Space, Space, ..] | [Dash, Dash, ..]) if area[0] == 1 && area[1] >= 3 => {
            found(3, "+86", 0)
        }
        ([5, 5, ..], [Space | Dash, ..]) if area[0] >= 6 => found(2, "+91", 0),
        _ => None,
    }
}

/// Any number of 8 to 12 digits that a word before it calls one.
fn named(scan: &Scan<'_>, cluster: &Cluster, context: &Context) -> Option<Match> {
    if !context.says_phone() || is_date(cluster) || cluster.continues(scan) {
        return None;
    }
    let digits = cluster.digits(cluster.count());
    (1..=cluster.count()).rev().find_map(|groups| {
        let digits = &digits[..cluster.digits(groups).len()];
        let is_right = (8..=12).contains(&digits.len()) && !is_round(digits);
        (is_right && ends(scan, cluster, groups)).then(|| matched(cluster, groups, "", digits))
    })
}
