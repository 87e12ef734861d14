//! Digits in groups: what a number on paper looks like, and whether it ends where a
//! rule says that it does.

use super::find::{Scan, is_word};

/// Groups of one number that are looked at.
const GROUPS_MAX: usize = 8;
/// Digits of one group; a longer one is no number of ours.
const GROUP_DIGITS_MAX: usize = 19;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    Space,
    Dash,
    Dot,
    Slash,
    /// With a parenthesis in it.
    Paren,
}

/// A run of groups of digits, from the one at an anchor to as many as may be one number.
pub(super) struct Cluster {
    starts: [usize; GROUPS_MAX],
    ends: [usize; GROUPS_MAX],
    lengths: [u8; GROUPS_MAX],
    gaps: [Gap; GROUPS_MAX],
    count: usize,
    digits: [u8; GROUPS_MAX * GROUP_DIGITS_MAX],
    /// Whether more digits follow the last group, past the limit.
    is_cut: bool,
}

impl Cluster {
    /// `None` where no number begins: within a word, a decimal, a path, an amount.
    pub fn at(scan: &Scan<'_>, anchor: usize) -> Option<Self> {
        if !begins(scan, anchor) {
            return None;
        }
        let mut cluster = Self {
            starts: [0; GROUPS_MAX],
            ends: [0; GROUPS_MAX],
            lengths: [0; GROUPS_MAX],
            gaps: [Gap::Space; GROUPS_MAX],
            count: 0,
            digits: [0; GROUPS_MAX * GROUP_DIGITS_MAX],
            is_cut: false,
        };
        let (mut at, mut filled) = (anchor, 0);
        loop {
            let rest = &scan.bytes()[at..];
            let length = rest.iter().take(GROUP_DIGITS_MAX + 1).take_while(|b| b.is_ascii_digit()).count();
            if length > GROUP_DIGITS_MAX || cluster.count == GROUPS_MAX {
                cluster.is_cut = true;
                break;
            }
            for (digit, byte) in cluster.digits[filled..].iter_mut().zip(&rest[..length]) {
                *digit = byte - b'0';
            }
            filled += length;
            cluster.starts[cluster.count] = at;
            cluster.ends[cluster.count] = at + length;
            cluster.lengths[cluster.count] = length as u8;
            cluster.count += 1;
            let Some((gap, width)) = gap(&rest[length..]) else { break };
            cluster.gaps[cluster.count - 1] = gap;
            at += length + width;
        }
        (cluster.count > 0).then_some(cluster)
    }

    pub fn start(&self) -> usize {
        self.starts[0]
    }

    /// End of the first `groups` groups.
    pub fn end(&self, groups: usize) -> usize {
        self.ends[groups - 1]
    }

    pub fn count(&self) -> usize {
        self.count
    }

    /// Lengths of the groups.
    pub fn lengths(&self) -> &[u8] {
        &self.lengths[..self.count]
    }

    /// The gaps between the first `groups` groups.
    pub fn gaps(&self, groups: usize) -> &[Gap] {
        &self.gaps[..groups.saturating_sub(1).min(GROUPS_MAX)]
    }

    /// The digits (0 to 9) of the first `groups` groups.
    pub fn digits(&self, groups: usize) -> &[u8] {
        &self.digits[..self.lengths[..groups].iter().map(|n| *n as usize).sum()]
    }

    /// Whether the groups begin with these lengths, with nothing but `gap` between.
    pub fn has_shape(&self, lengths: &[u8], gap: Gap) -> bool {
        self.lengths().starts_with(lengths) && self.gaps(lengths.len()).iter().all(|g| *g == gap)
    }

    /// Whether the number may end with its first `groups` groups: no further digits
    /// belong to it, no letter, no decimals, no time of day, no currency.
    pub fn ends(&self, scan: &Scan<'_>, groups: usize) -> bool {
        if groups < self.count || self.is_cut {
            let Some(gap) = self.gaps.get(groups - 1).filter(|_| groups < self.count) else { return false };
            let spaced = self.gaps(groups).contains(&Gap::Space) || groups == 1;
            return match gap {
                Gap::Space => !spaced || self.lengths[groups] < 3,
                Gap::Paren => self.after_is_space(scan, groups),
                Gap::Dash | Gap::Dot | Gap::Slash => false,
            };
        }
        let end = self.end(groups);
        let (next, then) = (scan.after(end), scan.after(end + 1));
        match next {
            b'.' | b',' | b':' | b'/' => !then.is_ascii_digit() || next == b'/',
            b'-' => !is_word(then),
            b' ' => then != b'$',
            b'$' | b'%' | b'@' | b'*' => false,
            // An extension.
            b'x' => then == b'.' || then.is_ascii_digit() || then == b't',
            next => !is_word(next),
        }
    }

    fn after_is_space(&self, scan: &Scan<'_>, groups: usize) -> bool {
        scan.after(self.end(groups)) == b' '
    }

    /// Digits just before, with one space between: the number may have begun there.
    pub fn continues(&self, scan: &Scan<'_>) -> bool {
        let start = self.start();
        let digits =
            |from: usize| (1..=3).all(|i| from >= scan.floor + i && scan.bytes()[from - i].is_ascii_digit());
        scan.before(start) == b' ' && digits(start - 1)
    }
}

/// Whether a number may begin at this digit.
fn begins(scan: &Scan<'_>, anchor: usize) -> bool {
    let before = scan.before(anchor);
    let earlier = if anchor > scan.floor { scan.before(anchor - 1) } else { super::fold::OTHER };
    match before {
        b'.' | b',' | b':' => !earlier.is_ascii_digit(),
        b'-' | b'*' => !is_word(earlier),
        b'/' => !is_word(earlier) && earlier != b'/',
        b'$' | b'#' | b'%' | b'@' | b'&' | b'\\' => false,
        b' ' => earlier != b'$' && earlier != b'#',
        _ => !is_word(before),
    }
}

/// What is between two groups of one number, and how many bytes it takes.
fn gap(bytes: &[u8]) -> Option<(Gap, usize)> {
    let width =
        bytes.iter().take(4).take_while(|b| matches!(b, b' ' | b'-' | b'.' | b'/' | b'(' | b')')).count();
    if !bytes.get(width)?.is_ascii_digit() {
        return None;
    }
    let gap = match &bytes[..width] {
        b" " => Gap::Space,
        b"-" => Gap::Dash,
        b"." => Gap::Dot,
        b"/" => Gap::Slash,
        b")" | b") " | b")-" | b"(" | b" (" | b"-(" | b") (" | b" / " => Gap::Paren,
        b" - " => return None,
        _ => return None,
    };
    Some((gap, width))
}
