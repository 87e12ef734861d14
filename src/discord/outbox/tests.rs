use super::*;

fn stored(topic: &str, offset: u64, key: &str, value: &impl Serialize) -> Stored {
    Stored {
        topic: topic.into(),
        partition: 0,
        offset,
        timestamp_ms: 0,
        key: key.as_bytes().to_vec(),
        value: Some(serde_json::to_vec(value).expect("serializes")),
        headers: dataflows::record::Headers::new(),
    }
}

fn message(key: &str, sequence: u64) -> OutboxRecord {
    OutboxRecord::Message(Outgoing {
        key: key.into(),
        route: "r".into(),
        sequence,
        reason: "digest".into(),
        created_at: Millis(5),
        content_ids: vec!["a:1".into()],
        message: Message { content: Some("x".into()), ..Message::default() },
    })
}

fn answer(key: &str, state: State, sequence: u64) -> SentRecord {
    let mut sent = Sent::pending(key, Millis(6)).with(state, None, Millis(6));
    sent.sequence = sequence;
    SentRecord::Post(sent)
}

#[test]
fn state_is_the_same_in_whichever_order_the_topics_are_read() {
    let wanted =
        [stored(topic::OUTBOX, 0, "k", &message("k", 1)), stored(topic::OUTBOX, 1, "k", &message("k", 2))];
    let answers = [
        stored(topic::SENT, 0, "k", &answer("k", State::Sending, 0)),
        stored(topic::SENT, 1, "k", &answer("k", State::Sent, 1)),
    ];
    let mut one = Outbox::new(10);
    let mut other = Outbox::new(10);
    wanted.iter().chain(&answers).for_each(|r| one.apply(r).expect("reads"));
    answers.iter().chain(&wanted).for_each(|r| other.apply(r).expect("reads"));
    assert_eq!(one.entries, other.entries);
    assert_eq!(one.get("k").map(Entry::work), Some(Work::Edit));
}

#[test]
fn a_body_is_kept_only_while_it_may_be_sent() {
    let mut outbox = Outbox::new(10);
    outbox.apply(&stored(topic::OUTBOX, 0, "k", &message("k", 1))).expect("reads");
    outbox.apply(&stored(topic::SENT, 0, "k", &answer("k", State::Uncertain, 0))).expect("reads");
    assert!(outbox.get("k").expect("known").wanted.message.content.is_some());
    outbox.apply(&stored(topic::SENT, 1, "k", &answer("k", State::Sent, 1))).expect("reads");
    assert!(outbox.get("k").expect("known").wanted.message.content.is_none());
    outbox.apply(&stored(topic::OUTBOX, 1, "k", &message("k", 2))).expect("reads");
    assert!(outbox.get("k").expect("known").wanted.message.content.is_some());
}

#[test]
fn only_uncertain_posts_are_settled_by_hand_and_each_request_once() {
    let mut outbox = Outbox::new(10);
    let resolve = Resolve { key: "k".into(), action: Resolution::Resend, asked_at: Millis(7) };
    outbox.apply(&stored(topic::OUTBOX, 0, "k", &message("k", 1))).expect("reads");
    assert!(outbox.resolved(&resolve, Millis(8)).is_err());
    outbox.apply(&stored(topic::SENT, 0, "k", &answer("k", State::Uncertain, 0))).expect("reads");
    assert_eq!(outbox.resolved(&resolve, Millis(8)).map(|s| s.state), Ok(State::Pending));
    outbox
        .apply(&stored(topic::OUTBOX, 1, "resolve~k", &OutboxRecord::Resolve(resolve.clone())))
        .expect("reads");
    assert_eq!(outbox.take_resolve(|_| 2), None, "its position is committed");
    outbox
        .apply(&stored(topic::OUTBOX, 1, "resolve~k", &OutboxRecord::Resolve(resolve.clone())))
        .expect("reads");
    assert_eq!(outbox.take_resolve(|_| 1), Some(resolve));
}

#[test]
fn finished_keys_leave_first() {
    let mut outbox = Outbox::new(2);
    for (offset, key) in ["a", "b", "c"].into_iter().enumerate() {
        outbox.apply(&stored(topic::OUTBOX, offset as u64, key, &message(key, 1))).expect("reads");
        if key == "b" {
            outbox.apply(&stored(topic::SENT, 0, key, &answer(key, State::Sent, 1))).expect("reads");
        }
    }
    assert_eq!(outbox.entries().map(|e| e.wanted.key.as_str()).collect::<Vec<_>>(), ["a", "c"]);
}
