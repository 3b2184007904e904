//! What must not be seen: passwords, tokens and cookies are in no log, no error and no `Debug`.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

#[path = "support/origin.rs"]
mod origin;

use std::error::Error as _;
use std::fmt::{Debug, Write};
use std::sync::Mutex;
use std::time::Duration;

use origin::{OK, Origin, answer, redirect, say};
use sessile::auth::{BasicCredentials, BearerCredentials, HttpCredentials, ProxyAuthentication};
use sessile::client::{Authentication, StreamFactory, UserAgent};
use sessile::message::{Request, Uri};
use sessile::session::{ClientSession, HttpClientSession, ProxyConfig, Timeouts};
use sessile::{Error, Result};

/// All that was logged and shown.
static SEEN: Mutex<String> = Mutex::new(String::new());

struct Collector;

impl log::Log for Collector {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        writeln!(SEEN.lock().unwrap(), "{}: {}", record.level(), record.args()).unwrap();
    }

    fn flush(&self) {}
}

fn shown(what: &dyn Debug) {
    writeln!(SEEN.lock().unwrap(), "{what:?} {what:#?}").unwrap();
}

/// An error, and what it says with all its causes.
fn told(error: &Error) {
    shown(error);
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(text, ": {error} {error:?}").unwrap();
        cause = error.source();
    }
    writeln!(SEEN.lock().unwrap(), "{text}").unwrap();
}

fn called(result: Result<sessile::client::AgentResponse>) {
    match result {
        Ok(response) => {
            shown(&response);
            let _ = response.read_to_vec();
        }
        Err(error) => told(&error),
    }
}

/// The password, the token and the cookie; and in what else they would be seen.
const PASSWORD: &str = "s3cr3t";
const TOKEN: &str = "t0k3n";
const COOKIE: &str = "c00k13";
const FORMS: [&str; 6] = [
    PASSWORD,
    TOKEN,
    COOKIE,
    // `user:s3cr3t` in base64, and what Digest and NTLM prove with.
    "dXNlcjpzM2NyM3Q",
    "response=",
    "TlRMTVNTUAAD",
];

/// Challenges in all ways, and then refuses or agrees; sets cookies all along.
fn origin() -> Origin {
    Origin::serving(|asked, stream| {
        let set = format!("Set-Cookie: id={COOKIE}; Path=/");
        let challenge = match asked.target.rsplit('/').next().unwrap() {
            "basic" => "Basic realm=a",
            "digest" => "Digest realm=a, nonce=n, qop=\"auth\"",
            "ntlm" if asked.field("Authorization").is_some_and(|value| value.contains("AAB")) => {
                "NTLM TlRMTVNTUAACAAAAAAAAAAAAAAABAggAASNFZ4mrze8AAAAAAAAAAAAAAAAAAAAA"
            }
            "ntlm" => "NTLM",
            "away" => return redirect(stream, 302, &format!("ftp://user:{PASSWORD}@other/")),
            "round" => return redirect(stream, 302, "round"),
            "broken" => return say(stream, &format!("HTTP/1.1 200 OK\r\n{set}\r\nbroken\r\n\r\n")),
            "cut" => {
                say(stream, &format!("HTTP/1.1 200 OK\r\n{set}\r\nContent-Length: 10\r\n\r\ncut"));
                return false;
            }
            _ => return answer(stream, &format!("200 OK\r\n{set}"), b"ok"),
        };
        let head = format!("401 Unauthorized\r\nWWW-Authenticate: {challenge}\r\n{set}");
        answer(stream, &head, b"who?")
    })
}

fn calls(agent: &UserAgent, base: &str) {
    let user = Authentication::new("user", PASSWORD).in_the_clear(true);
    let at_once = Authentication::basic("user", PASSWORD);
    let bearer = Authentication::bearer(TOKEN);
    shown(&(&user, &at_once, &bearer));
    for path in ["/basic", "/digest", "/ntlm", "/away", "/round", "/broken", "/cut", "/fine"] {
        for user in [&user, &at_once, &bearer] {
            let call = agent.get(format!("{base}{path}")).authentication(user.clone());
            let call = call.header("Cookie", COOKIE).header("Authorization", "");
            shown(&call);
            called(call.send());
            called(agent.get(format!("{base}{path}")).authentication(user.clone()).send());
        }
        let own = agent.post(format!("{base}{path}")).content(PASSWORD);
        called(own.header("Authorization", format!("Bearer {TOKEN}")).send());
        let named: Uri =
            format!("{base}{path}").replace("//", &format!("//user:{PASSWORD}@")).parse().unwrap();
        shown(&named);
        writeln!(SEEN.lock().unwrap(), "{named}").unwrap();
        called(agent.get(&named).send());
        if let Err(error) = StreamFactory::with_agent(agent.clone()).open(&named) {
            told(&error);
        }
    }
}

#[test]
fn secrets_are_in_no_log_no_error_and_no_debug() {
    log::set_logger(&Collector).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let origin = origin();
    let builder = || UserAgent::builder().timeouts(Timeouts::all(Duration::from_secs(10)));
    #[cfg(feature = "cookies")]
    let builder = || builder().cookies(sessile::client::CookieJar::new());
    let agent = builder().build().unwrap();
    calls(&agent, &origin.url(""));
    #[cfg(feature = "cookies")]
    shown(&agent.cookie_jar());

    // Through a proxy that asks as well, and one that is not there.
    let proxy = Origin::serving(|asked, stream| match asked.field("Proxy-Authorization") {
        Some(_) if asked.method != "CONNECT" => say(stream, OK),
        _ => answer(stream, "407 No\r\nProxy-Authenticate: Digest realm=a, nonce=n, Basic realm=b", b""),
    });
    for port in [proxy.port, 1] {
        for method in [ProxyAuthentication::Basic, ProxyAuthentication::Digest, ProxyAuthentication::Ntlm] {
            let mut config: ProxyConfig = format!("http://user:{PASSWORD}@127.0.0.1:{port}").parse().unwrap();
            config.set_auth_method(method);
            shown(&config);
            let agent = builder().proxy(config.clone()).build().unwrap();
            shown(&agent);
            for uri in ["http://origin.test/", "https://origin.test/"] {
                called(agent.get(uri).send());
                called(agent.put(uri).content(vec![0; 100_000]).send());
            }
            let mut session = HttpClientSession::with_proxy("origin.test", 80, config).unwrap();
            told(&session.proxy_tunnel().unwrap_err());
            shown(&session);
            shown(session.proxy_config());
        }
    }

    // What can't be read, or can't be sent.
    for text in ["http://user:s3cr3t@ho st/", "http://user:s3cr3t@h:99999/", "gopher://user:s3cr3t@h/"] {
        told(&text.parse::<Uri>().unwrap_err());
        called(agent.get(text).send());
    }
    for text in
        ["http://user:s3cr3t@", "ftp://user:s3cr3t@h:1", "http://user:%FFs3cr3t@h:1", "user:s3cr3t@h:port"]
    {
        told(&text.parse::<ProxyConfig>().unwrap_err());
    }
    called(agent.get(format!("ws://user:{PASSWORD}@h/")).send());
    called(agent.get(origin.url("/")).header("Authorization", format!("{TOKEN}\n")).send());
    called(agent.get(origin.url("/")).header("Cookie", format!("{COOKIE}\0")).send());
    called(
        agent.get(origin.url("/")).authentication(Authentication::bearer(format!("{TOKEN} {TOKEN}"))).send(),
    );
    called(agent.get(origin.url("/")).authentication(Authentication::basic("user\n", PASSWORD)).send());

    // On a server.
    for value in [format!("Basic {PASSWORD}"), "Basic dXNlcjpzM2NyM3Q=".into(), format!("Bearer {TOKEN} x")] {
        let mut request = Request::get("/");
        request.headers_mut().set("Authorization", &value).unwrap();
        request.headers_mut().set("Cookie", format!("id={COOKIE}")).unwrap();
        shown(&request);
        let known = BasicCredentials::from_request(&request).map(|known| shown(&known));
        let token = BearerCredentials::from_request(&request).map(|known| shown(&known));
        for error in [known.err(), token.err()].into_iter().flatten() {
            told(&error);
        }
    }
    shown(&HttpCredentials::new("user", PASSWORD));
    shown(&HttpCredentials::from_user_info(&format!("user:{PASSWORD}")));

    let seen = SEEN.lock().unwrap();
    assert!(seen.contains("DEBUG: closing the connection") && seen.contains("redirects go round"), "{seen}");
    for form in FORMS {
        let lines: Vec<_> = seen.lines().filter(|line| line.contains(form)).take(5).collect();
        assert!(lines.is_empty(), "{form}: {lines:#?}");
    }
}
