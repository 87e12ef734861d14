//! Consumes the human-rated texts, produces one event for each: the texts are real, the
//! platform, author, channel, time and engagement are assigned here, by the text's id
//! alone.

use dataflows::event::{Change, ContentEvent, Engagement, Kind, Party};
use dataflows::time::{HOUR_MS, MINUTE_MS, Millis};

use super::content::{Collection, Rated};
use super::{Delivery, Outcome, draw};

/// The texts are spread over this long before the demonstration starts, so that a daily
/// digest, which may reach back two days, has a whole window before its own to compare with.
pub const SPREAD_MS: i64 = 96 * HOUR_MS;

/// Nothing is published in the last minutes: the clock of a reader may be a little off.
const QUIET_MS: i64 = 5 * MINUTE_MS;

impl Collection {
    /// The platform that the demonstration assigns; no real platform's name.
    pub fn platform(self) -> &'static str {
        match self {
            Self::Tweets => "microblog",
            Self::Movies => "film-reviews",
            Self::Products => "shop-reviews",
            Self::Editorials => "newspaper",
        }
    }
}

/// The events of the archive in the order of their publication, which ends at `end`.
pub fn events(texts: &[Rated], end: Millis) -> Vec<Delivery> {
    let mut events: Vec<ContentEvent> = texts.iter().map(|rated| event(rated, end)).collect();
    events.sort_by(|a, b| (a.published_at, &a.native_id).cmp(&(b.published_at, &b.native_id)));
    events.into_iter().map(|event| Delivery::of(event, Outcome::Created)).collect()
}

/// The content id that the archive gives to a rated text.
pub fn content_id(rated: &Rated) -> String {
    dataflows::event::content_id(rated.collection.platform(), &rated.id)
}

fn event(rated: &Rated, end: Millis) -> ContentEvent {
    let platform = rated.collection.platform();
    let label = format!("{platform}:{}", rated.id);
    // Editorials and product reviews are cut into sentences: `text_sentence`.
    let whole = rated.id.split('_').next().unwrap_or(&rated.id).to_string();
    let (kind, author, channel) = match rated.collection {
        Collection::Tweets => {
            (Kind::Post, format!("user-{:03}", draw(&label, 800)), ("public", "Public timeline"))
        }
        Collection::Movies => {
            (Kind::Article, format!("critic-{:03}", draw(&label, 150)), ("reviews", "Film reviews"))
        }
        Collection::Products => (Kind::Comment, format!("buyer-{whole}"), ("electronics", "Electronics")),
        Collection::Editorials => {
            (Kind::Article, format!("writer-{:02}", draw(&whole, 40)), ("editorials", "Editorials"))
        }
    };
    let sentence_of =
        matches!(rated.collection, Collection::Products | Collection::Editorials).then_some(whole);
    let spread = u64::try_from(SPREAD_MS - QUIET_MS).expect("the spread is longer than the quiet end");
    let before_end =
        QUIET_MS + i64::try_from(draw(&format!("when {label}"), spread)).expect("below the spread");
    let likes = u32::try_from(draw(&format!("likes {label}"), 40)).expect("below 40");
    ContentEvent {
        platform: platform.to_string(),
        native_id: rated.id.clone(),
        change: Change::Created,
        kind: Some(kind),
        revision: Some(1),
        published_at: Some(Millis(end.0 - before_end)),
        author: Some(Party { id: author, name: None }),
        channel: Some(Party { id: channel.0.to_string(), name: Some(channel.1.to_string()) }),
        thread_id: sentence_of,
        title: None,
        text: Some(rated.text.clone()),
        lang: Some("en".to_string()),
        url: Some(format!("https://{platform}.example/{}", rated.id)),
        engagement: Some(Engagement {
            views: Some(likes * 25),
            likes: Some(likes),
            comments: Some(likes / 4),
            shares: None,
        }),
        media: Vec::new(),
        reply_to: None,
        other: Default::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: Millis = Millis(1_800_000_000_000);

    fn rated(collection: Collection, id: &str) -> Rated {
        Rated { collection, id: id.to_string(), rating: 1.0, text: format!("text {id}") }
    }

    #[test]
    fn spreads_texts_over_days_the_same_way_each_time() {
        let texts: Vec<Rated> = (0..500).map(|i| rated(Collection::Tweets, &i.to_string())).collect();
        let first = events(&texts, END);
        assert_eq!(first, events(&texts, END));
        let times: Vec<i64> =
            first.iter().map(|d| d.event.as_ref().and_then(|e| e.published_at).expect("timed").0).collect();
        assert!(times.is_sorted());
        assert!(times[0] >= END.0 - SPREAD_MS && times[499] <= END.0 - QUIET_MS);
        let recent = times.iter().filter(|t| **t > END.0 - SPREAD_MS / 2).count();
        assert!((150..350).contains(&recent), "half of the texts in each half, not {recent}");
    }

    #[test]
    fn sentences_of_one_editorial_share_thread_and_author() {
        let parts = [rated(Collection::Editorials, "12_1"), rated(Collection::Editorials, "12_2")];
        let events: Vec<_> = events(&parts, END).into_iter().filter_map(|d| d.event).collect();
        assert_eq!(events[0].thread_id.as_deref(), Some("12"));
        assert_eq!(events[0].author, events[1].author);
        assert_ne!(events[0].native_id, events[1].native_id);
    }
}
