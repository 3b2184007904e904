//! How a user agent says who the user is, to servers and through proxies.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

#[path = "support/origin.rs"]
mod origin;

use std::io::Read;
use std::net::TcpStream;

use origin::{Asked, OK, Origin, answer, head, say};
use sessile::client::{Authentication, UserAgent};

/// Wants Basic credentials of `Aladdin`.
fn basic() -> Origin {
    Origin::serving(|asked, stream| match asked.field("Authorization") {
        Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==") => say(stream, OK),
        _ => answer(stream, "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"cave\"", b"who?"),
    })
}

fn status(agent: &UserAgent, url: &str, user: &Authentication) -> u16 {
    agent.get(url).authentication(user.clone()).send().unwrap().status().as_u16()
}

#[test]
fn basic_is_said_at_once_where_that_is_asked_for_and_else_when_the_server_asks() {
    let origin = basic();
    let agent = UserAgent::new();
    let up_front = Authentication::basic("Aladdin", "open sesame");
    assert_eq!((status(&agent, &origin.url("/"), &up_front), origin.seen().len()), (200, 1));
    let asked = Authentication::new("Aladdin", "open sesame").in_the_clear(true);
    assert_eq!((status(&agent, &origin.url("/"), &asked), origin.seen().len()), (200, 3));
    assert_eq!((status(&agent, &origin.url("/"), &asked), origin.seen().len()), (200, 4), "it knows now");
    assert!(origin.seen().iter().all(|asked| asked.connection == 1));
}

#[test]
fn basic_is_not_answered_in_the_clear_unless_that_is_allowed() {
    let origin = basic();
    let response = UserAgent::new()
        .get(origin.url("/"))
        .authentication(Authentication::new("Aladdin", "open sesame"))
        .send()
        .unwrap();
    assert_eq!((response.status().as_u16(), origin.seen().len()), (401, 1));
    assert_eq!(response.read_to_string().unwrap(), "who?", "the response is the caller's");
}

#[test]
fn a_wrong_password_is_said_once() {
    let origin = basic();
    let wrong = Authentication::new("Aladdin", "close sesame").in_the_clear(true);
    assert_eq!((status(&UserAgent::new(), &origin.url("/"), &wrong), origin.seen().len()), (401, 2));
    let up_front = Authentication::basic("Aladdin", "close sesame");
    assert_eq!((status(&UserAgent::new(), &origin.url("/"), &up_front), origin.seen().len()), (401, 3));
}

#[test]
fn a_challenge_that_can_t_be_read_is_a_response_like_others() {
    for challenge in [
        "Digest realm=\"R\" nonce=\"abc\"",
        "Digest realm=\"R\", nonce=\"junk",
        "Digest realm=\"R\"",
        "Digest realm=\"R\", nonce=\"n\", algorithm=ROT13",
        "NTLM AAAA",
        "=",
    ] {
        let origin = Origin::serving(move |_, stream| {
            answer(stream, &format!("401 Unauthorized\r\nWWW-Authenticate: {challenge}"), b"who?")
        });
        let user = Authentication::new("Aladdin", "open sesame").in_the_clear(true);
        let response = UserAgent::new().get(origin.url("/")).authentication(user).send().unwrap();
        assert_eq!(response.status().as_u16(), 401, "{challenge}");
        assert_eq!(response.read_to_string().unwrap(), "who?", "{challenge}");
    }
}

#[test]
fn a_uri_names_the_user_and_what_is_reported_does_not() {
    let origin = basic();
    let url = origin.url("/x").replace("//", "//Aladdin:open%20sesame@");
    let response = UserAgent::new().get(url).send().unwrap();
    assert_eq!((response.status().as_u16(), response.uri().as_str()), (200, origin.url("/x").as_str()));
}

#[test]
fn what_the_caller_says_stands() {
    let origin = basic();
    let agent = UserAgent::builder()
        .authentication(&origin.url("/").parse().unwrap(), Authentication::basic("Aladdin", "open sesame"))
        .build()
        .unwrap();
    let own = agent.get(origin.url("/")).header("Authorization", "Custom x").send().unwrap();
    assert_eq!(own.status().as_u16(), 401);
    assert_eq!(origin.seen()[0].field("Authorization"), Some("Custom x"));
    assert_eq!(agent.get(origin.url("/")).send().unwrap().status().as_u16(), 200);
}

#[test]
fn content_is_sent_again_with_the_answer_and_a_stream_waits_for_the_question() {
    let origin = basic();
    let user = Authentication::new("Aladdin", "open sesame").in_the_clear(true);
    let agent = UserAgent::new();
    for length in [10, 1_000_000] {
        let response = agent
            .post(origin.url("/"))
            .authentication(Authentication::new("Aladdin", "open sesame").in_the_clear(true))
            .content(vec![b'x'; length])
            .send()
            .unwrap();
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(origin.seen().pop().unwrap().content.len(), length);
    }
    // A server that asks before it wants the content.
    let port = Origin::raw(|connection, stream| {
        let mut reader = std::io::BufReader::new(stream.try_clone().unwrap());
        while let Some(asked) = head(&mut reader, connection, 1) {
            if asked.field("Authorization").is_none() {
                assert_eq!(asked.field("Expect"), Some("100-continue"));
                answer(stream, "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"cave\"", b"");
                continue;
            }
            let mut content = [0; 7];
            reader.read_exact(&mut content).unwrap();
            assert_eq!(&content, b"4\r\ntext");
            say(stream, OK);
        }
    });
    let response = agent
        .post(format!("http://127.0.0.1:{port}/"))
        .authentication(user)
        .content_from(std::io::Cursor::new("text"))
        .send()
        .unwrap();
    assert_eq!(response.status().as_u16(), 200);
}

/// Refuses in the midst of the first upload, as `status`; takes what comes with credentials.
fn refusing(status: &'static str) -> u16 {
    Origin::raw(move |connection, stream| {
        let mut reader = std::io::BufReader::new(stream.try_clone().unwrap());
        while let Some(asked) = head(&mut reader, connection, 1) {
            let length: u64 = asked.field("Content-Length").map_or(0, |length| length.parse().unwrap());
            if asked.field("Authorization").is_some() || asked.field("Proxy-Authorization").is_some() {
                let mut content = Vec::new();
                (&mut reader).take(length).read_to_end(&mut content).unwrap();
                assert_eq!(content.len() as u64, length);
                say(stream, OK);
                continue;
            }
            reader.read_exact(&mut [0; 100_000]).unwrap();
            say(
                stream,
                &format!("HTTP/1.1 {status}\r\nContent-Length: 7\r\nConnection: close\r\n\r\nrefused"),
            );
            // Until the client has heard it and goes: a reset would destroy the response.
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            std::io::copy(&mut reader, &mut std::io::sink()).ok();
            return;
        }
    })
}

#[test]
fn an_early_401_in_an_upload_is_answered() {
    let port = refusing("401 Unauthorized\r\nWWW-Authenticate: Basic realm=a");
    let response = UserAgent::new()
        .put(format!("http://127.0.0.1:{port}/"))
        .authentication(Authentication::new("u", "p").in_the_clear(true))
        .content(vec![b'x'; 50_000_000])
        .send()
        .unwrap();
    assert_eq!(response.status().as_u16(), 200);
}

#[test]
fn a_server_that_leaves_refused_content_where_it_is_gets_the_rest_on_another_connection() {
    let port = Origin::raw(|connection, stream| {
        let mut reader = std::io::BufReader::new(stream.try_clone().unwrap());
        let Some(asked) = head(&mut reader, connection, 1) else { return };
        if asked.field("Authorization").is_none() {
            // All of the content is on its way; what comes next would be read behind it.
            reader.read_exact(&mut [0; 50_000]).unwrap();
            answer(stream, "401 Unauthorized\r\nWWW-Authenticate: Basic realm=a", b"");
            let _ = std::io::copy(&mut reader, &mut std::io::sink());
            return;
        }
        reader.read_exact(&mut vec![0; 100_000]).unwrap();
        say(stream, OK);
    });
    let response = UserAgent::new()
        .put(format!("http://127.0.0.1:{port}/"))
        .authentication(Authentication::new("u", "p").in_the_clear(true))
        .content(vec![b'x'; 100_000])
        .timeout(std::time::Duration::from_secs(10))
        .send()
        .unwrap();
    assert_eq!(response.status().as_u16(), 200);
}

#[test]
fn an_early_refusal_of_an_upload_is_delivered() {
    for status in ["413 Content Too Large", "401 Unauthorized\r\nWWW-Authenticate: Basic realm=a"] {
        let port = refusing(status);
        for chunked in [false, true] {
            let response = UserAgent::new()
                .put(format!("http://127.0.0.1:{port}/"))
                .content(vec![b'x'; 50_000_000])
                .chunked(chunked)
                .send()
                .unwrap();
            assert!(status.starts_with(&response.status().to_string()));
            assert_eq!(response.read_to_string().unwrap(), "refused");
        }
    }
}

#[cfg(feature = "digest")]
mod digest {
    use super::*;
    use sessile::auth::{DigestOutcome, DigestSecret, DigestVerifier};
    use sessile::client::Content;
    use sessile::message::{Method, Request, Response};
    use sessile::session::{ProxyConfig, Timeouts};
    use std::time::{Duration, Instant};

    fn as_request(asked: &Asked) -> Request {
        let mut request = Request::new(Method::new(&asked.method).unwrap(), &asked.target);
        for line in asked.head.lines().skip(1).filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').unwrap();
            request.headers_mut().append(name, value.trim()).unwrap();
        }
        request
    }

    fn refuse(stream: &mut TcpStream, response: &Response) -> bool {
        let mut text = format!("HTTP/1.1 {} No\r\nContent-Length: 0\r\n", response.status());
        for (name, value) in response.headers().iter() {
            text += &format!("{name}: {}\r\n", String::from_utf8_lossy(value));
        }
        say(stream, &(text + "\r\n"))
    }

    /// Wants Digest credentials of `Mufasa`, or of a user that a proxy has.
    fn guarded(verifier: DigestVerifier) -> Origin {
        let started = Instant::now();
        Origin::serving(move |asked, stream| {
            let request = as_request(asked);
            let known = |name: Option<&str>| {
                (name == Some("Mufasa")).then(|| DigestSecret::new("Mufasa", "Circle of Life"))
            };
            let now = started.elapsed();
            let outcome = verifier.verify(&request, now, |claim| known(claim.username())).unwrap();
            if let DigestOutcome::Granted(_) = outcome {
                return say(stream, OK);
            }
            let mut response = Response::new();
            verifier.challenge(&mut response, now, &outcome).unwrap();
            refuse(stream, &response)
        })
    }

    fn mufasa() -> Authentication {
        Authentication::new("Mufasa", "Circle of Life")
    }

    #[test]
    fn a_nonce_serves_many_requests_so_that_only_the_first_is_made_twice() {
        let origin = guarded(DigestVerifier::new("members").unwrap());
        let (agent, user) = (UserAgent::new(), mufasa());
        for n in 0..5 {
            assert_eq!(status(&agent, &origin.url(&format!("/{n}?q")), &user), 200);
        }
        assert_eq!(origin.seen().len(), 6);
        assert_eq!(status(&agent, &origin.url("/"), &Authentication::new("Mufasa", "Hakuna Matata")), 401);
        assert_eq!(origin.seen().len(), 8);
    }

    #[test]
    fn many_threads_share_one_nonce() {
        let origin = guarded(DigestVerifier::new("members").unwrap());
        let (agent, user) = (UserAgent::new(), mufasa());
        assert_eq!(status(&agent, &origin.url("/"), &user), 200);
        std::thread::scope(|scope| {
            for thread in 0..16 {
                let (agent, user, origin) = (agent.clone(), user.clone(), &origin);
                scope.spawn(move || {
                    for call in 0..10 {
                        assert_eq!(status(&agent, &origin.url(&format!("/{thread}/{call}")), &user), 200);
                    }
                });
            }
        });
        let asked = origin.seen().len();
        assert!(asked <= 2 + 160 + 16, "{asked}");
    }

    #[test]
    fn digest_goes_before_basic_whatever_comes_first() {
        let origin = Origin::serving(|asked, stream| match asked.field("Authorization") {
            Some(value) if value.starts_with("Digest ") => say(stream, OK),
            _ => answer(
                stream,
                "401 No\r\nWWW-Authenticate: Basic realm=a, Digest realm=a, nonce=n, qop=\"auth\"",
                b"",
            ),
        });
        let user = Authentication::new("u", "p").in_the_clear(true);
        assert_eq!(status(&UserAgent::new(), &origin.url("/"), &user), 200);
        assert!(origin.seen().iter().all(|asked| !asked.head.contains("Basic dTpw")));
    }

    #[test]
    fn content_is_protected_where_the_server_insists() {
        let origin = Origin::serving(|asked, stream| match asked.field("Authorization") {
            Some(value) => {
                assert!(value.contains("qop=auth-int"), "{value}");
                say(stream, OK)
            }
            None => {
                answer(stream, "401 No\r\nWWW-Authenticate: Digest realm=a, nonce=n, qop=\"auth-int\"", b"")
            }
        });
        let agent = UserAgent::new();
        for _ in 0..2 {
            let response =
                agent.post(origin.url("/")).authentication(mufasa()).content("text").send().unwrap();
            assert_eq!(response.status().as_u16(), 200);
        }
        assert_eq!(status(&agent, &origin.url("/"), &mufasa()), 200);
    }

    #[test]
    fn a_server_that_wants_content_protected_that_only_flows_is_not_answered() {
        let origin = Origin::serving(|asked, stream| match asked.field("Authorization") {
            Some(_) => say(stream, OK),
            None => {
                answer(stream, "401 No\r\nWWW-Authenticate: Digest realm=a, nonce=n, qop=\"auth-int\"", b"no")
            }
        });
        let (agent, user) = (UserAgent::new(), mufasa());
        let flowing = || Content::replayable(Some(4), || Ok(Box::new(&b"text"[..])));
        for (content, status) in [(flowing(), 401), (Content::from("text"), 200), (flowing(), 401)] {
            let request = agent.post(origin.url("/")).authentication(user.clone()).content(content);
            assert_eq!(request.send().unwrap().status().as_u16(), status);
        }
    }

    #[test]
    fn a_server_that_proves_nothing_is_found_out() {
        let origin = Origin::serving(|asked, stream| match asked.field("Authorization") {
            Some(_) => answer(
                stream,
                "200 OK\r\nAuthentication-Info: qop=auth, rspauth=\"6629fae49393a05397450978507c4ef1\", nc=00000001, cnonce=\"x\"",
                b"",
            ),
            None => answer(stream, "401 No\r\nWWW-Authenticate: Digest realm=a, nonce=n, qop=\"auth\"", b""),
        });
        let error = UserAgent::new().get(origin.url("/")).authentication(mufasa()).send().unwrap_err();
        assert_eq!(error.kind(), sessile::ErrorKind::NotAuthenticated);
    }

    fn by_digest(port: u16) -> UserAgent {
        let mut config: ProxyConfig =
            format!("http://Mufasa:Circle%20of%20Life@127.0.0.1:{port}").parse().unwrap();
        config.set_auth_method(sessile::auth::ProxyAuthentication::Digest);
        UserAgent::builder().proxy(config).timeouts(Timeouts::all(Duration::from_secs(10))).build().unwrap()
    }

    #[test]
    fn an_early_407_in_an_upload_is_answered() {
        const CHALLENGE: &str = "407 No\r\nProxy-Authenticate: Digest realm=a, nonce=n, qop=\"auth\"";
        let agent = by_digest(refusing(CHALLENGE));
        let content = vec![b'x'; 50_000_000];
        let response = agent.put("http://origin.test/").content(content.clone()).send().unwrap();
        assert_eq!(response.status().as_u16(), 200);
        let unknown = UserAgent::builder()
            .proxy(format!("http://127.0.0.1:{}", refusing(CHALLENGE)).parse().unwrap())
            .build()
            .unwrap();
        let response = unknown.put("http://origin.test/").content(content).send().unwrap();
        assert_eq!(response.status().as_u16(), 407);
        assert_eq!(response.read_to_string().unwrap(), "refused");
    }

    #[test]
    fn a_407_instead_of_100_is_answered() {
        let port = Origin::raw(|connection, stream| {
            let mut reader = std::io::BufReader::new(stream.try_clone().unwrap());
            while let Some(asked) = head(&mut reader, connection, 1) {
                if asked.field("Proxy-Authorization").is_none() {
                    answer(
                        stream,
                        "407 No\r\nProxy-Authenticate: Digest realm=a, nonce=n, qop=\"auth\"",
                        b"",
                    );
                    return;
                }
                say(stream, "HTTP/1.1 100 Continue\r\n\r\n");
                let length = if asked.field("Content-Length").is_some() { 4 } else { 14 };
                reader.read_exact(&mut vec![0; length]).unwrap();
                say(stream, OK);
            }
        });
        let bytes = by_digest(port).post("http://origin.test/").content("text").expect_continue(true);
        assert_eq!(bytes.send().unwrap().status().as_u16(), 200);
        // What can be sent once only waits by itself.
        let stream = by_digest(port).post("http://origin.test/").content_from(std::io::Cursor::new("text"));
        assert_eq!(stream.send().unwrap().status().as_u16(), 200);
    }

    #[test]
    fn a_407_of_the_server_s_own_is_no_reason_to_ask_twice() {
        let origin =
            Origin::serving(|_, stream| answer(stream, "407 No\r\nProxy-Authenticate: Basic realm=a", b""));
        let mut config: ProxyConfig = "http://Mufasa:x@127.0.0.1:1".parse().unwrap();
        config.set_auth_method(sessile::auth::ProxyAuthentication::Digest).set_no_proxy("127.0.0.1");
        let agent = UserAgent::builder().proxy(config).build().unwrap();
        let response = agent.post(origin.url("/")).content("text").send().unwrap();
        assert_eq!((response.status().as_u16(), origin.seen().len()), (407, 1));
    }

    #[test]
    fn a_proxy_s_challenge_is_answered_with_content_of_any_size() {
        for length in [0, 10, 10_000_000] {
            let proxy = guarded(DigestVerifier::new("proxy").unwrap().for_proxy());
            let agent = by_digest(proxy.port);
            for _ in 0..2 {
                let request = agent.put("http://origin.test/x");
                let request = if length > 0 { request.content(vec![0; length]) } else { request };
                assert_eq!(request.send().unwrap().status().as_u16(), 200, "{length}");
            }
            let seen = proxy.seen();
            assert_eq!(seen.len(), 3, "{length}");
            assert!(seen.iter().all(|asked| asked.target == "http://origin.test/x"));
            assert_eq!(seen[2].content.len(), length);
        }
    }
}

#[cfg(feature = "ntlm")]
mod ntlm {
    use super::*;
    use base64::prelude::{BASE64_STANDARD, Engine};
    use sessile::session::{HttpClientSession, ProxyConfig};
    use std::collections::HashMap;
    use std::sync::Mutex;
    use std::time::Duration;

    fn challenge() -> String {
        let mut message = b"NTLMSSP\0\x02\0\0\0".to_vec();
        message.extend(b"\x0c\0\x0c\0\x30\0\0\0"); // the target: 12 bytes at 48
        message.extend(0x0288_8205_u32.to_le_bytes());
        message.extend(b"\x01\x23\x45\x67\x89\xab\xcd\xef\0\0\0\0\0\0\0\0");
        message.extend(b"\x04\0\x04\0\x3c\0\0\0"); // what it says of itself: 4 bytes at 60
        message.extend(b"D\0o\0m\0a\0i\0n\0\0\0\0\0");
        BASE64_STANDARD.encode(message)
    }

    /// Knows its users by their connections, as NTLM has it.
    fn guarded() -> Origin {
        guarding("401", "WWW-Authenticate", "Authorization")
    }

    fn guarding(status: &'static str, asks: &'static str, says: &'static str) -> Origin {
        challenging(status, asks, says, answer)
    }

    /// The same, with its challenge said by this.
    fn challenging(
        status: &'static str,
        asks: &'static str,
        says: &'static str,
        challenges: fn(&mut TcpStream, &str, &[u8]) -> bool,
    ) -> Origin {
        let known: Mutex<HashMap<usize, String>> = Mutex::default();
        Origin::serving(move |asked, stream| {
            let message = asked.field(says).and_then(|value| value.strip_prefix("NTLM "));
            let message = message.map(|text| BASE64_STANDARD.decode(text).unwrap());
            if let Some(message) = message {
                match message[8] {
                    1 => {
                        assert!(asked.content.len() < 10, "the first message goes without content");
                        let head = format!("{status} No\r\n{asks}: NTLM {}", challenge());
                        let page: &[u8] = if asked.method == "HEAD" { b"" } else { b"more" };
                        return challenges(stream, &head, page);
                    }
                    _ => {
                        let text = String::from_utf8_lossy(&message).replace('\0', "");
                        let user = if text.contains("alice") { "alice" } else { "bob" };
                        known.lock().unwrap().insert(asked.connection, user.to_owned());
                    }
                }
            }
            match known.lock().unwrap().get(&asked.connection) {
                Some(user) => answer(stream, "200 OK", user.as_bytes()),
                None => answer(stream, &format!("{status} No\r\n{asks}: NTLM"), b"who?"),
            }
        })
    }

    fn name(agent: &UserAgent, origin: &Origin, user: Option<&Authentication>, content: &[u8]) -> String {
        let request = agent.post(origin.url("/")).content(content);
        let request = match user {
            Some(user) => request.authentication(user.clone()),
            None => request,
        };
        request.send().unwrap().read_to_string().unwrap()
    }

    #[test]
    fn a_connection_is_one_user_s_and_is_used_for_nobody_else() {
        let origin = guarded();
        let agent = UserAgent::new();
        let (alice, bob) = (Authentication::ntlm("alice", "a"), Authentication::new("D\\bob", "b"));
        assert_eq!(name(&agent, &origin, Some(&alice), b"text"), "alice");
        assert_eq!(name(&agent, &origin, Some(&alice), b"text"), "alice");
        assert_eq!(name(&agent, &origin, Some(&bob), b"text"), "bob");
        assert_eq!(name(&agent, &origin, None, b"text"), "who?");
        assert_eq!(name(&agent, &origin, Some(&alice), &[0; 100_000]), "alice");
        let places: Vec<_> = origin.seen().iter().map(|asked| (asked.connection, asked.number)).collect();
        assert_eq!(
            places,
            [(1, 1), (1, 2), (1, 3), (1, 4), (2, 1), (2, 2), (2, 3), (3, 1), (1, 5)],
            "alice's handshake, her second request, bob's handshake, nobody, alice again"
        );
        assert_eq!(origin.seen().pop().unwrap().content.len(), 100_000);
    }

    fn through_ntlm() -> (Origin, UserAgent) {
        let proxy = guarding("407", "Proxy-Authenticate", "Proxy-Authorization");
        let agent = through(&proxy);
        (proxy, agent)
    }

    fn through(proxy: &Origin) -> UserAgent {
        UserAgent::builder().proxy(config(proxy)).build().unwrap()
    }

    fn config(proxy: &Origin) -> ProxyConfig {
        let mut config: ProxyConfig = format!("http://alice:a@127.0.0.1:{}", proxy.port).parse().unwrap();
        config.set_auth_method(sessile::auth::ProxyAuthentication::Ntlm);
        config
    }

    #[test]
    fn a_proxy_s_challenge_is_answered_before_large_content_is_sent() {
        let (proxy, agent) = through_ntlm();
        for length in [1_000_000, 3, 1_000_000] {
            let response = agent.put("http://origin.test/x").content(vec![b'x'; length]).send().unwrap();
            assert_eq!(response.read_to_string().unwrap(), "alice");
            assert_eq!(proxy.seen().pop().unwrap().content.len(), length);
        }
        let seen: Vec<_> = proxy.seen().iter().map(|asked| asked.method.clone()).collect();
        assert_eq!(seen, ["PUT", "HEAD", "PUT", "PUT", "PUT"]);
        let (proxy, agent) = through_ntlm();
        for _ in 0..2 {
            let response = agent.post("http://origin.test/x").content("abc").send().unwrap();
            assert_eq!(response.read_to_string().unwrap(), "alice");
        }
        assert_eq!(proxy.seen().len(), 4, "small content goes with every message");
    }

    fn with_a_large_page(stream: &mut TcpStream, head: &str, _: &[u8]) -> bool {
        answer(stream, head, &[b'x'; 300_000])
    }

    fn with_a_slow_page(stream: &mut TcpStream, head: &str, _: &[u8]) -> bool {
        let begun = say(stream, &format!("HTTP/1.1 {head}\r\nContent-Length: 2\r\n\r\nx"));
        std::thread::sleep(Duration::from_millis(400)); // which is what the test is about
        begun && say(stream, "x")
    }

    #[test]
    fn a_handshake_goes_on_behind_a_page_that_is_large_or_slow() {
        for challenges in [with_a_large_page, with_a_slow_page] {
            let origin = challenging("401", "WWW-Authenticate", "Authorization", challenges);
            let alice = Authentication::ntlm("alice", "a");
            assert_eq!(name(&UserAgent::new(), &origin, Some(&alice), b"text"), "alice");

            let proxy = challenging("407", "Proxy-Authenticate", "Proxy-Authorization", challenges);
            let agent = through(&proxy);
            let response = agent.get("http://origin.test/x").send().unwrap();
            assert_eq!(response.read_to_string().unwrap(), "alice");

            let tunnel = challenging("407", "Proxy-Authenticate", "Proxy-Authorization", challenges);
            HttpClientSession::with_proxy("origin.test", 80, config(&tunnel))
                .unwrap()
                .proxy_connect()
                .unwrap();
            for asked in [origin, proxy, tunnel] {
                let places: Vec<_> =
                    asked.seen().iter().map(|asked| (asked.connection, asked.number)).collect();
                assert_eq!(places, [(1, 1), (1, 2), (1, 3)]);
            }
        }
    }

    #[test]
    fn a_caller_s_own_handshake_keeps_its_connection_to_itself() {
        let origin = guarded();
        let agent = UserAgent::new();
        let begin = BASE64_STANDARD.encode(b"NTLMSSP\0\x01\0\0\0\0\0\0\0");
        agent
            .get(origin.url("/"))
            .header("Authorization", format!("NTLM {begin}"))
            .send()
            .unwrap()
            .read_to_vec()
            .unwrap();
        assert_eq!(agent.idle_sessions(), 0);
    }
}
