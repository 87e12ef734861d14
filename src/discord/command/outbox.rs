//! `tidings outbox list|resolve`: what waits, what is uncertain, and the way out.

use dataflows::time::Millis;

use super::{CommandError, Context, OutboxCommand, Outcome, Place, blocking};
use crate::discord::api::{Follower, Listed, OutboxItem, Page, append_resolve};
use crate::discord::outbox::{Resolution, Resolve, State};
use crate::discord::wall_clock_ms;

/// Rows of `outbox list` asked for at once.
const LIST_LIMIT: usize = 200;

impl OutboxCommand {
    pub async fn run(self, context: &Context) -> Result<Outcome, CommandError> {
        match self {
            Self::List { state, json } => {
                let items = list(context, state).await?;
                Ok(Outcome::good(if json { json_lines(&items) } else { table(&items) }))
            }
            Self::Resolve { key, message_id, resend, drop: _ } => {
                let action = match (message_id, resend) {
                    (Some(message_id), _) => Resolution::Posted { message_id },
                    (None, true) => Resolution::Resend,
                    (None, false) => Resolution::Drop,
                };
                resolve(context, key, action).await
            }
        }
    }
}

async fn list(context: &Context, state: Option<State>) -> Result<Vec<OutboxItem>, CommandError> {
    let mut items = Vec::new();
    let mut cursor = None;
    loop {
        let page = Page { limit: Some(LIST_LIMIT), cursor: cursor.take(), state };
        let listed: Listed<OutboxItem> = match &context.place {
            Place::Process(remote) => {
                let mut path = format!("/v1/outbox?limit={LIST_LIMIT}");
                if let Some(cursor) = &page.cursor {
                    path.extend(url::form_urlencoded::byte_serialize(cursor.as_bytes()).fold(
                        vec!["&cursor="],
                        |mut all, s| {
                            all.push(s);
                            all
                        },
                    ));
                }
                if let Some(state) = state {
                    path.push_str(&format!("&state={state}"));
                }
                remote.ask(reqwest::Method::GET, &path, None).await?.1
            }
            Place::Log(log) => {
                let (log, keys_max) = (log.clone(), context.settings.outbox_keys_max);
                blocking(move || {
                    let mut follower = Follower::open(log.as_ref(), keys_max)?;
                    follower.catch_up()?;
                    let view = follower.view();
                    let listed = view.lock().outbox(&page);
                    Ok(listed.expect("the limit is in range and the cursor is ours"))
                })
                .await?
            }
        };
        items.extend(listed.items);
        match listed.cursor {
            Some(next) => cursor = Some(next),
            None => return Ok(items),
        }
    }
}

async fn resolve(context: &Context, key: String, action: Resolution) -> Result<Outcome, CommandError> {
    match &context.place {
        Place::Process(remote) => {
            let safe: String = url::form_urlencoded::byte_serialize(key.as_bytes()).collect();
            let body = serde_json::to_string(&action).expect("texts serialize");
            let path = format!("/v1/outbox/{safe}/resolve");
            let (status, item): (u16, OutboxItem) =
                remote.ask(reqwest::Method::POST, &path, Some(body)).await?;
            let text = if status == 200 {
                format!("{key}: {}\n", item.state)
            } else {
                format!("{key}: recorded, not applied yet\n")
            };
            Ok(Outcome::good(text))
        }
        Place::Log(log) => {
            let (log, keys_max) = (log.clone(), context.settings.outbox_keys_max);
            blocking(move || {
                let mut follower = Follower::open(log.as_ref(), keys_max)?;
                follower.catch_up()?;
                let resolve = Resolve { key: key.clone(), action, asked_at: Millis(wall_clock_ms()) };
                let view = follower.view();
                let checked = view.lock().check(&resolve);
                if let Err(why) = checked {
                    return Ok(Outcome { text: format!("{key}: {why}\n"), negative: true });
                }
                append_resolve(log.as_ref(), &resolve)?;
                Ok(Outcome::good(format!("{key}: recorded; it is applied when delivery next runs\n")))
            })
            .await
        }
    }
}

fn json_lines(items: &[OutboxItem]) -> String {
    let line = |item: &OutboxItem| serde_json::to_string(item).expect("an item serializes") + "\n";
    items.iter().map(line).collect()
}

fn table(items: &[OutboxItem]) -> String {
    if items.is_empty() {
        return "the outbox is empty\n".to_string();
    }
    let mut text = format!("{:<10}  {:<24}  {:<22}  key\n", "state", "since", "footer");
    for item in items {
        let state = item.state.name();
        text.push_str(&format!(
            "{state:<10}  {:<24}  {:<22}  {}\n",
            item.changed_at.to_string(),
            item.footer,
            item.key
        ));
        let mut notes: Vec<String> = item.reason.iter().cloned().collect();
        notes.extend(item.message_id.iter().map(|id| format!("message {id}")));
        if item.state == State::Sent && item.wanted_sequence > item.sequence {
            notes.push("an edit waits".to_string());
        }
        if item.state == State::Uncertain {
            notes.push("tidings outbox resolve KEY --message-id M|--resend|--drop".to_string());
        }
        if !notes.is_empty() {
            text.push_str(&format!("            {}\n", notes.join("; ")));
        }
    }
    text
}
