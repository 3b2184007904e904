//! A headless Chromium, driven by ChromeDriver's WebDriver interface over a session of ours.

#![allow(dead_code)] // each test program uses a part of this
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sessile::message::{Method, Request, Response};
use sessile::session::{ClientSession, HttpClientSession, Session};

use crate::programs::Folder;

/// A browser with a profile of its own; it ends with this.
pub(crate) struct Browser {
    driver: Child,
    session: HttpClientSession,
    /// `/session/ID`
    path: String,
    _profile: Folder,
}

impl Browser {
    pub(crate) fn start() -> Browser {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("chromedriver: {error}"));
        let mut said = BufReader::new(driver.stdout.take().unwrap());
        let port = loop {
            let mut line = String::new();
            assert!(said.read_line(&mut line).unwrap() > 0, "chromedriver ended");
            if let Some((_, port)) =
                line.trim_end().trim_end_matches('.').rsplit_once("successfully on port ")
            {
                break port.parse().unwrap();
            }
        };
        // Nobody else reads what it says; a full pipe would stop it.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));

        let profile = Folder::new();
        let arguments: Vec<String> = FLAGS
            .iter()
            .map(|flag| flag.to_string())
            .chain([format!("--user-data-dir={}", profile.path().display())])
            .map(|flag| json(&flag))
            .collect();
        let mut session = HttpClientSession::new("127.0.0.1", port);
        session.set_timeout(Duration::from_secs(60));
        let mut browser = Browser { driver, session, path: "/session".into(), _profile: profile };
        let answer = browser.call(
            Method::POST,
            "",
            &format!(
                r#"{{"capabilities":{{"alwaysMatch":{{"acceptInsecureCerts":true,"timeouts":{{"script":30000,"implicit":20000}},"goog:chromeOptions":{{"args":[{}]}}}}}}}}"#,
                arguments.join(",")
            ),
        );
        browser.path = format!("/session/{}", text_of(&answer, "sessionId"));
        browser
    }

    /// Loads a page.
    pub(crate) fn open(&mut self, url: &str) {
        self.call(Method::POST, "/url", &format!(r#"{{"url":{}}}"#, json(url)));
    }

    /// Another window, with nothing in it; what follows happens there. Returns its handle.
    pub(crate) fn open_window(&mut self) -> String {
        let answer = self.call(Method::POST, "/window/new", r#"{"type":"window"}"#);
        let handle = text_of(&answer, "handle");
        self.switch_to(&handle);
        handle
    }

    /// The handle of the window where things happen.
    pub(crate) fn window(&mut self) -> String {
        let answer = self.call(Method::GET, "/window", "");
        text_of(&answer, "value")
    }

    /// Closes the window where things happen.
    pub(crate) fn close_window(&mut self) {
        self.call(Method::DELETE, "/window", "");
    }

    pub(crate) fn switch_to(&mut self, handle: &str) {
        self.call(Method::POST, "/window", &format!(r#"{{"handle":{}}}"#, json(handle)));
    }

    /// Types text, and a line end, into the element that a selector finds, as a user does.
    pub(crate) fn enter(&mut self, selector: &str, text: &str) {
        let element = self.element(selector);
        let text = json(&format!("{text}\u{e007}"));
        self.call(Method::POST, &format!("/element/{element}/value"), &format!(r#"{{"text":{text}}}"#));
    }

    /// Clicks on the element that a selector finds, and waits for the page that follows.
    pub(crate) fn click(&mut self, selector: &str) {
        let (element, page) = (self.element(selector), self.element("html"));
        self.call(Method::POST, &format!("/element/{element}/click"), "{}");
        let end = Instant::now() + Duration::from_secs(20);
        while self.try_call(Method::GET, &format!("/element/{page}/name"), "").unwrap().0 == 200 {
            assert!(Instant::now() < end, "{selector} leads nowhere");
        }
    }

    /// What a user can read in the element that a selector finds.
    pub(crate) fn text(&mut self, selector: &str) -> String {
        loop {
            let element = self.element(selector);
            let (status, text) = self.try_call(Method::GET, &format!("/element/{element}/text"), "").unwrap();
            // It was of the page that is just being left.
            if text.contains("stale element reference") {
                continue;
            }
            assert_eq!(status, 200, "{selector}: {text}");
            return text_of(&text, "value");
        }
    }

    pub(crate) fn title(&mut self) -> String {
        let answer = self.call(Method::GET, "/title", "");
        text_of(&answer, "value")
    }

    /// A cookie of the page as the browser keeps it, as JSON; `None` if it has none of the name.
    pub(crate) fn cookie(&mut self, name: &str) -> Option<String> {
        let (status, text) = self.try_call(Method::GET, &format!("/cookie/{name}"), "").unwrap();
        (status == 200).then_some(text)
    }

    /// From now on no page runs scripts.
    pub(crate) fn disable_scripts(&mut self) {
        let command = r#"{"cmd":"Emulation.setScriptExecutionDisabled","params":{"value":true}}"#;
        self.call(Method::POST, "/goog/cdp/execute", command);
    }

    /// Waits for it, where the page is not whole yet.
    fn element(&mut self, selector: &str) -> String {
        let body = format!(r#"{{"using":"css selector","value":{}}}"#, json(selector));
        let answer = self.call(Method::POST, "/element", &body);
        text_of(&answer, "element-6066-11e4-a52e-4f735466cecf")
    }

    /// Runs an asynchronous function in the page; what it returns, as text.
    pub(crate) fn run(&mut self, script: &str) -> String {
        let script = format!(
            "const done = arguments[arguments.length - 1];\
             (async () => {{ {script} }})().then((value) => done(`${{value}}`), (error) => done(`error: ${{error}}`));"
        );
        let answer = self.call(
            Method::POST,
            "/execute/async",
            &format!(r#"{{"script":{},"args":[]}}"#, json(&script)),
        );
        text_of(&answer, "value")
    }

    fn call(&mut self, method: Method, what: &str, body: &str) -> String {
        let (status, text) = self.try_call(method, what, body).unwrap();
        assert_eq!(status, 200, "{what} {body}: {text}");
        text
    }

    fn try_call(&mut self, method: Method, what: &str, body: &str) -> sessile::Result<(u16, String)> {
        let mut request = Request::new(method, format!("{}{what}", self.path));
        if !body.is_empty() {
            request.set_content_type("application/json; charset=utf-8").set_content_length(body.len() as u64);
        }
        self.session.send_request(&request)?.write_all(body.as_bytes())?;
        let mut response = Response::new();
        let mut text = String::new();
        self.session.receive_response(&mut response)?.read_to_string(&mut text)?;
        Ok((response.status().as_u16(), text))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // This ends the browser, the other the driver.
        self.session.reset();
        let _ = self.try_call(Method::DELETE, "", "");
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

const FLAGS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
];

/// Text as a JSON string.
pub(crate) fn json(text: &str) -> String {
    let mut json = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            '\0'..' ' => json += &format!("\\u{:04x}", u32::from(c)),
            _ => json.push(c),
        }
    }
    json + "\""
}

/// The first string of this name in JSON text.
pub(crate) fn text_of(text: &str, name: &str) -> String {
    let name = format!("\"{name}\":\"");
    let at = text.find(&name).unwrap_or_else(|| panic!("no {name} in {text}"));
    let mut found = String::new();
    let mut rest = text[at + name.len()..].chars();
    loop {
        match rest.next().unwrap() {
            '"' => return found,
            '\\' => match rest.next().unwrap() {
                'n' => found.push('\n'),
                't' => found.push('\t'),
                'r' => found.push('\r'),
                'u' => {
                    let digits: String = rest.by_ref().take(4).collect();
                    let unit = u16::from_str_radix(&digits, 16).unwrap();
                    found.push(char::decode_utf16([unit]).next().unwrap().unwrap_or('\u{fffd}'));
                }
                c => found.push(c),
            },
            c => found.push(c),
        }
    }
}
