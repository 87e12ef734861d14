//! What the sources say of themselves, as a component of `/health`.
//!
//! A source that fails or is silent does not make the process fail: at worst the
//! component is degraded, with a reason for each.

use super::{reload, status};
use crate::ops::health::{Component, Status};

/// Reasons that are listed; the rest is a number.
const REASONS_MAX: usize = 20;

pub fn component() -> Component {
    let sources = status();
    let fault = reload::fault();
    if sources.is_empty() && fault.is_none() {
        return Component::disabled("sources", "no source is configured: sources.toml names them");
    }
    let mut reasons: Vec<String> = fault.into_iter().collect();
    let mut failing = 0;
    let mut silent = 0;
    for source in &sources {
        if source.errors_in_row > 0 {
            failing += 1;
            let error = source.last_error.as_deref().unwrap_or("its last poll failed");
            reasons.push(format!("{}: {error}", source.name));
        } else if let Some(last) = source.last_item_at.filter(|_| source.silent_since.is_some()) {
            silent += 1;
            reasons.push(format!("{}: answers, but nothing new came since {last}", source.name));
        }
    }
    let more = reasons.len().saturating_sub(REASONS_MAX);
    reasons.truncate(REASONS_MAX);
    if more > 0 {
        reasons.push(format!("and {more} more: tidings sources list"));
    }
    let component = reasons
        .into_iter()
        .fold(Component::ok("sources"), |component, reason| component.because(Status::Degraded, reason));
    let details = serde_json::json!({ "sources": sources.len(), "failing": failing, "silent": silent });
    component.details(details)
}
