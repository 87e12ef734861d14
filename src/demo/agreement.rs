//! Consumes pairs of a human rating and our compound, produces how well they agree.

/// What is said about one collection.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Agreement {
    pub texts: usize,
    /// Pearson's correlation; `None` where one side does not vary.
    pub pearson: Option<f64>,
    /// Of the pairs where both sides are not zero, the share with the same sign.
    pub same_sign: Option<f64>,
    /// How many pairs that share is of.
    pub signed: usize,
}

/// Agreement of `(rating, compound)` pairs.
pub fn agreement(pairs: &[(f64, f64)]) -> Agreement {
    let signed: Vec<_> =
        pairs.iter().filter(|(rating, compound)| *rating != 0.0 && *compound != 0.0).collect();
    let same = signed.iter().filter(|(rating, compound)| (*rating > 0.0) == (*compound > 0.0)).count();
    Agreement {
        texts: pairs.len(),
        pearson: pearson(pairs),
        same_sign: (!signed.is_empty()).then(|| same as f64 / signed.len() as f64),
        signed: signed.len(),
    }
}

/// Pearson's r in two passes, which keeps its digits where one pass would cancel them.
fn pearson(pairs: &[(f64, f64)]) -> Option<f64> {
    let n = pairs.len() as f64;
    let mean_x = pairs.iter().map(|(x, _)| x).sum::<f64>() / n;
    let mean_y = pairs.iter().map(|(_, y)| y).sum::<f64>() / n;
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in pairs {
        let (dx, dy) = (x - mean_x, y - mean_y);
        xy += dx * dy;
        xx += dx * dx;
        yy += dy * dy;
    }
    (xx > 0.0 && yy > 0.0).then(|| xy / (xx * yy).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_correlates_whole_and_noise_does_not() {
        let line: Vec<_> = (0..100).map(|i| (f64::from(i), 3.0 - 2.0 * f64::from(i))).collect();
        assert!((agreement(&line).pearson.expect("varies") + 1.0).abs() < 1e-12);
        let square = [(-1.0, 1.0), (0.0, 0.0), (1.0, 1.0)];
        assert!(agreement(&square).pearson.expect("varies").abs() < 1e-12);
    }

    #[test]
    fn equals_a_worked_example() {
        // Means 2 and 4, deviations (-1, 0, 1) and (-2, 1, 1): r = 3 / sqrt(2 · 6).
        let pairs = [(1.0, 2.0), (2.0, 5.0), (3.0, 5.0)];
        assert!((agreement(&pairs).pearson.expect("varies") - 3.0 / 12f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn zeros_take_no_side() {
        let found = agreement(&[(1.0, 0.5), (-1.0, 0.5), (2.0, 0.0), (0.0, -0.3)]);
        assert_eq!((found.texts, found.signed, found.same_sign), (4, 2, Some(0.5)));
        let nothing = agreement(&[]);
        assert_eq!((nothing.pearson, nothing.same_sign), (None, None));
    }
}
