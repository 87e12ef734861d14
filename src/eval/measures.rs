//! How well scores agree with human ratings. Pure functions over (rating, score) pairs.

use serde::Serialize;

/// A rating or a score at least this far from 0 is positive or negative, one nearer is
/// neutral: the thresholds of the VADER paper. They are applied to the human mean rating,
/// on its scale of -4 to 4, as to the compound, on its scale of -1 to 1; so hardly any text
/// is neutral to its readers, which is why that class scores so low.
pub const NEUTRAL: f64 = 0.05;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Positive,
    Negative,
    Neutral,
}

fn class(value: f64) -> Class {
    if value >= NEUTRAL {
        Class::Positive
    } else if value <= -NEUTRAL {
        Class::Negative
    } else {
        Class::Neutral
    }
}

/// Agreement of scores with ratings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Agreement {
    pub pearson_r: f64,
    /// Mean of the three below.
    pub macro_f1: f64,
    pub f1_positive: f64,
    pub f1_negative: f64,
    pub f1_neutral: f64,
    /// Share of texts in the right one of three classes.
    pub accuracy: f64,
    /// Share of texts with the right sign, among those where neither rating nor score is 0 …
    pub sign_accuracy: f64,
    /// … and the share that those are.
    pub sign_coverage: f64,
}

/// The agreement of (rating, score) pairs; what has no meaning for them (no variance, an
/// empty class) is 0.
pub fn agreement(pairs: &[(f64, f64)]) -> Agreement {
    let share = |part: usize, whole: usize| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    let count = |holds: &dyn Fn(f64, f64) -> bool| {
        pairs.iter().filter(|(rating, score)| holds(*rating, *score)).count()
    };
    let f1 = |wanted: Class| {
        let right = count(&|rating, score| class(rating) == wanted && class(score) == wanted);
        let rated = count(&|rating, _| class(rating) == wanted);
        let scored = count(&|_, score| class(score) == wanted);
        share(2 * right, rated + scored)
    };
    let (f1_positive, f1_negative, f1_neutral) =
        (f1(Class::Positive), f1(Class::Negative), f1(Class::Neutral));
    let signed = count(&|rating, score| rating != 0.0 && score != 0.0);
    Agreement {
        pearson_r: pearson(pairs),
        macro_f1: (f1_positive + f1_negative + f1_neutral) / 3.0,
        f1_positive,
        f1_negative,
        f1_neutral,
        accuracy: share(count(&|rating, score| class(rating) == class(score)), pairs.len()),
        sign_accuracy: share(count(&|rating, score| rating * score > 0.0), signed),
        sign_coverage: share(signed, pairs.len()),
    }
}

fn pearson(pairs: &[(f64, f64)]) -> f64 {
    let n = pairs.len() as f64;
    let mean_x = pairs.iter().map(|(x, _)| x).sum::<f64>() / n;
    let mean_y = pairs.iter().map(|(_, y)| y).sum::<f64>() / n;
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in pairs {
        xy += (x - mean_x) * (y - mean_y);
        xx += (x - mean_x).powi(2);
        yy += (y - mean_y).powi(2);
    }
    let spread = (xx * yy).sqrt();
    if spread > 0.0 { xy / spread } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreement_by_hand() {
        let pairs = [(2.0, 0.5), (1.0, -0.5), (-1.0, -0.5), (-3.0, 0.0), (0.0, 0.04), (0.0, 0.3)];
        let agreement = agreement(&pairs);
        let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
        assert!(close(agreement.f1_positive, 0.5), "one right of two rated and two scored");
        assert!(close(agreement.f1_negative, 0.5));
        assert!(close(agreement.f1_neutral, 0.5));
        assert!(close(agreement.macro_f1, 0.5) && close(agreement.accuracy, 0.5));
        assert!(close(agreement.sign_coverage, 0.5) && close(agreement.sign_accuracy, 2.0 / 3.0));
    }

    #[test]
    fn correlation_of_lines_and_of_nothing() {
        assert!((pearson(&[(1.0, 2.0), (2.0, 4.0), (3.0, 6.0)]) - 1.0).abs() < 1e-12);
        assert!((pearson(&[(1.0, -1.0), (2.0, -2.0)]) + 1.0).abs() < 1e-12);
        assert_eq!(pearson(&[(1.0, 2.0), (1.0, 3.0)]), 0.0);
        assert_eq!(agreement(&[]).accuracy, 0.0);
    }
}
