use super::*;
use crate::poll::source::{self, Kind as Platform};

const DID: &str = "did:plc:q235v55g5unth4zjjdpacfdr";

fn source(more: &str) -> Source {
    source::parse(&format!("[[source]]\ntype = \"bluesky\"\n{more}")).expect("valid").remove(0)
}

fn message(operation: &str, rkey: &str, rev: &str, record: &str) -> String {
    format!(
        r#"{{"did":"{DID}","time_us":1779719009157119,"kind":"commit","commit":{{"rev":"{rev}","operation":"{operation}","collection":"app.bsky.feed.post","rkey":"{rkey}"{record}}}}}"#
    )
}

fn post(text: &str, langs: &str, more: &str) -> String {
    format!(
        r#","cid":"b","record":{{"$type":"app.bsky.feed.post","createdAt":"2026-05-25T14:23:28.757Z","langs":[{langs}],"text":{text:?}{more}}}"#
    )
}

/// What these messages come to, with one reader.
fn said(more: &str, messages: &[String]) -> Vec<Said> {
    let source = source(more);
    let Platform::Bluesky(bluesky) = &source.kind else { panic!("bluesky") };
    let mut told = Told::new(100, Vec::new());
    let mut reader = Reader::new(&source, bluesky, 3_600_000);
    messages.iter().map(|m| reader.read(m, &mut told).expect("readable").said).collect()
}

#[test]
fn a_real_message_becomes_an_event() {
    let reply = r#","reply":{"parent":{"cid":"b","uri":"at://did:plc:a/app.bsky.feed.post/3mmojbrjwbs26"},"root":{"cid":"b","uri":"at://did:plc:r/app.bsky.feed.post/1"}}"#;
    let text = post("Try <b>RSV</b> & more\nplease", "\"en-GB\"", reply);
    let said = said("", &[message("create", "3mmoojp4cd223", "3mmoojpaqkn2z", &text)]);
    let [Said::Event(event, _)] = &said[..] else { panic!("{said:?}") };
    assert_eq!(event.content_id(), format!("bluesky:{DID}/app.bsky.feed.post/3mmoojp4cd223"));
    assert_eq!((event.change, event.kind), (Change::Created, Some(Kind::Comment)));
    assert_eq!(event.text.as_deref(), Some("Try &lt;b&gt;RSV&lt;/b&gt; &amp; more\nplease"));
    assert_eq!(event.lang.as_deref(), Some("en-gb"));
    assert_eq!(event.published_at, Some(Millis::parse("2026-05-25T14:23:28.757Z").unwrap()));
    assert_eq!(event.reply_to.as_deref(), Some("did:plc:a/app.bsky.feed.post/3mmojbrjwbs26"));
    // The revision is the commit's own time, seconds before the message's.
    let revision = event.revision.expect("a revision");
    assert!(1_779_719_009_157_119_u64.abs_diff(revision) < 5_000_000, "{revision}");
}

#[test]
fn filters_are_by_language_word_and_reply() {
    let more = "langs = [\"en\"]\nkeywords = [\"Rust\", \"breaking news\"]\nreplies = false";
    let reply = r#","reply":{"parent":{"cid":"b","uri":"at://x/y/1"},"root":{"cid":"b","uri":"at://x/y/1"}}"#;
    let cases = [
        (post("I like RUST.", "\"en-US\"", ""), true),
        (post("#rust it is", "\"de\",\"en\"", ""), true),
        (post("Breaking news: nothing", "\"en\"", ""), true),
        (post("trust me", "\"en\"", ""), false),
        (post("Rust ist gut", "\"de\"", ""), false),
        (post("Rust", "", ""), false),
        (post("Rust", "\"eng\"", ""), false),
        (post("Rust", "\"en\"", reply), false),
    ];
    for (record, wanted) in cases {
        let said = said(more, &[message("create", "3mmoojp4cd223", "3mmoojpaqkn2z", &record)]);
        assert_eq!(matches!(said[0], Said::Event(..)), wanted, "{record}");
    }
}

#[test]
fn only_what_was_told_is_updated_and_deleted_again() {
    let more = "keywords = [\"rust\"]";
    let (rev, rkey) = ("3mmoojpaqkn2z", "3mmoojp4cd223");
    let said = said(
        more,
        &[
            message("create", rkey, rev, &post("rust", "", "")),
            message("create", "3mmoojp4cd224", rev, &post("gold", "", "")),
            // The word is gone, and it is still the post that was told.
            message("update", rkey, "3mmoojqaqkn2z", &post("steel", "", "")),
            message("update", "3mmoojp4cd224", "3mmoojqaqkn2z", &post("silver", "", "")),
            message("delete", rkey, "3mmoojraqkn2z", ""),
            message("delete", "3mmoojp4cd224", "3mmoojraqkn2z", ""),
        ],
    );
    let changes: Vec<Option<Change>> = said
        .iter()
        .map(|s| match s {
            Said::Event(event, _) => Some(event.change),
            _ => None,
        })
        .collect();
    let (c, u, d) = (Some(Change::Created), Some(Change::Updated), Some(Change::Deleted));
    assert_eq!(changes, [c, None, u, None, d, None]);
    let revisions: Vec<u64> = said
        .iter()
        .filter_map(|s| match s {
            Said::Event(event, _) => event.revision,
            _ => None,
        })
        .collect();
    assert!(revisions.is_sorted() && revisions[0] < revisions[2], "{revisions:?}");
}

#[test]
fn a_minute_has_a_budget_and_the_next_one_too() {
    let at = |minute: u64| {
        message("create", "3mmoojp4cd223", "3mmoojpaqkn2z", &post("x", "", ""))
            .replace("1779719009157119", &(1_779_719_009_157_119 + minute * 60_000_000).to_string())
    };
    let said = said("posts_per_minute_max = 2", &[at(0), at(0), at(0), at(0), at(1), at(1), at(1)]);
    let told: Vec<bool> = said.iter().map(|s| matches!(s, Said::Event(..))).collect();
    assert_eq!(told, [true, true, false, false, true, true, false]);
    assert_eq!(said[2], Said::OverBudget);
}

#[test]
fn identity_and_account_messages_pass_by_and_garbage_is_none() {
    let lines = [
        r#"{"did":"did:plc:g","time_us":1779719010267528,"kind":"identity","identity":{"did":"did:plc:g","seq":30340180350,"time":"2026-05-25T14:23:29.950Z"}}"#,
        r#"{"did":"did:plc:g","time_us":1779719010272410,"cursor":77,"kind":"account","account":{"active":true,"did":"did:plc:g","seq":1,"time":"2026-05-25T14:23:29.950Z"}}"#,
        r#"{"did":"did:plc:g","time_us":1779719010272410,"kind":"something new"}"#,
    ];
    assert_eq!(said("", &lines.map(String::from)), [Said::Other, Said::Other, Said::Other]);
    let source = source("");
    let Platform::Bluesky(bluesky) = &source.kind else { panic!("bluesky") };
    let mut reader = Reader::new(&source, bluesky, 0);
    let read = reader.read(lines[1], &mut Told::default()).expect("readable");
    assert_eq!((read.time_us, read.seq), (1_779_719_010_272_410, Some(77)));
    for broken in
        ["", "{}", "[1]", &message("create", "1", "2", ""), &message("create", "1", "2", r#","record":7"#)]
    {
        assert!(reader.read(broken, &mut Told::default()).is_none(), "{broken}");
    }
}

#[test]
fn a_cursor_is_a_number_on_its_host_and_a_time_elsewhere() {
    let place = Place { time_us: 1_779_719_009_000_000, seq: Some((42, "one".into())) };
    assert_eq!(place.cursor("one", 5), 42);
    assert_eq!(place.cursor("two", 5), 1_779_719_004_000_000);
    // A time is never mistaken for a number.
    assert_eq!(Place { time_us: 7, seq: None }.cursor("one", 5), SEQUENCES_BELOW);
}

#[test]
fn the_memory_of_what_was_told_is_bounded_and_knows_its_end() {
    let mut told = Told::new(2, Vec::new());
    for n in 1..=3_u64 {
        told.add(&n.to_string(), n * 10);
    }
    assert!(!told.has("1") && told.has("2") && told.has("3"));
    // From before the memory: it may have been told.
    assert!(told.may_have("1", 10) && told.may_have("0", 5) && !told.may_have("9", 11));
    let (new, forgotten_us) = told.take_new();
    assert_eq!((new.len(), forgotten_us), (3, 10));
    let again = Told::new(2, new);
    assert!(again.has("3") && !again.has("1") && again.may_have("1", 10));
}

#[test]
fn times_are_read_out_of_tids() {
    assert_eq!(tid_us("2222222222222"), Some(0));
    let us = tid_us("3mmoojpaqkn2z").expect("a TID");
    assert!((1_779_719_000_000_000..1_779_719_020_000_000).contains(&us), "{us}");
    assert_eq!(tid_us("self"), None);
    assert_eq!(tid_us("1111111111111"), None);
}
