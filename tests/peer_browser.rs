//! Web sessions, WebSockets and events with Chromium at the other end: pages that count visits and
//! chat, and what a browser checks of its own.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too
#![cfg(feature = "websocket")]

mod browser;
mod programs;
#[path = "support/server.rs"]
mod support;
#[cfg(feature = "tls")]
#[path = "support/tls.rs"]
mod tls;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use browser::{Browser, text_of};
#[cfg(feature = "tls")]
use programs::Folder;
use programs::Serve;
use sessile::Result;
use sessile::message::{Request, Response, StatusCode};
use sessile::server::{HttpServerParams, ServerResponse};
use sessile::session::HttpClientSession;
use sessile::web::{Event, EventWriter, prepare_event_stream};
use sessile::websocket::{AcceptOptions, Message, WebSocket, WebSocketSender};
use support::Running;

/// Waits until the log of a page has so many lines, and gives them.
const LINES: &str = "
    const lines = () => [...document.querySelectorAll('#log li')].map((item) => item.textContent);
    while (lines().length < COUNT) await new Promise((resolve) => setTimeout(resolve, 10));
    return lines().join('|');
";

fn lines(browser: &mut Browser, count: usize) -> String {
    browser.run(&LINES.replace("COUNT", &count.to_string()))
}

/// What a user can do on the page of `serve`, with scripts or without.
fn visits_and_signs_out(browser: &mut Browser, serve: &Serve) {
    let url = serve.url("/");
    let secure = url.starts_with("https");
    browser.open(&url);
    assert_eq!(browser.title(), "sessile");
    assert_eq!(browser.text("#visits"), "1");
    let id = browser.text("#id");
    let cookie = browser.cookie("id").unwrap();
    assert_eq!(text_of(&cookie, "value"), id);
    for part in [
        r#""httpOnly":true"#,
        &format!(r#""secure":{secure}"#),
        r#""sameSite":"Lax""#,
        r#""path":"/""#,
        r#""domain":"127.0.0.1""#,
    ] {
        assert!(cookie.contains(part), "{part}: {cookie}");
    }
    assert!(!cookie.contains("expiry"), "it ends with the browser: {cookie}");

    browser.open(&url);
    assert_eq!((browser.text("#visits"), browser.text("#id")), ("2".to_owned(), id.clone()));
    // Another page, and back by a link that a user would take.
    browser.click("a[href='/hello']");
    browser.open(&url);
    assert_eq!(browser.text("#visits"), "3");

    browser.click("form[action='/sign-out'] button");
    // The page follows, to a new visitor.
    assert_eq!(browser.text("#visits"), "1");
    let next = browser.text("#id");
    assert_ne!(next, id);
    assert_eq!(text_of(&browser.cookie("id").unwrap(), "value"), next);
}

#[test]
#[ignore = "needs chromium"]
fn the_page_of_serve_counts_visits_and_signs_out_with_and_without_scripts() {
    let serve = Serve::start(&[]);
    let mut browser = Browser::start();
    visits_and_signs_out(&mut browser, &serve);
    assert_eq!(browser.run("return document.cookie"), "", "no script sees the id");

    let mut browser = Browser::start();
    browser.disable_scripts();
    browser.open("data:text/html,<title>none</title><script>document.title='one'</script>");
    assert_eq!(browser.title(), "none");
    visits_and_signs_out(&mut browser, &serve);
}

#[test]
#[cfg(feature = "tls")]
#[ignore = "needs chromium"]
fn the_page_of_serve_counts_visits_and_signs_out_under_tls() {
    let folder = Folder::new();
    let serve = serve_tls(&folder);
    visits_and_signs_out(&mut Browser::start(), &serve);
}

/// A `serve` with a certificate that nobody vouches for.
#[cfg(feature = "tls")]
fn serve_tls(folder: &Folder) -> Serve {
    let issued = tls::Authority::new("an authority").server(&["127.0.0.1"]);
    let certificate = folder.file("server.pem", issued.pem.as_bytes());
    let key = folder.file("server.key", issued.key.as_bytes());
    let serve = Serve::start(&["--tls-cert", &certificate, "--tls-key", &key]);
    assert!(serve.url("/").starts_with("https://"));
    serve
}

#[test]
#[ignore = "needs chromium"]
fn the_page_of_serve_talks_to_ws_until_the_server_stops() {
    let mut serve = Serve::start(&[]);
    let mut browser = Browser::start();
    browser.open(&serve.url("/"));
    for (count, text) in ["hello", "grüße 😀", "<b>as text</b>"].into_iter().enumerate() {
        browser.enter("#chat input", text);
        assert_eq!(lines(&mut browser, count + 1).rsplit('|').next(), Some(text));
    }
    let start = Instant::now();
    assert!(serve.signal("TERM").success());
    assert!(start.elapsed() < Duration::from_secs(10), "the browser said goodbye");
    assert!(lines(&mut browser, 4).ends_with("|closed: 1001 the server stops"));
}

#[test]
#[cfg(feature = "tls")]
#[ignore = "needs chromium"]
fn the_page_of_serve_talks_to_ws_under_tls() {
    let folder = Folder::new();
    let serve = serve_tls(&folder);
    let mut browser = Browser::start();
    browser.open(&serve.url("/"));
    browser.enter("#chat input", "geheim");
    assert_eq!(lines(&mut browser, 1), "geheim");
    assert_eq!(browser.run(CHECKS), "4321 genug true");
}

/// A page that says what comes, and sends what is typed.
const CHAT: &str = r#"<!doctype html><meta charset="utf-8"><title>chat</title>
<form id="chat"><input name="text"></form><ul id="log"></ul>
<script>
  const log = (line) => {
    const item = document.createElement("li");
    item.textContent = line;
    document.getElementById("log").append(item);
  };
  const socket = new WebSocket(location.origin.replace("http", "ws") + "/ws", ["none", "chat"]);
  socket.onopen = () => log(`open ${socket.protocol}`);
  socket.onmessage = (message) => log(message.data);
  socket.onclose = (close) => log(`closed: ${close.code} ${close.reason}`);
  document.getElementById("chat").addEventListener("submit", (event) => {
    event.preventDefault();
    socket.send(event.target.elements.text.value);
    event.target.reset();
  });
</script>"#;

fn page(response: &mut ServerResponse<'_>, html: &str) -> Result<()> {
    response.set_content_type("text/html; charset=utf-8");
    response.send_buffer(html.as_bytes())
}

/// A room: what one says is told to all, by the thread of the one who says it. Says how many are
/// there, and with which code they leave.
fn room() -> (Running, Arc<AtomicUsize>, mpsc::Receiver<Option<u16>>) {
    let present = Arc::new(AtomicUsize::new(0));
    let counted = present.clone();
    let (leave, left) = mpsc::channel();
    let all: Mutex<Vec<WebSocketSender>> = Mutex::default();
    let server = Running::with(HttpServerParams::new(), move |request, response| {
        if request.path() != "/ws" {
            return page(response, CHAT);
        }
        let mut socket = WebSocket::accept(request, response, &AcceptOptions::new().with_protocol("chat"))?;
        all.lock().unwrap().push(socket.sender());
        counted.fetch_add(1, Ordering::SeqCst);
        let end = loop {
            match socket.receive_message() {
                // Who is gone is told nothing any more.
                Ok(Some(Message::Text(text))) => {
                    all.lock().unwrap().retain(|one| one.send_text(&text).is_ok())
                }
                Ok(Some(Message::Binary(_))) => {}
                end => break end,
            }
        };
        counted.fetch_sub(1, Ordering::SeqCst);
        leave.send(socket.close_frame().map(|close| close.code.as_u16())).unwrap();
        end.map(drop)
    });
    (server, present, left)
}

#[test]
#[ignore = "needs chromium"]
fn two_pages_and_a_client_chat_with_each_other() {
    let (server, present, left) = room();
    let url = format!("http://{}/", server.address);
    let mut browser = Browser::start();
    browser.open(&url);
    let first = browser.window();
    browser.open_window();
    browser.open(&url);
    assert_eq!(lines(&mut browser, 1), "open chat");

    let mut session = HttpClientSession::with_address(server.address);
    let mut request = Request::get("/ws");
    request.headers_mut().set("Sec-WebSocket-Protocol", "chat").unwrap();
    let mut client = WebSocket::connect(&mut session, &mut request, &mut Response::new()).unwrap();
    support::until("all are there", || present.load(Ordering::SeqCst) == 3);

    browser.enter("#chat input", "second: hallo");
    assert_eq!(client.receive_message().unwrap(), Some(Message::Text("second: hallo".into())));
    client.send_text("client: grüezi").unwrap();
    browser.switch_to(&first);
    assert_eq!(lines(&mut browser, 3), "open chat|second: hallo|client: grüezi");
    browser.enter("#chat input", "first: 你好");
    assert_eq!(lines(&mut browser, 4), "open chat|second: hallo|client: grüezi|first: 你好");
    for text in ["client: grüezi", "first: 你好"] {
        assert_eq!(client.receive_message().unwrap(), Some(Message::Text(text.into())));
    }

    // A page that is closed says so; the others go on.
    browser.close_window();
    support::until("the first has left", || present.load(Ordering::SeqCst) == 2);
    assert_eq!(left.recv().unwrap(), Some(1001));
    client.send_text("client: anybody?").unwrap();
    assert_eq!(client.receive_message().unwrap(), Some(Message::Text("client: anybody?".into())));
    client.close_handshake(Duration::from_secs(10)).unwrap();
}

/// What a browser makes of messages of every length, of both kinds, and of a close.
const CHECKS: &str = "
    const socket = new WebSocket(location.origin.replace('http', 'ws') + '/ws');
    socket.binaryType = 'arraybuffer';
    const next = (name) => new Promise((resolve, reject) => {
        socket.addEventListener(name, resolve, { once: true });
        if (name !== 'close') socket.addEventListener('close', reject, { once: true });
    });
    await next('open');
    for (const length of [0, 1, 125, 126, 127, 65535, 65536, 1000000]) {
        const bytes = Uint8Array.from({ length }, (_, i) => i % 251);
        socket.send(bytes);
        const back = new Uint8Array((await next('message')).data);
        if (back.length !== length || back.some((byte, i) => byte !== i % 251)) return `bytes ${length}`;
        const text = 'ä😀'.repeat(length / 2);
        socket.send(text);
        if ((await next('message')).data !== text) return `text ${length}`;
    }
    socket.close(4321, 'genug');
    const close = await next('close');
    return `${close.code} ${close.reason} ${close.wasClean}`;
";

#[test]
#[ignore = "needs chromium"]
fn a_browser_exchanges_messages_of_all_lengths_and_a_foreign_page_is_refused() {
    let serve = Serve::start(&[]);
    let other = Serve::start(&[]);
    let mut browser = Browser::start();
    browser.open(&serve.url("/hello"));
    assert_eq!(browser.run(CHECKS), "4321 genug true");
    // The same script on a page of another origin.
    browser.open(&other.url("/hello"));
    let script = format!(
        "const socket = new WebSocket('ws://{}/ws');
         return new Promise((resolve) => {{
             socket.onopen = () => resolve('open');
             socket.onclose = (close) => resolve(`closed: ${{close.code}}`);
         }});",
        serve.address
    );
    assert_eq!(browser.run(&script), "closed: 1006");
}

#[test]
#[ignore = "needs chromium"]
fn a_browser_hears_events_and_comes_back_with_the_last_id() {
    let (asked, ids) = mpsc::channel();
    let server = Running::with(HttpServerParams::new(), move |request, response| {
        if request.path() != "/events" {
            return page(response, "<!doctype html><title>events</title>");
        }
        let last = request.headers().get("Last-Event-ID").map(String::from);
        asked.send(last.clone()).unwrap();
        let next = match last {
            Some(last) if last == "4" => {
                response.set_status_and_reason(StatusCode::NO_CONTENT);
                return response.send()?.finish();
            }
            Some(last) => last.parse().unwrap_or(0) + 1,
            None => 1,
        };
        prepare_event_stream(response);
        let mut events = EventWriter::new(response.send()?);
        events.send_retry(Duration::from_millis(20))?;
        events.comment("two at a time")?;
        for id in next..next + 2 {
            events.send(&Event::new(format!("line\nline {id}")).with_name("n")?.with_id(id.to_string())?)?;
            events.heartbeat()?;
        }
        events.into_inner().finish()
    });
    let mut browser = Browser::start();
    browser.open(&format!("http://{}/", server.address));
    let heard = browser.run(
        "const heard = [];
         const source = new EventSource('/events');
         source.addEventListener('n', (event) => heard.push(`${event.lastEventId}:${event.data}`));
         await new Promise((resolve) => source.onerror = () => {
             if (source.readyState === EventSource.CLOSED) resolve();
         });
         return heard.join('|');",
    );
    assert_eq!(heard, "1:line\nline 1|2:line\nline 2|3:line\nline 3|4:line\nline 4");
    assert_eq!(ids.try_iter().collect::<Vec<_>>(), [None, Some("2".into()), Some("4".into())]);
}
