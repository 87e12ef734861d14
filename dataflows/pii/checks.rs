//! Check digits and ranges of the formats, over the value's digits (0 to 9) or characters.

/// ISO/IEC 7812: every second digit from the right doubled, the sum a multiple of 10.
pub fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, d)| match (i % 2, u32::from(*d)) {
            (0, d) => d,
            (_, d) if d > 4 => 2 * d - 9,
            (_, d) => 2 * d,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// ISO 13616: the country and check digits moved to the end, letters as 10 to 35, the
/// whole number 1 modulo 97. `iban` has upper-case letters and digits only.
pub fn mod_97(iban: &[u8]) -> bool {
    let (head, rest) = iban.split_at(4.min(iban.len()));
    let remainder = rest.iter().chain(head).fold(0u32, |remainder, c| match c {
        b'0'..=b'9' => (remainder * 10 + u32::from(c - b'0')) % 97,
        _ => (remainder * 100 + u32::from(c.wrapping_sub(b'A')) + 10) % 97,
    });
    remainder == 1
}

/// The length of an IBAN of a country, by the registry of SWIFT (release 99, 2024).
pub fn iban_length(country: [u8; 2]) -> Option<usize> {
    const LENGTHS: &[(usize, &str)] = &[
        (15, "NO"),
        (16, "BE"),
        (18, "DK FI FK FO GL NL SD"),
        (19, "MK SI"),
        (20, "AT BA EE KZ LT LU MN XK"),
        (21, "CH HR LI LV"),
        (22, "BG BH CR DE GB GE IE ME RS VA"),
        (23, "AE GI IL IQ OM SO TL"),
        (24, "AD CZ ES MD PK RO SA SE SK TN VG"),
        (25, "LY PT ST"),
        (26, "IS TR"),
        (27, "BI DJ FR GR IT MC MR SM"),
        (28, "AL AZ BY CY DO GT HN HU LB NI PL SV"),
        (29, "BR EG PS QA UA"),
        (30, "JO KW MU YE"),
        (31, "MT SC"),
        (32, "LC"),
        (33, "RU"),
    ];
    let country = std::str::from_utf8(&country).ok()?.to_string();
    LENGTHS.iter().find(|(_, names)| names.split(' ').any(|name| name == country)).map(|(length, _)| *length)
}

/// The check digit of Verhoeff: the dihedral group of order 10 finds every single error.
pub fn verhoeff(digits: &[u8]) -> bool {
    const PRODUCT: [[u8; 10]; 10] = [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        [1, 2, 3, 4, 0, 6, 7, 8, 9, 5],
        [2, 3, 4, 0, 1, 7, 8, 9, 5, 6],
        [3, 4, 0, 1, 2, 8, 9, 5, 6, 7],
        [4, 0, 1, 2, 3, 9, 5, 6, 7, 8],
        [5, 9, 8, 7, 6, 0, 4, 3, 2, 1],
        [6, 5, 9, 8, 7, 1, 0, 4, 3, 2],
        [7, 6, 5, 9, 8, 2, 1, 0, 4, 3],
        [8, 7, 6, 5, 9, 3, 2, 1, 0, 4],
        [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
    ];
    const PERMUTATION: [[u8; 10]; 8] = [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        [1, 5, 7, 6, 2, 8, 3, 0, 9, 4],
        [5, 8, 0, 3, 7, 9, 6, 1, 4, 2],
        [8, 9, 1, 6, 0, 4, 3, 5, 2, 7],
        [9, 4, 5, 3, 1, 2, 6, 8, 7, 0],
        [4, 2, 8, 6, 5, 7, 3, 9, 0, 1],
        [2, 7, 9, 3, 8, 0, 6, 4, 1, 5],
        [7, 0, 4, 6, 9, 1, 3, 2, 5, 8],
    ];
    let check = digits
        .iter()
        .rev()
        .enumerate()
        .fold(0u8, |check, (i, d)| PRODUCT[check as usize][PERMUTATION[i % 8][*d as usize] as usize]);
    check == 0
}

/// Ten digits of the NHS: weights 10 to 2, then 11 minus the sum modulo 11.
pub fn nhs(digits: &[u8]) -> bool {
    let sum: u32 = digits.iter().take(9).enumerate().map(|(i, d)| (10 - i as u32) * u32::from(*d)).sum();
    let check = (11 - sum % 11) % 11;
    digits.len() == 10 && check != 10 && check == u32::from(digits[9])
}

/// Eleven digits of the PESEL: weights 1, 3, 7, 9, and a date of birth; of the centuries
/// that are written into the month, those of the living.
pub fn pesel(digits: &[u8]) -> bool {
    const WEIGHTS: [u32; 11] = [1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1];
    if digits.len() != 11 {
        return false;
    }
    let sum: u32 = digits.iter().zip(WEIGHTS).map(|(d, weight)| u32::from(*d) * weight).sum();
    let two = |at: usize| u32::from(digits[at]) * 10 + u32::from(digits[at + 1]);
    let (century, month) = match two(2) {
        month @ 1..=12 => (1900, month),
        month @ 21..=32 => (2000, month - 20),
        _ => return false,
    };
    let year = century + two(0);
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    (1..=days).contains(&two(4)) && sum.is_multiple_of(10)
}

/// The letter of a Spanish DNI, or of an NIE whose first letter became a digit.
pub fn nif_letter(number: u32) -> u8 {
    b"TRWAGMYFPDXBNJZSQVHLCKE"[(number % 23) as usize]
}

/// Numbers that the Social Security Administration gives out: no area 000, 666 or 9xx, no
/// group 00, no serial 0000; nor the two that advertisements made famous.
pub fn ssn(digits: &[u8]) -> bool {
    let number =
        |range: std::ops::Range<usize>| digits[range].iter().fold(0u32, |n, d| n * 10 + u32::from(*d));
    if digits.len() != 9 {
        return false;
    }
    let (area, group, serial) = (number(0..3), number(3..5), number(5..9));
    area != 0
        && area != 666
        && area < 900
        && group != 0
        && serial != 0
        && !matches!((area, group, serial), (78, 5, 1120) | (219, 9, 9999))
}

/// Lengths and prefixes of the card networks.
pub fn card_network(digits: &[u8]) -> bool {
    let prefix = |n: usize| digits.iter().take(n).fold(0u32, |number, d| number * 10 + u32::from(*d));
    match digits.len() {
        14 => matches!(prefix(2), 36 | 38 | 39) || matches!(prefix(3), 300..=305),
        15 => matches!(prefix(2), 34 | 37),
        16 | 19 => {
            let long = prefix(1) == 4
                || prefix(2) == 62
                || matches!(prefix(2), 65)
                || matches!(prefix(3), 644..=649)
                || prefix(4) == 6011
                || matches!(prefix(4), 3528..=3589);
            let short = matches!(prefix(2), 51..=55) || matches!(prefix(4), 2221..=2720);
            long || (short && digits.len() == 16)
        }
        _ => false,
    }
}

/// Country codes of E.164 that are assigned, by their first digits: how many digits the
/// code at the start of `digits` has.
pub fn country_code(digits: &[u8]) -> Option<usize> {
    const TWO: &[u8] = &[
        20, 27, 30, 31, 32, 33, 34, 36, 39, 40, 41, 43, 44, 45, 46, 47, 48, 49, 51, 52, 53, 54, 55, 56, 57,
        58, 60, 61, 62, 63, 64, 65, 66, 81, 82, 84, 86, 90, 91, 92, 93, 94, 95, 98,
    ];
    const THREE: &[std::ops::RangeInclusive<u16>] = &[
        211..=213,
        216..=216,
        218..=218,
        220..=269,
        290..=291,
        297..=299,
        350..=359,
        370..=378,
        380..=383,
        385..=387,
        389..=389,
        420..=421,
        423..=423,
        500..=509,
        590..=599,
        670..=670,
        672..=692,
        800..=800,
        808..=808,
        850..=850,
        852..=853,
        855..=856,
        870..=870,
        880..=883,
        886..=886,
        888..=888,
        960..=968,
        970..=977,
        979..=979,
        992..=996,
        998..=998,
    ];
    let [first, second, third, ..] = digits else { return None };
    match first {
        0 => None,
        1 | 7 => Some(1),
        _ if TWO.contains(&(first * 10 + second)) => Some(2),
        _ => {
            let code = u16::from(*first) * 100 + u16::from(*second) * 10 + u16::from(*third);
            THREE.iter().any(|range| range.contains(&code)).then_some(3)
        }
    }
}

/// Ten digits of the North American plan: area and exchange begin with 2 to 9 and are no
/// service codes such as 911.
pub fn nanp(digits: &[u8]) -> bool {
    let part = |at: usize| digits[at] >= 2 && !(digits[at + 1] == 1 && digits[at + 2] == 1);
    digits.len() == 10 && part(0) && part(3)
}
