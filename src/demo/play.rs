//! Consumes deliveries, sends them to the running program as a producer would, and waits
//! until everything they lead to is counted.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::Delivery;
use super::expectation::DayCell;
use super::measure::{self, Sample};
use super::program::{Program, ProgramError};
use crate::ingest::Receipt;

/// Lines of one request, and bytes after which it is sent; a longer line travels alone, so
/// that its refusal is its own.
const LINES_MAX: usize = 1_000;
const BYTES_MAX: usize = 1 << 20;
/// How often a busy program is asked again, and after which pause.
const ATTEMPTS_MAX: usize = 120;
const PAUSE: Duration = Duration::from_millis(500);

const COUNTED_WITHIN: Duration = Duration::from_secs(180);
const ASK_EVERY: Duration = Duration::from_millis(100);

/// What the program said when it was given the lines.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    pub lines: usize,
    pub bytes: usize,
    pub took: Duration,
    /// Lines taken in, duplicates included: ENRICH decides about those.
    pub taken: usize,
    /// Refused lines by reason, and for each reason one sentence as an example.
    pub refused: BTreeMap<String, (usize, String)>,
}

#[derive(Deserialize)]
struct Volume {
    cells: Vec<DayCell>,
}

/// Sends the deliveries in order.
pub async fn send(program: &Program, deliveries: &[Delivery]) -> Result<Sent, ProgramError> {
    let began = Instant::now();
    let mut sent = Sent::default();
    for batch in batches(deliveries) {
        let mut body = Vec::with_capacity(batch.iter().map(|delivery| delivery.line.len() + 1).sum());
        for delivery in batch {
            body.extend_from_slice(&delivery.line);
            body.push(b'\n');
        }
        sent.lines += batch.len();
        sent.bytes += body.len();
        let receipt = post(program, body).await?;
        sent.taken += receipt.accepted + receipt.duplicates;
        for line in receipt.lines {
            if let Some(reason) = line.reason {
                let example = line.detail.unwrap_or_default();
                sent.refused.entry(reason).or_insert((0, example)).0 += 1;
            }
        }
    }
    sent.took = began.elapsed();
    Ok(sent)
}

fn batches(deliveries: &[Delivery]) -> Vec<&[Delivery]> {
    let mut batches = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, delivery) in deliveries.iter().enumerate() {
        if at > start && (at - start >= LINES_MAX || bytes + delivery.line.len() > BYTES_MAX) {
            batches.push(&deliveries[start..at]);
            (start, bytes) = (at, 0);
        }
        bytes += delivery.line.len();
    }
    if start < deliveries.len() {
        batches.push(&deliveries[start..]);
    }
    batches
}

/// One request; a busy program is asked again.
async fn post(program: &Program, body: Vec<u8>) -> Result<Receipt, ProgramError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let (status, answer) = program.post_events(body.clone()).await?;
        match status {
            // With none accepted the status is 400, and the body is a receipt all the same.
            202 | 400 => {
                return serde_json::from_str(&answer).map_err(|error| ProgramError::Answer {
                    what: "/v1/events".to_string(),
                    status,
                    body: error.to_string(),
                });
            }
            429 | 503 if attempt < ATTEMPTS_MAX => sleep(PAUSE).await,
            status => {
                return Err(ProgramError::Answer { what: "/v1/events".to_string(), status, body: answer });
            }
        }
    }
}

/// What ENRICH has done so far, by outcome, and its dead letters by reason.
pub async fn samples(program: &Program) -> Result<Vec<Sample>, ProgramError> {
    Ok(measure::samples(&program.text("/metrics").await?))
}

/// The cells of each day and platform.
pub async fn day_cells(program: &Program) -> Result<Vec<DayCell>, ProgramError> {
    let volume: Volume = program.json("/v1/volume?window=1d&by=platform").await?;
    Ok(volume.cells)
}

/// Waits until ENRICH has seen `taken` records and the days hold `items` items. `false` if
/// that did not happen in time; what there is then is reported as it is.
pub async fn wait_until_counted(program: &Program, taken: u64, items: u64) -> Result<bool, ProgramError> {
    let until = Instant::now() + COUNTED_WITHIN;
    while Instant::now() < until {
        let samples = samples(program).await?;
        let enriched = measure::sum(&samples, "tidings_stage_records_total", &[("stage", "enrich")])
            + measure::sum(&samples, "tidings_dead_letters_total", &[("stage", "enrich")]);
        if enriched as u64 >= taken {
            let counted: u64 = day_cells(program).await?.iter().map(|cell| cell.count).sum();
            if counted == items {
                return Ok(true);
            }
        }
        sleep(ASK_EVERY).await;
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::Outcome;

    fn line(bytes: usize) -> Delivery {
        Delivery { line: vec![b'x'; bytes], event: None, outcome: Outcome::Refused }
    }

    #[test]
    fn batches_keep_every_line_in_order_and_let_a_long_one_travel_alone() {
        let deliveries: Vec<Delivery> =
            [10, 20, 3 * BYTES_MAX, 30].into_iter().chain(std::iter::repeat_n(1, 2_500)).map(line).collect();
        let batches = batches(&deliveries);
        let sizes: Vec<usize> = batches.iter().map(|batch| batch.len()).collect();
        assert_eq!(sizes, [2, 1, 1_000, 1_000, 501]);
        assert_eq!(batches.concat(), deliveries);
        assert!(super::batches(&[]).is_empty());
    }
}
