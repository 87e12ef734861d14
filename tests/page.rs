//! The page in a real headless Chromium, against the real program: what it shows, that
//! it keeps itself current, by mouse, by keyboard, at phone width, in the dark, and what
//! hostile content does to it. Pictures are left in `target/page/`.

#[path = "support/browser.rs"]
mod browser;
#[expect(dead_code, reason = "shared with tests/end_to_end.rs, which uses all of it")]
#[path = "support/program.rs"]
mod program;

use std::path::{Path, PathBuf};

use browser::{Browser, ENTER, TAB};
use program::{Program, eventually};
use serde_json::json;

fn picture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a target folder").join("page").join(name)
}

/// Alerts about content alone: how full this machine's disk is, is not what is tested.
const RULES: &str = "[[alert]]\nname = \"burst\"\nkind = \"burst\"\nscore_min = 8.0\nitems_min = 20\n";

fn start() -> Program {
    let program = Program::start(|command, config| {
        std::fs::write(config.join("sources.toml"), "source = []\n").expect("can be written");
        std::fs::write(config.join("alerts.toml"), RULES).expect("can be written");
        command.args(["--set", "embed.enabled=false"]);
    });
    eventually("readiness", || program.get("/readyz"));
    program
}

/// An event of `minutes` ago.
fn event(platform: &str, n: usize, minutes: i64, text: &str) -> serde_json::Value {
    let at = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(minutes);
    json!({
        "platform": platform, "native_id": n.to_string(), "kind": "post", "change": "created",
        "published_at": at.to_string(), "text": text, "url": format!("https://{platform}.example/{n}"),
        "author": { "id": format!("author-{n}") }, "channel": { "id": "c1", "name": "Channel one" },
    })
}

fn some_events() -> Vec<serde_json::Value> {
    (0..30)
        .map(|n| match n % 3 {
            0 => event("mastodon", n, n as i64, "What a wonderful football match, the team loves it!"),
            1 => event("news", n, n as i64, "The economy suffers from terrible inflation."),
            _ => event("forum", n, n as i64, "Nothing in particular happened."),
        })
        .collect()
}

#[test]
fn an_empty_page_says_why_and_fills_itself() {
    let (program, browser) = (start(), Browser::start(false));
    browser.open(&program.url("/"));
    browser.find("//p[contains(., 'no data yet, because')]");
    program.post(&some_events());
    // Without a reload, and without a touch.
    browser.find("//section[@aria-label='By topic']//button[.='sport']");
    let total = "return document.querySelector('svg.chart').getAttribute('aria-label')";
    eventually("thirty items in the chart", || {
        let says = browser.script(total).to_string();
        if says.contains(": 30 items") { Ok(()) } else { Err(says) }
    });
    browser.screenshot(&picture("now.png"));

    browser.click("//section[@aria-label='By platform']//button[.='news']");
    browser.find("//button[@aria-label='remove the filter platform news']");
    assert!(browser.script(total).to_string().contains(": 10 items"), "{}", browser.script(total));
    browser.find("//section[@aria-label='By topic']//button[.='economy']");
    browser.click("//button[@aria-label='remove the filter platform news']");
    eventually("the filter gone", || {
        let says = browser.script(total).to_string();
        if says.contains(": 30 items") { Ok(()) } else { Err(says) }
    });
    let outside = browser.script(
        "return performance.getEntriesByType('resource').filter(e => !e.name.startsWith(location.origin)).length",
    );
    assert_eq!(outside, 0, "nothing comes from elsewhere");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// Hours of quiet on several platforms, and then everybody speaks of one thing, some with
/// the same words.
fn a_burst_and_a_story() -> Vec<serde_json::Value> {
    let quiet =
        (0..240).map(|n| event("forum", n, 45 + 3 * n as i64, &format!("Thoughts of day {n} about bread.")));
    let burst = (0..40).map(|n| {
        event("mastodon", n, 12 + n as i64 % 20, &format!("Number {n} saw it too, unbelievable! #whalewatch"))
    });
    let text =
        "A humpback whale swam past the old lighthouse this morning and stayed for an hour, say fishermen.";
    let story = ["news", "blog", "radio"].into_iter().enumerate();
    let story = story.map(|(n, platform)| event(platform, 1_000 + n, 30 - n as i64, text));
    quiet.chain(burst).chain(story).collect()
}

#[test]
fn stories_trends_and_alerts_are_shown_with_why_and_stream_as_they_come() {
    let (program, browser) = (start(), Browser::start(false));
    browser.open(&program.url("/"));
    for (heading, says) in
        [("Alerts", "no alert yet"), ("Stories", "no story yet"), ("Trends", "no trend yet")]
    {
        browser.find(&format!("//section[@aria-label='{heading}']//p[contains(., '{says}')]"));
    }
    program.post(&a_burst_and_a_story());
    browser.find("//section[@aria-label='Stories']//li//a[contains(., 'humpback whale')]");
    browser.find("//section[@aria-label='Stories']//li//div[contains(., 'also on')]//a[.='blog' or .='news' or .='radio']");
    browser.find("//section[@aria-label='Trends']//li//strong[.='#whalewatch']");
    browser.find("//section[@aria-label='Trends']//li//div[contains(., 'expected')]");
    browser.find("//section[@aria-label='Alerts']//li//strong[contains(., '#whalewatch')]");
    browser.screenshot(&picture("happening.png"));
    assert!(
        !browser.text().contains("undefined") && !browser.text().contains("[object"),
        "{}",
        browser.text()
    );
    assert_eq!(browser.complaints(), Vec::<String>::new());

    // The same as a stream, from the beginning, and then on from an id of it.
    let url = program.url("/v1/stream?from=beginning&topics=alerts,results.stories,results.trends");
    let kinds = ["event: alerts", "event: results.stories", "event: results.trends"];
    let all = stream(&url, None, |text| kinds.iter().all(|kind| text.contains(kind)));
    let ids: Vec<&str> = all.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    let events = |text: &str| {
        text.lines().filter(|line| line.starts_with("data: ")).map(str::to_string).collect::<Vec<_>>()
    };
    let told = events(&all);
    // The first id is that of the beginning. Both end only when nothing is missed.
    let again = stream(&url, Some(ids[0]), |text| told.iter().all(|event| text.contains(event)));
    assert!(events(&again).len() >= told.len());
    let rest = stream(&url, Some(ids[1]), |text| told[1..].iter().all(|event| text.contains(event)));
    assert!(!events(&rest).contains(&told[0]), "what was seen does not come again");
}

#[test]
fn what_has_no_answer_hides_nothing_else() {
    let program = Program::start(|command, config| {
        std::fs::write(config.join("sources.toml"), "source = []\n").expect("can be written");
        // Alerts are decided where messages are delivered.
        command.args(["--set", "embed.enabled=false", "--roles", "poll,serve"]);
    });
    eventually("readiness", || program.get("/readyz"));
    program.post(&some_events());
    let browser = Browser::start(false);
    browser.open(&program.url("/"));
    browser.find("//section[@aria-label='Alerts']//p[contains(., '404')]");
    browser.find("//section[@aria-label='By topic']//button[.='sport']");
}

/// What a stream says until that is enough.
fn stream(url: &str, last: Option<&str>, enough: impl Fn(&str) -> bool) -> String {
    use std::io::{BufRead, BufReader, Write};
    let address = url.strip_prefix("http://").expect("plain HTTP");
    let (host, path) = address.split_at(address.find('/').expect("a path"));
    let mut connection = std::net::TcpStream::connect(host).expect("listens");
    connection.set_read_timeout(Some(std::time::Duration::from_secs(60))).expect("a socket");
    let last = last.map_or(String::new(), |id| format!("Last-Event-ID: {id}\r\n"));
    write!(connection, "GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n{last}\r\n")
        .expect("sent");
    let mut text = String::new();
    for line in BufReader::new(connection).lines() {
        let line = line.expect("a line");
        text += &format!("{line}\n");
        // An event ends with an empty line.
        if line.is_empty() && enough(&text) {
            return text;
        }
    }
    panic!("the stream ended too early: {text}");
}

#[test]
fn the_keyboard_reaches_every_view_and_the_search() {
    let (program, browser) = (start(), Browser::start(false));
    program.post(&some_events());
    browser.open(&program.url("/"));
    browser.find("//section[@aria-label='By topic']//button[.='sport']");
    // The skip link, then the views; Enter opens the second of them.
    browser.press(&[TAB, TAB, TAB, ENTER]);
    browser.find("//nav/a[@href='#search' and @aria-current='page']");
    browser.type_into("//input[@name='q']", "terrible inflation");
    browser.press(&[ENTER]);
    browser.find("//ul//mark[.='inflation']");
    browser.find("//ul//a[starts-with(@href, 'https://news.example/')]");
    browser.screenshot(&picture("search.png"));
    for (view, heading) in [
        ("messages", "Outbox"),
        ("sources", "Sources"),
        ("flow", "Who holds it back"),
        ("refused", "Dead letters"),
    ] {
        browser.type_into(&format!("//nav/a[@href='#{view}']"), ENTER);
        browser.find(&format!("//section[@aria-label='{heading}']"));
        assert!(browser.script("return document.activeElement.tagName") == "MAIN", "{view} has the focus");
        browser.screenshot(&picture(&format!("{view}.png")));
    }
    // The digest as it would look, all of it.
    browser.type_into("//nav/a[@href='#messages']", ENTER);
    browser
        .find("//div[@class='embed']/h3[.='Most active topics']/following-sibling::p[contains(., 'sport')]");
    browser.click("//details/summary");
    browser.find("//details[@open]//td/span[.='in']");
    assert!(!browser.text().contains("[object"), "{}", browser.text());
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn hostile_content_stays_text() {
    let (program, browser) = (start(), Browser::start(false));
    let attack =
        "<img src=x onerror=\"document.title='pwned'\"><script>document.title='pwned'</script> harmless";
    let mut hostile = event("forum", 1, 1, attack);
    hostile["title"] = json!("&lt;img src=x onerror=alert(1)&gt; \"'><svg onload=alert(1)>");
    hostile["url"] = json!("javascript:document.title='pwned'");
    hostile["channel"] = json!({ "id": "<b>c</b>" });
    program.post(&[hostile]);
    browser.open(&program.url("/"));
    browser.find("//section[@aria-label='By channel']//button[.='<b>c</b> (forum)']");
    browser.type_into("//nav/a[@href='#search']", ENTER);
    browser.type_into("//input[@name='q']", "harmless");
    browser.press(&[ENTER]);
    browser.find("//ul/li");
    let made =
        browser.script("return document.querySelectorAll('main img, main script, main b, main svg').length");
    assert_eq!(made, 0, "{}", browser.text());
    let links = browser.script("return [...document.querySelectorAll('main a')].map(a => a.href)");
    assert_eq!(links, json!([]), "only the web is linked to");
    assert_eq!(browser.script("return document.title"), "Tidings: search");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn what_is_refused_is_shown_with_its_reason() {
    let (program, browser) = (start(), Browser::start(false));
    program.post(&[json!({ "platform": "forum", "native_id": "1", "change": "created" })]);
    browser.open(&program.url("/#refused"));
    browser
        .find("//section[@aria-label='What did not become content, by reason']//td[contains(., 'missing')]");
    browser.find("//section[@aria-label='Dead letters']//p[contains(., 'every record')]");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_source_that_fails_is_shown_with_its_error() {
    let program = Program::start(|command, config| {
        let source = "[[source]]\ntype = \"feed\"\nname = \"nobody\"\nplatform = \"rss\"\nurl = \"http://127.0.0.1:1/\"\n";
        std::fs::write(config.join("sources.toml"), source).expect("can be written");
        command.args(["--set", "embed.enabled=false", "--set", "poll.allow_private_addresses=true"]);
    });
    eventually("readiness", || program.get("/readyz"));
    let browser = Browser::start(false);
    browser.open(&program.url("/#sources"));
    let row = "//section[@aria-label='Sources']//tr[td[contains(., 'nobody')]]";
    browser.find(&format!("{row}/td[contains(., 'failing') and contains(., 'no connection')]"));
    browser.find("//p[@id='health' and contains(., 'nobody')]");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_phone_shows_it_whole_and_the_dark_is_dark() {
    let (program, browser) = (start(), Browser::start(true));
    program.post(&some_events());
    browser.resize(375, 740);
    browser.open(&program.url("/"));
    browser.find("//section[@aria-label='By topic']//button[.='sport']");
    for view in ["now", "search", "messages", "sources", "flow", "refused"] {
        browser.open(&program.url(&format!("/#{view}")));
        browser.find(&format!("//nav/a[@href='#{view}' and @aria-current='page']"));
        browser.find("//main/*");
        let wider = browser.script("return document.documentElement.scrollWidth - window.innerWidth");
        assert!(wider.as_i64().is_some_and(|n| n <= 0), "{view} is {wider} pixels wider than the window");
        browser.screenshot(&picture(&format!("phone-{view}.png")));
    }
    let back = browser.script("return getComputedStyle(document.body).backgroundColor");
    assert_eq!(back, "rgb(20, 24, 27)");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_token_becomes_a_cookie() {
    let token = "page-token-page-token-page-token";
    let program = Program::start(|command, config| {
        std::fs::write(config.join("sources.toml"), "source = []\n").expect("can be written");
        command.args(["--set", "embed.enabled=false"]).env("TIDINGS_API_TOKEN", token);
    });
    eventually("readiness", || program.get("/readyz"));
    let browser = Browser::start(false);
    browser.open(&program.url("/"));
    assert!(browser.text().contains("a token is needed"), "{}", browser.text());
    browser.open(&program.url("/login?token=wrong"));
    assert!(browser.text().contains("401"), "{}", browser.text());
    browser.open(&program.url(&format!("/login?token={token}")));
    browser.find("//p[contains(., 'no data yet, because')]");
    assert_eq!(browser.script("return document.cookie"), "", "scripts cannot read it");
    assert_eq!(browser.script("return location.pathname + location.search"), "/");
}
