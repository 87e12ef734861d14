//! Temporary.
use std::collections::BTreeMap;
pub mod topics {
    #[derive(Clone, Default, Debug)]
    pub struct Topics;
}
pub struct Analysis {
    pub title: Option<String>,
    pub text: Option<String>,
    pub lang: Option<String>,
    pub sentiment: Option<crate::event::Sentiment>,
    pub topics: Vec<String>,
    pub analyzers: BTreeMap<String, String>,
}
pub fn analyse(
    title: Option<&str>,
    text: Option<&str>,
    lang: Option<&str>,
    _t: &topics::Topics,
    on: bool,
) -> Analysis {
    let words = text.unwrap_or_default().len() as f64;
    Analysis {
        title: title.map(Into::into),
        text: text.map(Into::into),
        lang: lang.map(Into::into),
        sentiment: on.then_some(crate::event::Sentiment {
            compound: (words % 7.0 - 3.0) / 10.0,
            positive: 0.0,
            neutral: 1.0,
            negative: 0.0,
        }),
        topics: text
            .unwrap_or_default()
            .split(' ')
            .filter(|w| w.starts_with('#'))
            .map(|w| w[1..].to_string())
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect(),
        analyzers: BTreeMap::new(),
    }
}
