//! Values and near-misses made here by the formats' rules, for no other eyes than the
//! test's: what the corpus, whose author also wrote the detector, cannot show.
//!
//! Check digits are found by trying all ten against the definition, or computed the way
//! the definition words it; nothing is shared with the detector.
//! It is long because every format has a recipe of its own.

use dataflows::pii::Kind;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tidings::eval::pii::Labelled;

/// Values of each kind, and as many near-misses where a kind has any.
pub const EACH: usize = 400;

pub struct Generator {
    rng: StdRng,
}

impl Generator {
    pub fn new(seed: u64) -> Self {
        Self { rng: StdRng::seed_from_u64(seed) }
    }

    /// Texts with one value each.
    pub fn values(&mut self, kind: Kind) -> Vec<Labelled> {
        (0..EACH).map(|_| self.value(kind)).collect()
    }

    fn value(&mut self, kind: Kind) -> Labelled {
        let value = match kind {
            Kind::Email => self.email(),
            Kind::Iban => self.iban(),
            Kind::Ipv6 => self.ipv6(),
            Kind::Mac => self.mac(),
            Kind::Ipv4 => self.ipv4(),
            Kind::EsNif => self.nif(),
            Kind::Card => self.card(),
            Kind::UsSsn => self.ssn(),
            Kind::InAadhaar => self.aadhaar(),
            Kind::PlPesel => self.pesel(),
            Kind::UkNhs => self.nhs(),
            Kind::Phone => self.phone(),
        };
        let (before, after) = self.frame(kind);
        let text = format!("{before}{value}{after}");
        let values = vec![(kind, before.len(), before.len() + value.len())];
        Labelled { class: "held out".to_string(), text, values }
    }

    /// Texts with nothing to find: values with another check digit, or out of their range.
    pub fn near_misses(&mut self, kind: Kind) -> Vec<Labelled> {
        (0..EACH).filter_map(|_| self.near_miss(kind)).collect()
    }

    fn near_miss(&mut self, kind: Kind) -> Option<Labelled> {
        let value = match kind {
            Kind::Iban => self.other_digit(Self::iban),
            Kind::Card => self.other_digit(Self::card),
            Kind::InAadhaar => self.other_digit(Self::aadhaar),
            Kind::PlPesel => self.other_digit(Self::pesel),
            Kind::UkNhs => self.other_digit(Self::nhs),
            Kind::EsNif => {
                let mut value = self.nif();
                let letter = value.pop()?;
                value.push(
                    ((letter.to_ascii_uppercase() as u8 - b'A' + self.rng.random_range(1..26)) % 26 + b'A')
                        as char,
                );
                value
            }
            Kind::UsSsn => {
                let area = *[0, 666, 900 + self.rng.random_range(0..100)].choose(&mut self.rng)?;
                format!(
                    "{area:03}-{:02}-{:04}",
                    self.rng.random_range(1..100),
                    self.rng.random_range(1..10_000)
                )
            }
            Kind::Ipv4 => {
                let mut octets: Vec<u32> = (0..4).map(|_| self.rng.random_range(20..256)).collect();
                octets[self.rng.random_range(0..4)] = self.rng.random_range(256..1_000);
                join(&octets, ".")
            }
            Kind::Ipv6 | Kind::Mac | Kind::Email => self.broken_address(kind),
            // Telephone numbers have no check digit.
            Kind::Phone => return None,
        };
        let text = format!("{value}.");
        Some(Labelled { class: format!("near {}", kind.name()), text, values: Vec::new() })
    }

    /// One digit of a value becomes another, which every check digit here detects.
    fn other_digit(&mut self, value: fn(&mut Self) -> String) -> String {
        let mut bytes = value(self).into_bytes();
        let places: Vec<usize> = (4..bytes.len()).filter(|i| bytes[*i].is_ascii_digit()).collect();
        let place = *places.choose(&mut self.rng).expect("has digits");
        bytes[place] = (bytes[place] - b'0' + self.rng.random_range(1..10)) % 10 + b'0';
        String::from_utf8(bytes).expect("ASCII")
    }

    fn broken_address(&mut self, kind: Kind) -> String {
        match kind {
            Kind::Email => {
                let broken =
                    ["jane@example", "jane@@example.org", "@example.org", "jane@example..org", "jane@1.2.3"];
                format!(
                    "{} {}",
                    broken.choose(&mut self.rng).expect("not empty"),
                    self.rng.random_range(0..99)
                )
            }
            Kind::Mac => {
                let pairs = if self.rng.random() { 5 } else { 7 };
                join(
                    &(0..pairs).map(|_| format!("{:02x}", self.rng.random_range(0..256))).collect::<Vec<_>>(),
                    ":",
                )
            }
            _ => {
                let groups = if self.rng.random() { 7 } else { 9 };
                join(
                    &(0..groups)
                        .map(|_| format!("{:x}", self.rng.random_range(4096..65_536)))
                        .collect::<Vec<_>>(),
                    ":",
                )
            }
        }
    }

    /// What stands around a value. Where a form alone says nothing, people name it.
    fn frame(&mut self, kind: Kind) -> (String, String) {
        let plain =
            ["", "here: ", "und zwar ", "(", "is it ", "→ ", "voilà ", "Write down ", "我的是", "это "];
        let named: &[&str] = match kind {
            Kind::Phone => &[
                "Tel. ",
                "phone ",
                "call ",
                "Telefon: ",
                "тел. ",
                "cell: ",
                "téléphone ",
                "móvil ",
                "my mobile is ",
            ],
            Kind::UsSsn => &["SSN ", "social security number: "],
            Kind::UkNhs => &["NHS ", "NHS number: "],
            Kind::InAadhaar => &["Aadhaar ", "आधार "],
            Kind::EsNif => &["DNI ", "NIF: "],
            _ => &plain,
        };
        let before = match self.rng.random_range(0..3) {
            0 => *plain.choose(&mut self.rng).expect("not empty"),
            _ => *named.choose(&mut self.rng).expect("not empty"),
        };
        let after = [".", "", " or not", ", thanks", ")", "!", " 😀", "。", "\nBye", "; ok"];
        (before.to_string(), after.choose(&mut self.rng).expect("not empty").to_string())
    }

    fn digits(&mut self, n: usize) -> String {
        (0..n).map(|_| self.rng.random_range(b'0'..=b'9') as char).collect()
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of.choose(&mut self.rng).expect("not empty")
    }

    fn email(&mut self) -> String {
        let first = self
            .one(&["ana", "li", "mo.k", "x_y", "info", "j-p", "o'neil", "Zoë", "team+eu", "42nd"])
            .to_string();
        let number =
            if self.rng.random() { self.rng.random_range(0..3_000).to_string() } else { String::new() };
        let host = self.one(&["mail", "post-office", "a1", "büro", "corp.intern", "163"]);
        let top = self.one(&["com", "org", "co.uk", "de", "museum", "io", "xn--p1ai", "com.br"]);
        format!("{first}{number}@{host}.{top}")
    }

    fn iban(&mut self) -> String {
        const FORMS: [(&str, &str); 10] = [
            ("DE", "nnnnnnnnnnnnnnnnnn"),
            ("GB", "aaaannnnnnnnnnnnnn"),
            ("FR", "nnnnnnnnnncccccccccccnn"),
            ("ES", "nnnnnnnnnnnnnnnnnnnn"),
            ("NL", "aaaannnnnnnnnn"),
            ("NO", "nnnnnnnnnnn"),
            ("IT", "annnnnnnnnncccccccccccc"),
            ("PL", "nnnnnnnnnnnnnnnnnnnnnnnn"),
            ("MT", "aaaannnnncccccccccccccccccc"),
            ("SA", "nncccccccccccccccccc"),
        ];
        let (country, form) = *FORMS.choose(&mut self.rng).expect("not empty");
        let account: String = form
            .chars()
            .map(|c| match (c, self.rng.random::<bool>()) {
                ('n', _) | ('c', true) => self.rng.random_range(b'0'..=b'9') as char,
                _ => self.rng.random_range(b'A'..=b'Z') as char,
            })
            .collect();
        let numeric: String = format!("{account}{country}00")
            .chars()
            .map(|c| c.to_digit(36).expect("alphanumeric").to_string())
            .collect();
        let check = 98 - numeric.bytes().fold(0u32, |rest, b| (rest * 10 + u32::from(b - b'0')) % 97);
        let iban = format!("{country}{check:02}{account}");
        let fours: Vec<String> =
            iban.as_bytes().chunks(4).map(|four| String::from_utf8_lossy(four).into_owned()).collect();
        if self.rng.random() { iban } else { fours.join(" ") }
    }

    fn ipv4(&mut self) -> String {
        join(
            &[
                self.rng.random_range(20..224),
                self.rng.random_range(0..256),
                self.rng.random_range(0..256),
                self.rng.random_range(0..256u32),
            ],
            ".",
        )
        .replace("127.", "128.")
    }

    fn ipv6(&mut self) -> String {
        let address = std::net::Ipv6Addr::from(
            (0x2001_0db8u128 << 96) | (self.rng.random::<u128>() >> self.rng.random_range(32..100)),
        );
        match self.rng.random_range(0..3) {
            0 => address.to_string(),
            1 => address.to_string().to_uppercase(),
            _ => join(&address.segments().map(|s| format!("{s:04x}")), ":"),
        }
    }

    fn mac(&mut self) -> String {
        let bytes: [u8; 6] = self.rng.random();
        let upper: bool = self.rng.random();
        let pairs = bytes.map(|b| format!("{b:02x}"));
        let text = match self.rng.random_range(0..3) {
            0 => pairs.join("-"),
            1 => format!("{}.{}.{}", pairs[..2].concat(), pairs[2..4].concat(), pairs[4..].concat()),
            _ => pairs.join(":"),
        };
        if upper { text.to_uppercase() } else { text }
    }

    fn nif(&mut self) -> String {
        const LETTERS: &[u8] = b"TRWAGMYFPDXBNJZSQVHLCKE";
        let letter = |number: u32| LETTERS[(number % 23) as usize] as char;
        match self.rng.random_range(0..3) {
            0 => {
                let (first, number) =
                    (self.rng.random_range(0..3u32), self.rng.random_range(1..10_000_000u32));
                let check = letter(first * 10_000_000 + number);
                format!("{}{number:07}{check}", ["X", "Y", "Z"][first as usize])
            }
            _ => {
                let number = self.rng.random_range(1..100_000_000u32);
                format!("{number:08}{}{}", self.one(&["", "-"]), letter(number))
            }
        }
    }

    fn card(&mut self) -> String {
        let (prefix, length) = *[
            ("4", 16),
            ("51", 16),
            ("55", 16),
            ("2221", 16),
            ("2720", 16),
            ("34", 15),
            ("37", 15),
            ("6011", 16),
            ("65", 16),
            ("36", 14),
            ("3589", 16),
            ("62", 16),
        ]
        .choose(&mut self.rng)
        .expect("not empty");
        let head = format!("{prefix}{}", self.digits(length - prefix.len() - 1));
        let card = with_check(&head, |digits| {
            let sum: u32 = digits
                .iter()
                .rev()
                .enumerate()
                .map(|(i, d)| if i % 2 == 1 { d * 2 / 10 + d * 2 % 10 } else { *d })
                .sum();
            sum.is_multiple_of(10)
        });
        let separator = self.one(&["", " ", "-"]);
        match length {
            16 => grouped(&card, &[4, 4, 4, 4], separator),
            15 => grouped(&card, &[4, 6, 5], separator),
            _ => grouped(&card, &[4, 6, 4], separator),
        }
    }

    fn ssn(&mut self) -> String {
        let area = loop {
            let area = self.rng.random_range(1..900);
            if area != 666 {
                break area;
            }
        };
        format!("{area:03}-{:02}-{:04}", self.rng.random_range(1..100), self.rng.random_range(1..10_000))
    }

    fn aadhaar(&mut self) -> String {
        let head = format!("{}{}", self.rng.random_range(2..10), self.digits(10));
        // Verhoeff by the corners of a pentagon: a digit turns it (0-4) or mirrors it (5-9).
        let moved =
            |digit: u32, corner: u32| if digit < 5 { (corner + digit) % 5 } else { (digit + 5 - corner) % 5 };
        const SWAP: [u32; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
        let aadhaar = with_check(&head, |digits| {
            (0..5).all(|corner| {
                digits.iter().enumerate().fold(corner, |at, (i, digit)| {
                    // The first digit acts first on a corner, so from the left.
                    let place = (digits.len() - 1 - i) % 8;
                    moved((0..place).fold(*digit, |d, _| SWAP[d as usize]), at)
                }) == corner
            })
        });
        let separator = self.one(&[" ", " ", "-"]);
        grouped(&aadhaar, &[4, 4, 4], separator)
    }

    fn pesel(&mut self) -> String {
        let year: u32 = self.rng.random_range(1920..2025);
        let month = self.rng.random_range(1..=12) + if year >= 2000 { 20 } else { 0 };
        let head =
            format!("{:02}{month:02}{:02}{}", year % 100, self.rng.random_range(1..=28), self.digits(4));
        with_check(&head, |digits| {
            digits.iter().zip([1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1]).map(|(d, weight)| d * weight).sum::<u32>()
                % 10
                == 0
        })
    }

    fn nhs(&mut self) -> String {
        loop {
            let head = self.digits(9);
            let right = |digits: &[u32]| {
                digits
                    .iter()
                    .zip((1..=10).rev())
                    .map(|(d, weight)| d * weight)
                    .sum::<u32>()
                    .is_multiple_of(11)
            };
            // Of a tenth of the numbers no digit is right: they are not given out.
            if let Some(nhs) = try_check(&head, right) {
                return grouped(&nhs, &[3, 3, 4], " ");
            }
        }
    }

    fn phone(&mut self) -> String {
        // N is 2 to 9; every other letter and digit stands for itself.
        const FORMS: &[&str] = &[
            "+1 N2n-N3n-nnnn",
            "(N2n) N3n-nnnn",
            "N2n-N3n-nnnn",
            "N2n.N3n.nnnn",
            "+1N2nN3nnnnn",
            "1-N2n-N3n-nnnn",
            "+44 20 7nnn nnnn",
            "07nnn nnnnnn",
            "020 7nnn nnnn",
            "01Nn Nnn nnnn",
            "+447nnnnnnnnn",
            "+44 (0)7nnn nnnnnn",
            "+49 30 Nnnnnnn",
            "030 Nnnnnnn",
            "0171 Nnnnnnn",
            "+49 17n Nnnnnnn",
            "089/Nnnnnnn",
            "+33 6 nn nn nn nn",
            "06 98 nn nn nn",
            "01.98.nn.nn.nn",
            "+34 6nn nnn nnn",
            "+39 3nn nnn nnnn",
            "+48 6nn nnn nnn",
            "+31 6 Nnnnnnnn",
            "06-Nnnnnnnn",
            "+46 70 Nnn nn nn",
            "070-Nnn nn nn",
            "+55 11 9nnnn-nnnn",
            "(11) 9nnnn-nnnn",
            "+91 9nnnn nnnnn",
            "9nnnn nnnnn",
            "+81 90-nnnn-nnnn",
            "090-nnnn-nnnn",
            "03-Nnnn-nnnn",
            "+86 13n Nnnn nnnn",
            "138 Nnnn nnnn",
            "+7 9nn nnn-nn-nn",
            "8 (9nn) nnn-nn-nn",
            "+61 4nn nnn nnn",
            "0412 Nnn nnn",
            "+82 10-Nnnn-nnnn",
            "010-Nnnn-nnnn",
            "+41 79 Nnn nn nn",
            "079 Nnn nn nn",
            "+351 9nn nnn nnn",
            "+90 53n Nnn nn nn",
            "+234 80n Nnn nnnn",
            "+971 50 Nnn nnnn",
        ];
        let form = self.one(FORMS);
        form.chars()
            .map(|c| match c {
                'N' => self.rng.random_range(b'2'..=b'9') as char,
                'n' => self.rng.random_range(b'0'..=b'9') as char,
                other => other,
            })
            .collect()
    }
}

/// The digits with the one at the end that makes them right.
fn with_check(head: &str, is_right: impl Fn(&[u32]) -> bool) -> String {
    try_check(head, is_right).unwrap_or_else(|| panic!("no check digit for {head}"))
}

fn try_check(head: &str, is_right: impl Fn(&[u32]) -> bool) -> Option<String> {
    (0..10).map(|check| format!("{head}{check}")).find(|number| {
        let digits: Vec<u32> = number.chars().map(|c| c.to_digit(10).expect("a digit")).collect();
        is_right(&digits)
    })
}

fn grouped(digits: &str, lengths: &[usize], separator: &str) -> String {
    let mut at = 0;
    let groups = lengths.iter().map(|length| {
        at += length;
        &digits[at - length..at]
    });
    groups.collect::<Vec<_>>().join(separator)
}

fn join<T: ToString>(parts: &[T], separator: &str) -> String {
    parts.iter().map(ToString::to_string).collect::<Vec<_>>().join(separator)
}
