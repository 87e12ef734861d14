use super::*;

#[test]
fn title_and_text_are_read_together() {
    let watched = Topics::new(vec![
        topics::Topic { name: "rust".into(), any: vec!["rust".into()] },
        topics::Topic { name: "c".into(), any: vec!["c++".into()] },
    ])
    .unwrap();
    let analysis = analyse(
        Some("Rust &amp; C++: <b>great</b>"),
        Some("<p>The committee will publish its findings before the end of the year.</p>"),
        Some("de"),
        &watched,
        6,
        true,
    );
    assert_eq!(analysis.title.as_deref(), Some("Rust & C++: great"));
    assert_eq!(
        analysis.text.as_deref(),
        Some("The committee will publish its findings before the end of the year.")
    );
    assert_eq!(analysis.lang.as_deref(), Some("en"));
    assert_eq!(analysis.topics, ["c", "rust"]);
    let whole = "Rust & C++: great\nThe committee will publish its findings before the end of the year.";
    assert_eq!(analysis.sentiment, Some(sentiment::score(whole)));
    assert_eq!(analysis.analyzers["sentiment"], "vader 3.3.2");
    assert_eq!(analysis.analyzers["topics"], watched.version());

    let off = analyse(None, Some("great"), Some("en-GB"), &watched, 6, false);
    assert_eq!((off.sentiment, off.title, off.lang.as_deref()), (None, None, Some("en")));
    assert!(!off.analyzers.contains_key("sentiment"));
}

#[test]
fn nothing_to_read_has_no_sentiment() {
    for (title, text) in [(None, None), (None, Some("")), (Some(" "), Some("<p> </p>")), (Some(""), None)] {
        let analysis = analyse(title, text, None, &Topics::none(), 6, true);
        assert_eq!((analysis.sentiment, analysis.lang), (None, None), "{title:?} {text:?}");
        assert_eq!((analysis.title.is_some(), analysis.text.is_some()), (title.is_some(), text.is_some()));
    }
}
