//! A real headless Chromium, driven by the W3C WebDriver protocol through Debian's
//! chromedriver: the few commands that the tests need.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64_of_screenshots::decoded;
use serde_json::{Value, json};

const FOUND_WITHIN: Duration = Duration::from_secs(30);
/// Keys of the protocol.
pub const ENTER: &str = "\u{e007}";
pub const TAB: &str = "\u{e004}";

pub struct Browser {
    driver: Child,
    session: String,
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
    _profile: tempfile::TempDir,
}

/// An element of the page that is shown.
#[derive(Clone, Debug)]
pub struct Element(String);

impl Browser {
    /// Starts both; a machine without them fails the test and says what to install.
    pub fn start(dark: bool) -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect(
                "this test needs Debian's packages chromium and chromium-driver: scripts/install.sh --tests",
            );
        let output = BufReader::new(driver.stdout.take().expect("piped"));
        let port = output
            .lines()
            .map_while(Result::ok)
            .find_map(|line| {
                line.rsplit_once("successfully on port ")?.1.trim_end_matches('.').parse::<u16>().ok()
            })
            .expect("chromedriver says its port");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("starts");
        let profile = tempfile::tempdir().expect("a temporary folder");
        let mut args = vec![
            format!("--user-data-dir={}", profile.path().display()),
            "--window-size=1280,900".to_string(),
        ];
        let fixed = "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic --no-first-run \
                     --disable-background-networking --disable-component-update --disable-sync";
        args.extend(fixed.split_whitespace().map(str::to_string));
        if dark {
            args.push("--blink-settings=preferredColorScheme=0".to_string());
        }
        let mut browser = Self {
            driver,
            session: format!("http://127.0.0.1:{port}/session"),
            client: reqwest::Client::builder().no_proxy().timeout(FOUND_WITHIN * 2).build().expect("builds"),
            runtime,
            _profile: profile,
        };
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": args },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let session = browser.send("", &wanted).expect("a session of Chromium");
        browser.session += &format!("/{}", session["sessionId"].as_str().expect("an id"));
        browser
    }

    fn send(&self, path: &str, body: &Value) -> Result<Value, String> {
        self.answer(self.client.post(format!("{}{path}", self.session)).json(body))
    }

    fn get(&self, path: &str) -> Result<Value, String> {
        self.answer(self.client.get(format!("{}{path}", self.session)))
    }

    fn answer(&self, request: reqwest::RequestBuilder) -> Result<Value, String> {
        self.runtime.block_on(async {
            let answer: Value = request
                .send()
                .await
                .map_err(|e| e.to_string())?
                .json()
                .await
                .map_err(|e: reqwest::Error| e.to_string())?;
            match answer["value"]["error"].as_str() {
                Some(error) => Err(format!("{error}: {}", answer["value"]["message"])),
                None => Ok(answer["value"].clone()),
            }
        })
    }

    pub fn open(&self, url: &str) {
        self.send("/url", &json!({ "url": url })).expect("opens");
    }

    pub fn resize(&self, width: u32, height: u32) {
        self.send("/window/rect", &json!({ "width": width, "height": height })).expect("resizes");
    }

    /// Runs a script's body in the page and gives what it returns.
    pub fn script(&self, body: &str) -> Value {
        self.send("/execute/sync", &json!({ "script": body, "args": [] })).expect("a script that runs")
    }

    /// The first element that an XPath selects, once there is one.
    pub fn find(&self, xpath: &str) -> Element {
        let wanted = json!({ "using": "xpath", "value": xpath });
        let until = Instant::now() + FOUND_WITHIN;
        loop {
            match self.send("/element", &wanted) {
                Ok(found) => {
                    let id = found.as_object().and_then(|o| o.values().next()).and_then(Value::as_str);
                    return Element(id.expect("an element's id").to_string());
                }
                Err(error) => {
                    assert!(Instant::now() < until, "{xpath} did not appear: {error}\n{}", self.text());
                }
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Clicks on what the XPath selects; again where the page was drawn anew in between.
    pub fn click(&self, xpath: &str) {
        self.insisting(xpath, |element| self.send(&format!("/element/{}/click", element.0), &json!({})));
    }

    pub fn type_into(&self, xpath: &str, text: &str) {
        self.insisting(xpath, |e| self.send(&format!("/element/{}/value", e.0), &json!({ "text": text })));
    }

    fn insisting(&self, xpath: &str, act: impl Fn(&Element) -> Result<Value, String>) {
        let until = Instant::now() + FOUND_WITHIN;
        while let Err(error) = act(&self.find(xpath)) {
            assert!(Instant::now() < until, "{xpath}: {error}");
        }
    }

    /// Presses keys, wherever the focus is.
    pub fn press(&self, keys: &[&str]) {
        let presses: Vec<Value> = keys
            .iter()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key })))
            .collect();
        let actions = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": presses }] });
        self.send("/actions", &actions).expect("keys can be pressed");
    }

    /// What a person reads on the page.
    pub fn text(&self) -> String {
        self.script("return document.body.innerText").as_str().unwrap_or_default().to_string()
    }

    /// What the browser complained of since the last call.
    pub fn complaints(&self) -> Vec<String> {
        let entries = self.send("/se/log", &json!({ "type": "browser" })).expect("the browser's log");
        entries.as_array().into_iter().flatten().map(|entry| entry["message"].to_string()).collect()
    }

    /// Writes a picture of the window.
    pub fn screenshot(&self, path: &Path) {
        let picture = self.get("/screenshot").expect("a picture");
        std::fs::create_dir_all(path.parent().expect("in a folder")).expect("a folder for pictures");
        std::fs::write(path, decoded(picture.as_str().expect("base64"))).expect("written");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends its browser; already gone is as good.
        let _ = self.answer(self.client.delete(&self.session));
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

mod base64_of_screenshots {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    pub fn decoded(text: &str) -> Vec<u8> {
        let digit = |b: u8| ALPHABET.iter().position(|a| *a == b).map(|at| at as u32);
        let digits: Vec<u32> = text.bytes().filter_map(digit).collect();
        let bytes = |group: &[u32]| {
            let bits = group.iter().fold(0, |bits, d| bits << 6 | d) << (6 * (4 - group.len()));
            bits.to_be_bytes()[1..group.len()].to_vec()
        };
        digits.chunks(4).flat_map(bytes).collect()
    }
}
