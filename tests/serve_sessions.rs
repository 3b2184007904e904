//! The web sessions of `serve`, seen from outside: its page, its endpoints, its stores.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

mod programs;

use std::fs;
use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use programs::{Folder, Serve};
use sessile::message::{Cookie, Form, Method, Request, Response};
use sessile::session::{ClientSession, HttpClientSession};

/// Somebody who keeps the one cookie there is.
struct Visitor {
    session: HttpClientSession,
    cookie: Option<String>,
}

impl Visitor {
    fn of(serve: &Serve) -> Visitor {
        Visitor { session: HttpClientSession::with_address(serve.address), cookie: None }
    }

    /// Sends a request, with a form where there is one; what was answered.
    fn ask(&mut self, method: Method, target: &str, form: &str) -> (Response, String) {
        let mut request = Request::new(method, target);
        if let Some(cookie) = &self.cookie {
            request.headers_mut().set("Cookie", format!("theme=dark; id={cookie}")).unwrap();
        }
        if !form.is_empty() {
            request.set_content_type(Form::MEDIA_TYPE).set_content_length(form.len() as u64);
        }
        self.session.send_request(&request).unwrap().write_all(form.as_bytes()).unwrap();
        let (mut response, mut text) = (Response::new(), String::new());
        self.session.receive_response(&mut response).unwrap().read_to_string(&mut text).unwrap();
        if let Some(cookie) = set_cookie(&response) {
            assert_eq!(response.headers().get("Cache-Control"), Some("no-store"));
            self.cookie = (cookie.max_age() != Some(0)).then(|| cookie.value().to_owned());
        }
        (response, text)
    }

    fn get(&mut self, target: &str) -> String {
        let (response, text) = self.ask(Method::GET, target, "");
        assert_eq!(response.status().as_u16(), 200, "{text}");
        text
    }

    fn status(&mut self, method: Method, target: &str) -> u16 {
        self.ask(method, target, "").0.status().as_u16()
    }
}

fn set_cookie(response: &Response) -> Option<Cookie> {
    let value = response.headers().get("Set-Cookie")?;
    let cookie = Cookie::parse(value).unwrap();
    assert_eq!((cookie.name(), cookie.path()), ("id", Some("/")), "{value}");
    assert!(value.contains("; HttpOnly") && value.contains("; SameSite=Lax"), "{value}");
    Some(cookie)
}

/// The value of this name in JSON, as it stands there.
fn member<'a>(json: &'a str, name: &str) -> &'a str {
    let name = format!("\"{name}\":");
    let rest = &json[json.find(&name).unwrap_or_else(|| panic!("no {name} in {json}")) + name.len()..];
    let end =
        if rest.starts_with('{') { rest.find('}').unwrap() + 1 } else { rest.find([',', '}']).unwrap() };
    rest[..end].trim_matches('"')
}

#[test]
fn a_session_is_shown_changed_given_another_id_and_ended() {
    let serve = Serve::start(&[]);
    let mut visitor = Visitor::of(&serve);
    let first = visitor.get("/session");
    let id = visitor.cookie.clone().unwrap();
    assert_eq!(member(&first, "id"), id);
    assert_eq!((member(&first, "is_new"), member(&first, "attributes")), ("true", "{}"));
    assert_eq!(member(&first, "max_inactive_interval"), "1800");
    let created: u64 = member(&first, "created").parse().unwrap();
    assert!(created > 1_700_000_000_000, "milliseconds since 1970");
    assert_eq!(member(&first, "last_accessed"), created.to_string());

    let (response, text) = visitor.ask(Method::POST, "/session", "b=two+words&a=%22&c=3");
    assert_eq!((response.status().as_u16(), set_cookie(&response)), (200, None), "{text}");
    assert_eq!(member(&text, "is_new"), "false");
    assert_eq!(member(&text, "attributes"), r#"{"a":"\"","b":"two words","c":"3"}"#);
    assert_eq!(visitor.status(Method::DELETE, "/session/attributes/b"), 204);
    assert_eq!(visitor.status(Method::DELETE, "/session/attributes/%63"), 204);
    assert_eq!(visitor.status(Method::DELETE, "/session/attributes/none"), 204);
    let text = visitor.get("/session");
    assert_eq!(member(&text, "attributes"), r#"{"a":"\""}"#);
    assert!(member(&text, "last_accessed").parse::<u64>().unwrap() >= created);

    let (_, text) = visitor.ask(Method::POST, "/session/rotate", "");
    let rotated = visitor.cookie.clone().unwrap();
    assert_ne!(rotated, id);
    assert_eq!((member(&text, "id"), member(&text, "attributes")), (&rotated[..], r#"{"a":"\""}"#));
    assert_eq!(member(&text, "created"), created.to_string());
    // The old id is worth nothing, and is not taken over.
    let mut thief = Visitor { cookie: Some(id.clone()), ..Visitor::of(&serve) };
    assert_eq!(member(&thief.get("/session"), "attributes"), "{}");
    assert!(![Some(&id), Some(&rotated)].contains(&thief.cookie.as_ref()));

    let mut copy = Visitor { cookie: visitor.cookie.clone(), ..Visitor::of(&serve) };
    let (response, _) = visitor.ask(Method::DELETE, "/session", "");
    assert_eq!(response.status().as_u16(), 204);
    assert_eq!(set_cookie(&response).unwrap().max_age(), Some(0));
    assert_eq!(visitor.cookie, None);
    assert_eq!(member(&copy.get("/session"), "attributes"), "{}");
    assert_eq!(visitor.status(Method::DELETE, "/session"), 204, "there is none to end");
}

#[test]
fn methods_and_paths_that_are_not_there_are_refused() {
    let serve = Serve::start(&[]);
    let mut visitor = Visitor::of(&serve);
    for (method, target, status) in [
        (Method::PUT, "/session", 405),
        (Method::GET, "/session/rotate", 405),
        (Method::GET, "/session/attributes/a", 405),
        (Method::GET, "/session/other", 404),
        (Method::GET, "/sign-out", 405),
        (Method::POST, "/", 405),
    ] {
        assert_eq!(visitor.status(method.clone(), target), status, "{method} {target}");
    }
    let (response, _) = visitor.ask(Method::POST, "/session", "a=%zz");
    assert_eq!(response.status().as_u16(), 400);
    assert_eq!(visitor.get("/hello"), "Hello, world!");
    assert_eq!(visitor.cookie, None, "none of this needs a session");
}

#[test]
fn the_page_counts_visits_and_signs_out_who_was_shown_its_form() {
    let serve = Serve::start(&[]);
    let mut visitor = Visitor::of(&serve);
    assert!(visitor.get("/").contains(r#"<strong id="visits">1</strong> time "#));
    let id = visitor.cookie.clone().unwrap();
    let page = visitor.get("/");
    assert!(page.contains(r#"<strong id="visits">2</strong> times "#));
    assert!(page.contains(&format!(r#"<code id="id">{id}</code>"#)));
    let token = page.split(r#"name="token" value=""#).nth(1).unwrap().split('"').next().unwrap();

    let (response, _) = visitor.ask(Method::POST, "/sign-out", "token=AAAAAAAAAAAAAAAAAAAAAA");
    assert_eq!(response.status().as_u16(), 403);
    assert_eq!(visitor.cookie.as_ref(), Some(&id));
    let (response, _) = visitor.ask(Method::POST, "/sign-out", &format!("token={token}"));
    assert_eq!(response.status().as_u16(), 303);
    assert_eq!(response.headers().get("Location"), Some("/"));
    assert_eq!(visitor.cookie, None);
    assert!(visitor.get("/").contains(r#"<strong id="visits">1</strong> time "#));
    assert_ne!(visitor.cookie, Some(id));
}

#[test]
fn a_session_ends_after_the_time_that_was_asked_for() {
    let serve = Serve::start(&["--session-timeout", "0.2"]);
    let mut visitor = Visitor::of(&serve);
    visitor.get("/");
    let id = visitor.cookie.clone();
    thread::sleep(Duration::from_millis(250));
    assert!(visitor.get("/").contains(r#"<strong id="visits">1</strong>"#));
    assert_ne!(visitor.cookie, id);
}

#[test]
fn sessions_in_files_survive_a_kill_and_a_damaged_one_is_lost_without_an_error() {
    let folder = Folder::new();
    let sessions = folder.path().join("sessions");
    let store = format!("file:{}", sessions.display());
    let serve = Serve::start(&["--session-store", &store]);
    let (mut ann, mut bob) = (Visitor::of(&serve), Visitor::of(&serve));
    ann.ask(Method::POST, "/session", "name=ann");
    bob.ask(Method::POST, "/session", "name=bob");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&sessions).unwrap().permissions().mode() & 0o777, 0o700);
    }
    // It is killed.
    drop(serve);
    let serve = Serve::start(&["--session-store", &store]);
    let again = |visitor: &Visitor| {
        let mut visitor = Visitor { cookie: visitor.cookie.clone(), ..Visitor::of(&serve) };
        visitor.get("/session")
    };
    let text = again(&ann);
    assert_eq!(member(&text, "id"), ann.cookie.as_ref().unwrap());
    assert_eq!((member(&text, "is_new"), member(&text, "attributes")), ("false", r#"{"name":"ann"}"#));
    assert_eq!(member(&again(&bob), "attributes"), r#"{"name":"bob"}"#);

    for entry in fs::read_dir(&sessions).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "session") {
            assert!(!path.to_string_lossy().contains(ann.cookie.as_ref().unwrap()));
            fs::write(path, b"damaged").unwrap();
        }
    }
    let text = again(&ann);
    assert_eq!((member(&text, "is_new"), member(&text, "attributes")), ("true", "{}"));
}

#[test]
fn files_of_sessions_that_ended_go_within_ten_seconds() {
    let folder = Folder::new();
    let sessions = folder.path().join("sessions");
    let store = format!("file:{}", sessions.display());
    let serve = Serve::start(&["--session-store", &store, "--session-timeout", "0.5"]);
    let records = || {
        let names = fs::read_dir(&sessions).unwrap().map(|entry| entry.unwrap().path());
        names.filter(|path| path.extension().is_some_and(|extension| extension == "session")).count()
    };
    for _ in 0..3 {
        Visitor::of(&serve).get("/");
    }
    let start = Instant::now();
    while records() > 0 {
        assert!(start.elapsed() < Duration::from_secs(10), "{} are left", records());
        thread::yield_now();
    }
}

#[cfg(feature = "redis")]
#[test]
fn a_store_that_is_not_there_is_a_503_on_what_needs_it_and_nothing_to_the_rest() {
    let store = format!("redis://127.0.0.1:{}/", programs::free_port());
    let serve = Serve::start(&["--session-store", &store]);
    let mut visitor = Visitor { cookie: Some("AAECAwQFBgcICQoLDA0ODxAR".to_owned()), ..Visitor::of(&serve) };
    for (method, target) in [
        (Method::GET, "/"),
        (Method::GET, "/session"),
        (Method::DELETE, "/session"),
        (Method::POST, "/session/rotate"),
    ] {
        let start = Instant::now();
        assert_eq!(visitor.status(method.clone(), target), 503, "{method} {target}");
        assert!(start.elapsed() < Duration::from_secs(5));
    }
    assert_eq!(visitor.get("/hello"), "Hello, world!");
    // So it is for who comes for the first time.
    let mut visitor = Visitor::of(&serve);
    let (response, _) = visitor.ask(Method::GET, "/session", "");
    assert_eq!((response.status().as_u16(), set_cookie(&response)), (503, None));
    assert_eq!(visitor.get("/hello"), "Hello, world!");
}
