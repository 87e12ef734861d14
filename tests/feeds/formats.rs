//! YouTube channels, JSON Feed and podcasts: feeds with ways of their own.

use serde_json::json;

use super::*;

const CHANNEL: &str = "UCxxxxxxxxxxxxxxxxxxxxxx";

fn video(id: &str, title: &str, views: u32) -> String {
    format!(
        "<entry><id>yt:video:{id}</id><yt:videoId>{id}</yt:videoId><yt:channelId>{CHANNEL}</yt:channelId>\
         <title>{title}</title><link rel=\"alternate\" href=\"https://www.youtube.com/watch?v={id}\"/>\
         <author><name>A channel</name><uri>https://www.youtube.com/channel/{CHANNEL}</uri></author>\
         <published>2026-11-23T10:00:00+00:00</published><updated>2026-11-24T09:00:00+00:00</updated>\
         <media:group><media:title>{title}</media:title>\
         <media:content url=\"https://www.youtube.com/v/{id}?version=3\" type=\"application/x-shockwave-flash\" width=\"640\" height=\"390\"/>\
         <media:thumbnail url=\"https://i.ytimg.com/vi/{id}/hqdefault.jpg\" width=\"480\" height=\"360\"/>\
         <media:description>About {title}</media:description>\
         <media:community><media:starRating count=\"12\" average=\"5.00\" min=\"1\" max=\"5\"/>\
         <media:statistics views=\"{views}\"/></media:community></media:group></entry>"
    )
}

fn channel(videos: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <feed xmlns:yt=\"http://www.youtube.com/xml/schemas/2015\" xmlns:media=\"http://search.yahoo.com/mrss/\" \
         xmlns=\"http://www.w3.org/2005/Atom\"><link rel=\"self\" href=\"http://www.youtube.com/feeds/videos.xml?channel_id={CHANNEL}\"/>\
         <id>yt:channel:{CHANNEL}</id><title>A channel</title>{videos}</feed>"
    )
}

async fn youtube() -> Bench {
    Bench::following(&format!(
        "[[source]]\ntype = \"youtube\"\nchannel = \"{CHANNEL}\"\nurl = \"SERVER/feeds/videos.xml\"\nbackfill = \"last:9\"\n"
    ))
    .await
}

#[tokio::test]
async fn a_video_is_known_by_its_own_id() {
    let bench = youtube().await;
    bench.server.feed("/feeds/videos.xml", channel(&video("dQw4w9WgXcQ", "First", 1_000)));
    let events = bench.poll().await;
    let event = &events[0];
    assert_eq!(event.content_id(), "youtube:dQw4w9WgXcQ");
    assert_eq!((event.kind, event.title.as_deref()), (Some(Kind::Video), Some("First")));
    assert_eq!(event.text.as_deref(), Some("About First"));
    assert_eq!(event.channel.as_ref().map(|c| c.id.as_str()), Some(CHANNEL));
    let engagement = event.engagement.unwrap();
    assert_eq!((engagement.views, engagement.likes), (Some(1_000), Some(12)));
    assert!(event.media.is_empty(), "a player is no medium");
    assert_eq!(event.published_at, Some(Millis::parse("2026-11-23T10:00:00Z").unwrap()));
    assert_eq!(bench.server.asked_with_queries(), [format!("/feeds/videos.xml?channel_id={CHANNEL}")]);
    // Views trickle in; what has doubled is told, and so is another title.
    bench.server.feed("/feeds/videos.xml", channel(&video("dQw4w9WgXcQ", "First", 1_001)));
    assert!(bench.poll().await.is_empty());
    bench.server.feed("/feeds/videos.xml", channel(&video("dQw4w9WgXcQ", "First", 2_000)));
    assert_eq!(bench.poll().await[0].engagement.unwrap().views, Some(2_000));
    bench.server.feed("/feeds/videos.xml", channel(&video("dQw4w9WgXcQ", "First (corrected)", 2_000)));
    assert_eq!(bench.poll().await[0].change, Change::Updated);
}

#[tokio::test]
async fn the_switch_takes_none_or_a_share_of_the_videos() {
    use tidings::config::Rollout;
    let mut bench = youtube().await;
    let videos: String = (0..40).map(|n| video(&format!("video{n:06}"), &n.to_string(), 1)).collect();
    bench.server.feed("/feeds/videos.xml", channel(&videos));
    bench.settings.youtube = Some(Rollout::OFF);
    let mut poller = bench.open();
    assert_eq!(poller.turn().await.expect("polls"), None, "it is not even asked");
    poller.close().await;
    assert!(bench.server.asked().is_empty());
    let half = Rollout::parse("50%").unwrap();
    bench.sources[0].backfill = poll::source::Backfill::Last(99);
    bench.settings.youtube = Some(half);
    let events = bench.poll().await;
    assert!((8..=32).contains(&events.len()), "{}", events.len());
    assert!(events.iter().all(|e| half.includes(&e.content_id())));
    bench.settings.youtube = Some(Rollout::ON);
    assert_eq!(bench.poll().await.len(), 40 - events.len(), "more only adds");
}

#[tokio::test]
async fn weeks_of_404_and_500_cost_a_channel_nothing() {
    let bench = youtube().await;
    bench.server.feed("/feeds/videos.xml", channel(&video("aaaaaaaaaaa", "First", 1)));
    assert_eq!(bench.poll().await.len(), 1);
    for round in 0..60 {
        bench.server.status("/feeds/videos.xml", if round % 3 == 0 { 500 } else { 404 }, &[]);
        bench.poll().await;
        assert_eq!(last().condition, Condition::Failing);
        assert!(bench.due_in_s() <= 21_600, "never given up");
    }
    assert!(bench.clock.now_ms() - TestClock::START_MS > 10 * 86_400_000, "for many days");
    let both = video("bbbbbbbbbbb", "Second", 1) + &video("aaaaaaaaaaa", "First", 1);
    bench.server.feed("/feeds/videos.xml", channel(&both));
    assert_eq!(titles(&bench.poll().await), ["Second"]);
    assert_eq!((last().condition, last().errors_in_row), (Condition::Ok, 0));
}

#[tokio::test]
async fn a_json_feed_is_a_feed() {
    let bench = Bench::new().await;
    let item = |id: &str, more: &serde_json::Value| {
        let mut item = json!({"id": id, "url": format!("https://example.org/{id}"), "title": format!("Item {id}"),
            "content_html": "<p>Hello</p>", "date_published": "2026-11-23T10:00:00-05:00"});
        item.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        item
    };
    let podcast = json!({"attachments": [{"url": "https://example.org/e.m4a", "mime_type": "audio/x-m4a",
        "size_in_bytes": 89_970_236, "duration_in_seconds": 6_629}]});
    let feed = |items: serde_json::Value| json!({"version": "https://jsonfeed.org/version/1.1", "title": "JSON", "language": "en-US", "items": items});
    let ok = feed(json!([item("1", &json!({})), item("2", &podcast)]));
    bench.server.on("/feed", move |_| {
        let body = format!("\u{feff}{ok}");
        reply(200, &[("content-type", "application/feed+json")], body)
    });
    let mut events = bench.poll().await;
    events.sort_by(|a, b| a.native_id.cmp(&b.native_id));
    assert_eq!(titles(&events), ["Item 1", "Item 2"]);
    assert_eq!(events[0].text.as_deref(), Some("<p>Hello</p>"));
    assert_eq!(events[0].published_at, Some(Millis::parse("2026-11-23T15:00:00Z").unwrap()));
    assert_eq!((events[1].kind, events[1].media.len()), (Some(Kind::Audio), 1));
    assert_eq!(events[1].media[0].mime.as_deref(), Some("audio/x-m4a"));

    // One item that is none costs itself.
    let broken =
        feed(json!([item("3", &json!({})), {"id": 4, "date_published": []}, "what", item("5", &json!({}))]));
    bench.server.json("/feed", &broken);
    let mut events = bench.poll().await;
    events.sort_by(|a, b| a.native_id.cmp(&b.native_id));
    assert_eq!(titles(&events), ["Item 3", "Item 5"]);
    assert_eq!((last().condition, last().entries_broken), (Condition::Ok, 2));
    bench.server.json("/feed", &json!({"items": []}));
    bench.poll().await;
    assert!(last().last_error.unwrap().contains("JSON that is no feed"));
}

#[tokio::test]
async fn a_podcast_names_its_audio_and_how_long_it_is() {
    let bench = Bench::new().await;
    let episode = |duration: &str| {
        format!(
            "<rss version=\"2.0\" xmlns:itunes=\"http://www.itunes.com/dtds/podcast-1.0.dtd\" \
             xmlns:podcast=\"https://podcastindex.org/namespace/1.0\"><channel><title>Show</title>\
             <podcast:guid>917393e3-1b1e-5cef-ace4-edaa54e1f810</podcast:guid>\
             <item><guid isPermaLink=\"false\">e1</guid><title>One</title><itunes:duration>{duration}</itunes:duration>\
             <podcast:transcript url=\"https://example.org/e1.vtt\" type=\"text/vtt\"/>\
             <enclosure url=\"https://example.org/e1.mp3?token=1\" type=\"audio/mpeg\" length=\"24986239\"/>\
             <pubDate>{MONDAY}</pubDate></item></channel></rss>"
        )
    };
    bench.server.feed("/feed", episode("1:02:03"));
    let events = bench.poll().await;
    assert_eq!(events[0].kind, Some(Kind::Audio));
    let [medium] = &events[0].media[..] else { panic!("{events:?}") };
    assert_eq!(medium.url, "https://example.org/e1.mp3?token=1");
    assert_eq!(medium.duration_ms, Some(3_723_000));
    // The signature of the address changes at every fetch.
    bench.server.feed("/feed", episode("1:02:03").replace("token=1", "token=2"));
    assert!(bench.poll().await.is_empty());
    bench.server.feed("/feed", episode("nonsense"));
    assert!(bench.poll().await.is_empty(), "a length that cannot be read is no edit");
}
