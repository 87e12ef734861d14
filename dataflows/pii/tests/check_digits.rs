//! Each rule beside an implementation that shares no idea with it, over random numbers.

use super::*;
use crate::pii::checks;

const ROUNDS: usize = 20_000;

fn numbers(width: usize) -> impl Iterator<Item = Vec<u8>> {
    let mut rng = StdRng::seed_from_u64(width as u64);
    (0..ROUNDS).map(move |_| digits(rng.random_range(0..10u64.pow(width as u32)), width))
}

#[test]
fn luhn_by_adding_the_digits_of_doubled_digits() {
    for number in numbers(16).chain(numbers(15)) {
        let mut sum = 0;
        let mut double = false;
        for digit in number.iter().rev() {
            let shown = (digit * if double { 2 } else { 1 }).to_string();
            sum += shown.bytes().map(|b| u32::from(b - b'0')).sum::<u32>();
            double = !double;
        }
        assert_eq!(checks::luhn(&number), sum % 10 == 0, "{number:?}");
    }
}

#[test]
fn mod_97_by_long_division_of_the_whole_number() {
    let mut rng = StdRng::seed_from_u64(97);
    let mut valid = 0;
    for _ in 0..ROUNDS {
        let characters = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let iban: Vec<u8> =
            (0..rng.random_range(15..34)).map(|_| *characters.choose(&mut rng).unwrap()).collect();
        let mut whole = String::new();
        for c in iban[4..].iter().chain(&iban[..4]) {
            match c.is_ascii_digit() {
                true => whole.push(*c as char),
                false => whole.push_str(&(c - b'A' + 10).to_string()),
            }
        }
        let mut rest: Vec<u8> = whole.bytes().map(|b| b - b'0').collect();
        // Schoolbook: subtract 97 times a power of ten until it is smaller.
        for at in 0..rest.len().saturating_sub(1) {
            while u32::from(rest[at]) * 10 + u32::from(rest[at + 1]) >= 97 || rest[at] > 9 {
                let pair = u32::from(rest[at]) * 10 + u32::from(rest[at + 1]) - 97;
                (rest[at], rest[at + 1]) = ((pair / 10) as u8, (pair % 10) as u8);
            }
            if at + 2 < rest.len() {
                // What is left moves one place on; it may have two digits there.
                let left = rest[at] * 10 + rest[at + 1];
                (rest[at], rest[at + 1]) = (0, left);
            }
        }
        let remainder = rest[rest.len() - 2..].iter().fold(0u32, |n, d| n * 10 + u32::from(*d));
        valid += usize::from(remainder == 1);
        assert_eq!(checks::mod_97(&iban), remainder == 1, "{}", String::from_utf8_lossy(&iban));
    }
    assert!(valid > 100, "{valid} valid ones seen");
}

#[test]
fn verhoeff_by_symmetries_of_a_pentagon() {
    // A digit is a rotation (0 to 4) or a reflection (5 to 9) of five corners.
    let symmetry = |digit: u8| -> [u8; 5] {
        std::array::from_fn(|corner| match digit {
            0..=4 => (corner as u8 + digit) % 5,
            _ => (10 + digit - corner as u8 - 5 + 5) % 5,
        })
    };
    let after =
        |first: [u8; 5], second: [u8; 5]| -> [u8; 5] { std::array::from_fn(|i| first[second[i] as usize]) };
    let swap = |digit: u8| [1, 5, 7, 6, 2, 8, 3, 0, 9, 4][digit as usize];
    for number in numbers(12) {
        let mut product = symmetry(0);
        for (place, digit) in number.iter().rev().enumerate() {
            let permuted = (0..place % 8).fold(*digit, |digit, _| swap(digit));
            product = after(product, symmetry(permuted));
        }
        assert_eq!(checks::verhoeff(&number), product == symmetry(0), "{number:?}");
    }
}

#[test]
fn nhs_by_trying_every_check_digit() {
    for number in numbers(10) {
        let weighted =
            |check: u32| (0..9).map(|i| u32::from(number[i]) * (10 - i as u32)).sum::<u32>() + check;
        let right = (0..10).find(|check| weighted(*check).is_multiple_of(11));
        assert_eq!(checks::nhs(&number), right == Some(u32::from(number[9])), "{number:?}");
    }
}

#[test]
fn pesel_by_a_calendar() {
    for number in numbers(11) {
        let two = |at: usize| i16::from(number[at] * 10 + number[at + 1]);
        let born = match two(2) {
            month @ 1..=12 => jiff::civil::Date::new(1900 + two(0), month as i8, two(4) as i8).ok(),
            month @ 21..=32 => jiff::civil::Date::new(2000 + two(0), (month - 20) as i8, two(4) as i8).ok(),
            _ => None,
        };
        let weighted: u64 =
            [9, 7, 3, 1, 9, 7, 3, 1, 9, 7].iter().zip(&number).map(|(w, d)| w * u64::from(*d)).sum();
        let expected = born.is_some() && weighted % 10 == u64::from(number[10]);
        assert_eq!(checks::pesel(&number), expected, "{number:?}");
    }
}

#[test]
fn the_letter_of_a_nif_by_the_published_table() {
    let published = "0 T 1 R 2 W 3 A 4 G 5 M 6 Y 7 F 8 P 9 D 10 X 11 B 12 N 13 J 14 Z 15 S 16 Q 17 V 18 H 19 L 20 C 21 K 22 E";
    let table: Vec<&str> = published.split(' ').collect();
    for pair in table.chunks(2) {
        let rest: u32 = pair[0].parse().unwrap();
        for number in [rest, rest + 23, rest + 23 * 500_000] {
            assert_eq!(checks::nif_letter(number), pair[1].as_bytes()[0]);
        }
    }
    assert_eq!(kinds("12345678Z X1234567L Y1234567X Z1234567R").len(), 4);
}

#[test]
fn social_security_numbers_by_their_ranges() {
    for number in numbers(9) {
        let text: String = number.iter().map(|d| (b'0' + d) as char).collect();
        let (area, group, serial) = (&text[..3], &text[3..5], &text[5..]);
        let never =
            area == "000" || area == "666" || area.starts_with('9') || group == "00" || serial == "0000";
        assert_eq!(checks::ssn(&number), !never, "{text}");
    }
    assert!(!checks::ssn(&digits(78_051_120, 9)), "the number of the wallet");
}
