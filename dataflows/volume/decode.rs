//! content.enriched and control.clock become updates; what cannot be read, dead letters.

use std::borrow::Cow;

use serde::Deserialize;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::explode::Update;
use crate::Epoch;
use crate::event::{Contribution, Engagement, Sentiment};
use crate::faults::{Fault, Reason, dead_letter};
use crate::record::{Record, Stored, topic};
use crate::time::Millis;

/// What Analyse reads of [`crate::event::Enriched`]: text is skipped over.
#[derive(Deserialize)]
struct Counted<'a> {
    ingested_at: Millis,
    previous: Option<Contribution>,
    #[serde(borrow)]
    content: Option<CountedContent<'a>>,
}

#[derive(Deserialize)]
struct CountedContent<'a> {
    #[serde(borrow)]
    platform: Cow<'a, str>,
    published_at: Millis,
    author: Option<Id>,
    channel: Option<Id>,
    #[serde(default)]
    engagement: Engagement,
    sentiment: Option<Sentiment>,
    topics: Vec<String>,
    #[serde(default)]
    terms: Vec<String>,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

/// One record in, an update out; `None` for a tombstone, which says that the
/// identity is forgotten and changes no count.
pub fn decode(stored: &Stored) -> Result<Option<Update>, Fault> {
    let clock = Update { ingested_at: Millis(stored.timestamp_ms), plus: None, minus: None };
    if &*stored.topic == topic::CLOCK {
        return Ok(Some(clock));
    }
    let Some(value) = &stored.value else { return Ok(None) };
    let counted: Counted<'_> = serde_json::from_slice(value)
        .map_err(|e| Fault::new(Reason::Malformed, format!("not an enriched record: {e}")))?;
    Ok(Some(Update {
        ingested_at: counted.ingested_at,
        minus: counted.previous,
        plus: counted.content.map(|c| Contribution {
            published_at: c.published_at,
            platform: c.platform.into_owned(),
            channel: c.channel.map(|c| c.id),
            author: c.author.map(|a| a.id),
            topics: c.topics,
            terms: c.terms,
            compound: c.sentiment.map(|s| s.compound_e4()),
            engagement: c.engagement,
        }),
    }))
}

/// Decodes a stream: updates, and dead letters of stage `analyse`.
pub fn decoded<'scope>(
    stored: StreamVec<'scope, Epoch, Stored>,
) -> (StreamVec<'scope, Epoch, Update>, StreamVec<'scope, Epoch, Record>) {
    let mut builder = OperatorBuilder::new("Decode".to_string(), stored.scope());
    let mut input = builder.new_input(stored, Pipeline);
    let (updates, updates_stream) = builder.new_output::<Vec<Update>>();
    let (faults, faults_stream) = builder.new_output::<Vec<Record>>();
    let mut updates = OutputBuilder::<_, CapacityContainerBuilder<Vec<Update>>>::from(updates);
    let mut faults = OutputBuilder::<_, CapacityContainerBuilder<Vec<Record>>>::from(faults);
    builder.build(move |_capabilities| {
        move |_frontiers| {
            let (mut updates, mut faults) = (updates.activate(), faults.activate());
            input.for_each(|cap, data| {
                let (mut updates, mut faults) = (updates.session(&cap), faults.session(&cap));
                for stored in data.drain(..) {
                    match decode(&stored) {
                        Ok(Some(update)) => updates.give(update),
                        Ok(None) => {}
                        Err(fault) => faults.give(dead_letter("analyse", &stored, &fault)),
                    }
                }
            });
        }
    });
    (updates_stream, faults_stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Enriched;
    use crate::record::Headers;

    #[test]
    fn reads_exactly_the_contribution() {
        let json = r#"{"id":"x:1","change":"updated","version":{"revision":2,"enrichment":0},
            "ingested_at":"2026-11-24T10:00:00Z","content_hash":"00","previous":{"published_at":5,
            "platform":"x","channel":null,"author":"a","topics":["t"],"terms":["old news"],"compound":-3,"engagement":{}},
            "content":{"platform":"x\n","native_id":"1","kind":"post","published_at":"2026-11-24T09:00:00Z",
            "author":{"id":"a","name":"A"},"channel":{"id":"c"},"thread_id":null,"title":"t \"q\"","text":null,
            "lang":"en","url":null,"engagement":{"likes":4},"reply_to":null,
            "sentiment":{"compound":0.1234,"positive":0.1,"neutral":0.9,"negative":0.0},"topics":["a","b"],"terms":["some news","tag"],"analyzers":{}}}"#;
        let enriched: Enriched = serde_json::from_str(json).expect("valid");
        let stored = Stored {
            topic: topic::ENRICHED.into(),
            partition: 0,
            offset: 0,
            timestamp_ms: 1,
            key: b"x:1".to_vec(),
            value: Some(serde_json::to_vec(&enriched).expect("plain")),
            headers: Headers::new(),
        };
        let update = decode(&stored).expect("valid").expect("not a tombstone");
        assert_eq!(update.plus, enriched.contribution());
        assert_eq!(update.minus, enriched.previous);
        assert_eq!(update.ingested_at, enriched.ingested_at);
    }
}
