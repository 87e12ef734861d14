//! Text in, text out in which what is personal is replaced by masks. Pure functions.
//!
//! ```text
//!  "call +1 202-555-0123, or jane@example.org" ──> "call [phone:9c41…], or [email:3f9a…]"
//! ```
//!
//! The suffix of a mask is a keyed hash of the value in its normal form, so equal values
//! still join, in whatever format they were written, and nobody without the key can try
//! values out. Detection is by the formats' public definitions: lengths, ranges and check
//! digits; what has none of these needs a word before it that says what it is.
//!
//! Invariants:
//! - One pass over the text. A text without a digit and without `@` is not looked at
//!   further; every value of every kind has one of them.
//! - Masking what is masked changes nothing.
//! - Values do not overlap. Where two kinds claim the same place the first of
//!   [`Kind::ALL`] wins; at equal kinds the one that starts first.

mod checks;
mod context;
mod digits;
mod find;
mod fold;
mod internet;
mod json;
mod mask;
mod numbers;
mod phone;
mod url;

use std::borrow::Cow;

pub use find::{Found, find};
pub use mask::without_masks;

/// Of the rules and of the form of masks: another one finds or writes other things.
pub const VERSION: &str = "pii 1";

/// What is found, in falling precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Email,
    Iban,
    Ipv6,
    Mac,
    Ipv4,
    EsNif,
    Card,
    UsSsn,
    InAadhaar,
    PlPesel,
    UkNhs,
    Phone,
}

impl Kind {
    pub const ALL: [Self; 12] = [
        Self::Email,
        Self::Iban,
        Self::Ipv6,
        Self::Mac,
        Self::Ipv4,
        Self::EsNif,
        Self::Card,
        Self::UsSsn,
        Self::InAadhaar,
        Self::PlPesel,
        Self::UkNhs,
        Self::Phone,
    ];

    /// In masks, settings and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Iban => "iban",
            Self::Ipv6 => "ipv6",
            Self::Mac => "mac",
            Self::Ipv4 => "ipv4",
            Self::EsNif => "es_nif",
            Self::Card => "card",
            Self::UsSsn => "us_ssn",
            Self::InAadhaar => "in_aadhaar",
            Self::PlPesel => "pl_pesel",
            Self::UkNhs => "uk_nhs",
            Self::Phone => "phone",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds(u16);

impl Kinds {
    pub const ALL: Self = Self((1 << Kind::ALL.len()) - 1);
    pub const NONE: Self = Self(0);

    pub fn contains(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u16) != 0
    }
}

impl FromIterator<Kind> for Kinds {
    fn from_iter<I: IntoIterator<Item = Kind>>(kinds: I) -> Self {
        Self(kinds.into_iter().fold(0, |set, kind| set | (1 << kind as u16)))
    }
}

/// How many values were masked, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u32; Kind::ALL.len()]);

impl Counts {
    pub fn of(&self, kind: Kind) -> u32 {
        self.0[kind as usize]
    }

    pub fn total(&self) -> u32 {
        self.0.iter().sum()
    }

    /// The kinds that were found, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, u32)> {
        Kind::ALL.into_iter().map(|kind| (kind, self.of(kind))).filter(|(_, n)| *n > 0)
    }

    fn add(&mut self, kind: Kind) {
        self.0[kind as usize] = self.0[kind as usize].saturating_add(1);
    }
}

/// Replaces what is personal by masks.
#[derive(Clone)]
pub struct Redactor {
    key: [u8; 32],
    kinds: Kinds,
    /// Platforms on which an account looks like an email address.
    account_platforms: Vec<String>,
}

impl std::fmt::Debug for Redactor {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redactor").field("kinds", &self.kinds).finish_non_exhaustive()
    }
}

impl Redactor {
    /// `secret` may have any length; who knows it can try out which value a mask stands for.
    pub fn new(secret: &[u8], kinds: Kinds, account_platforms: Vec<String>) -> Self {
        // The context is fixed for ever: with another one, nothing joins with what was masked before.
        let key = blake3::derive_key("tidings 2026-11-24 masks of personal values", secret);
        Self { key, kinds, account_platforms }
    }

    /// One that finds nothing.
    pub fn off() -> Self {
        Self { key: [0; 32], kinds: Kinds::NONE, account_platforms: Vec::new() }
    }

    pub fn is_off(&self) -> bool {
        self.kinds == Kinds::NONE
    }

    /// With the same key, for fewer kinds.
    pub fn restricted_to(&self, kinds: Kinds) -> Self {
        Self { kinds: Kinds(self.kinds.0 & kinds.0), ..self.clone() }
    }

    /// The text with masks; `counts` gains what was masked.
    pub fn mask<'t>(&self, text: &'t str, counts: &mut Counts) -> Cow<'t, str> {
        mask::mask(text, &self.key, self.kinds, counts)
    }

    /// A web address: only kinds that no path, id or signature has by chance, also where
    /// they are percent-encoded.
    pub fn mask_url<'t>(&self, address: &'t str, counts: &mut Counts) -> Cow<'t, str> {
        url::mask(address, &self.key, self.kinds, counts)
    }

    /// A name that is shown, on its platform: an account that looks like an email address
    /// is a public handle there.
    pub fn mask_name<'t>(&self, platform: &str, name: &'t str, counts: &mut Counts) -> Cow<'t, str> {
        let kinds = match self.account_platforms.iter().any(|p| p == platform) {
            true => Kinds(self.kinds.0 & !(1 << Kind::Email as u16)),
            false => self.kinds,
        };
        mask::mask(name, &self.key, kinds, counts)
    }

    /// The id of an author or a channel: email addresses only, since ids are numbers of
    /// any form.
    pub fn mask_id<'t>(&self, platform: &str, id: &'t str, counts: &mut Counts) -> Cow<'t, str> {
        let is_account = self.account_platforms.iter().any(|p| p == platform);
        if is_account || !self.kinds.contains(Kind::Email) || !id.contains('@') {
            return Cow::Borrowed(id);
        }
        mask::mask(id, &self.key, [Kind::Email].into_iter().collect(), counts)
    }

    /// The bytes of a record that may be JSON, as text: values in strings, names and
    /// numbers of JSON, and in the plain text of anything else.
    pub fn mask_record(&self, bytes: &[u8], counts: &mut Counts) -> String {
        json::mask(bytes, self, counts)
    }
}

#[cfg(test)]
mod tests;
