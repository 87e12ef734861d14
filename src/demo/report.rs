//! Consumes what was found, produces the lines a person reads: aligned tables that fit
//! into a hundred columns.

use super::content::Collection;
use super::expectation::Check;
use crate::eval::measures::Agreement;

/// What fits into a terminal that nobody widened.
pub const COLUMNS: usize = 100;

/// Which way a column leans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lean {
    Left,
    Right,
}

/// A heading, and rows of cells below aligned titles.
#[derive(Clone, Debug, Default)]
pub struct Table {
    columns: Vec<(&'static str, Option<Lean>)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(columns: &[(&'static str, Lean)]) -> Self {
        let columns = columns.iter().map(|(title, lean)| (*title, Some(*lean))).collect();
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row; missing cells are empty.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.columns.len(), "a row has a cell for each column");
        self.rows.push(cells.map(|cell| plain(&cell)).into());
    }

    /// The table, indented by two. The widest column that leans left gives way where a
    /// line would be too long.
    pub fn render(&self) -> String {
        let mut widths: Vec<usize> = self.columns.iter().map(|(title, _)| width(title)).collect();
        for row in &self.rows {
            for (held, cell) in widths.iter_mut().zip(row) {
                *held = (*held).max(width(cell));
            }
        }
        let fixed = 2 + 2 * widths.len().saturating_sub(1);
        let total: usize = widths.iter().sum::<usize>() + fixed;
        let widest =
            (0..widths.len()).filter(|i| self.columns[*i].1 == Some(Lean::Left)).max_by_key(|i| widths[*i]);
        if let (true, Some(widest)) = (total > COLUMNS, widest) {
            widths[widest] = widths[widest].saturating_sub(total - COLUMNS).max(8);
        }
        let titles: Vec<String> = self.columns.iter().map(|(title, _)| (*title).to_string()).collect();
        let mut out = String::new();
        for row in std::iter::once(&titles).chain(&self.rows) {
            out.push_str(&self.line(row, &widths));
        }
        out
    }

    fn line(&self, row: &[String], widths: &[usize]) -> String {
        let mut line = String::from("  ");
        for (i, (cell, held)) in row.iter().zip(widths).enumerate() {
            let cell = shortened(cell, *held);
            let pad = " ".repeat(held - width(&cell));
            if i > 0 {
                line.push_str("  ");
            }
            match self.columns[i].1 {
                Some(Lean::Right) => line.extend([pad.as_str(), cell.as_str()]),
                _ => line.extend([cell.as_str(), pad.as_str()]),
            }
        }
        format!("{}\n", line.trim_end())
    }
}

/// How well our compounds and the human ratings agree, by collection: texts, figures, and
/// the r that the authors of VADER published for their own run of their own code.
pub fn agreement_table(found: &[(Collection, usize, Agreement)]) -> Table {
    let mut table = Table::new(&[
        ("texts", Lean::Left),
        ("n", Lean::Right),
        ("Pearson r", Lean::Right),
        ("published r", Lean::Right),
        ("same sign", Lean::Right),
        ("of those with a sign", Lean::Right),
    ]);
    for (collection, texts, agreement) in found {
        let published = crate::eval::sentiment::published_pearson_r(collection.id());
        let signed = agreement.sign_coverage * *texts as f64;
        table.row([
            collection.title().to_string(),
            count(*texts as u64),
            format!("{:.3}", agreement.pearson_r),
            published.map_or("none".to_string(), |r| format!("{r:.3}")),
            percent(agreement.sign_accuracy),
            count(signed.round() as u64),
        ]);
    }
    table
}

pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// What was checked, and whether it holds.
pub fn check_table(checks: &[Check]) -> Table {
    let mut table = Table::new(&[
        ("checked", Lean::Left),
        ("expected", Lean::Right),
        ("found", Lean::Right),
        ("", Lean::Left),
    ]);
    for check in checks {
        let verdict = if check.passed() { "ok" } else { "DIFFERS" };
        table.row([check.what.clone(), check.expected.clone(), check.found.clone(), verdict.to_string()]);
    }
    table
}

/// A number with its thousands apart: 23 703.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// A mean compound with its sign and a bar around zero: `+0.31  ....|###.`.
pub fn mood(compound: Option<f64>) -> String {
    const HALF: usize = 6;
    let Some(compound) = compound else { return "not scored".to_string() };
    let reach = ((compound.abs().min(1.0) * HALF as f64).round() as usize).min(HALF);
    let (left, right) = if compound < 0.0 { (reach, 0) } else { (0, reach) };
    format!(
        "{compound:+.2} {}{}|{}{}",
        ".".repeat(HALF - left),
        "#".repeat(left),
        "#".repeat(right),
        ".".repeat(HALF - right)
    )
}

/// Without control characters and direction marks: a report shows hostile text, it does
/// not obey it.
pub fn plain(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
    };
    text.chars()
        .filter_map(|c| if c == '\n' || c == '\t' { Some(' ') } else { Some(c).filter(|c| !hidden(*c)) })
        .collect()
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// Cut to a width, with a mark where something is missing.
pub fn shortened(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_string();
    }
    let kept: String = text.chars().take(columns.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligns_and_stays_within_the_columns() {
        let mut table = Table::new(&[("topic", Lean::Left), ("items", Lean::Right)]);
        table.row(["film".to_string(), count(1_234)]);
        table.row(["a very long name ".repeat(10), count(5)]);
        let text = table.render();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| width(line) == COLUMNS), "numbers end in one column:\n{text}");
        assert!(lines[2].contains('…'));
    }

    #[test]
    fn a_cell_cannot_break_its_line_or_turn_it_around() {
        let mut table = Table::new(&[("text", Lean::Left)]);
        table.row(["one\r\ntwo \u{202e}three\u{1b}[31m".to_string()]);
        assert_eq!(table.render(), "  text\n  one two three[31m\n");
    }

    #[test]
    fn numbers_and_moods_read_well() {
        assert_eq!(
            ["0", "999", "1 000", "1 234 567"].map(String::from),
            [0, 999, 1_000, 1_234_567].map(count)
        );
        assert_eq!(mood(Some(0.5)), "+0.50 ......|###...");
        assert_eq!(mood(Some(-1.0)), "-1.00 ######|......");
        assert_eq!(mood(None), "not scored");
    }
}
