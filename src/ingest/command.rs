//! `tidings ingest FILE|-`: content events as NDJSON, into the log or to whoever
//! holds the data folder.

use std::io::{BufRead, Write};

use super::{Ingest, Receipt, Status};
use crate::ops::client::{Client, ClientError};
use crate::ops::exit::Failure;

/// Lines of one batch.
const BATCH_LINES_MAX: usize = 2_000;
const BATCH_BYTES_MAX: usize = 4 << 20;

/// Where batches go.
pub enum Target<'a> {
    Log(&'a Ingest),
    Server(&'a Client),
}

/// Feeds all lines of `input`; prints each rejected one, then the totals. Returns
/// whether none was rejected.
pub fn ingest(input: &mut dyn BufRead, target: &Target<'_>, out: &mut dyn Write) -> Result<bool, Failure> {
    let mut totals = Receipt::default();
    let (mut batch, mut numbers, mut number) = (Vec::new(), Vec::new(), 0);
    loop {
        let mut line = Vec::new();
        let read = input
            .read_until(b'\n', &mut line)
            .map_err(|e| Failure::failed(format!("cannot read line {}: {e}", number + 1)))?;
        if read > 0 {
            number += 1;
            let line = line.trim_ascii();
            if !line.is_empty() {
                batch.extend_from_slice(line);
                batch.push(b'\n');
                numbers.push(number);
            }
        }
        let full = numbers.len() >= BATCH_LINES_MAX || batch.len() >= BATCH_BYTES_MAX;
        if (full || read == 0) && !numbers.is_empty() {
            let receipt = send(target, &batch)?;
            report(&receipt, &numbers, out)?;
            totals.accepted += receipt.accepted;
            totals.duplicates += receipt.duplicates;
            totals.rejected += receipt.rejected;
            batch.clear();
            numbers.clear();
        }
        if read == 0 {
            break;
        }
    }
    let Receipt { accepted, duplicates, rejected, .. } = totals;
    writeln!(out, "accepted {accepted}, duplicates {duplicates}, rejected {rejected}").map_err(unwritable)?;
    Ok(rejected == 0)
}

fn send(target: &Target<'_>, batch: &[u8]) -> Result<Receipt, Failure> {
    match target {
        Target::Log(ingest) => ingest
            .accept(super::lines(batch))
            .map_err(|e| Failure::failed(format!("cannot append to the log: {e}"))),
        Target::Server(client) => match client.post("/v1/events", "application/x-ndjson", batch.to_vec()) {
            Ok(receipt) => Ok(receipt),
            // Not one line was good: the problem carries the receipt.
            Err(ClientError::Refused(problem))
                if problem.status == 400 && problem.members.contains_key("lines") =>
            {
                serde_json::from_value(serde_json::Value::Object(problem.members))
                    .map_err(|e| Failure::failed(format!("cannot read the receipt: {e}")))
            }
            Err(e) => Err(e.into()),
        },
    }
}

fn report(receipt: &Receipt, numbers: &[usize], out: &mut dyn Write) -> Result<(), Failure> {
    for line in receipt.lines.iter().filter(|line| line.status == Status::Rejected) {
        let number = numbers.get(line.line - 1).copied().unwrap_or(line.line);
        let reason = line.reason.as_deref().unwrap_or("unknown");
        let detail = line.detail.as_deref().unwrap_or_default();
        writeln!(out, "line {number}: rejected, {reason}: {detail}").map_err(unwritable)?;
    }
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
fn unwritable(error: std::io::Error) -> Failure {
    Failure::failed(format!("cannot write to standard output: {error}"))
}
