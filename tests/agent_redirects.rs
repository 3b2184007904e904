//! A user agent and the redirects of scripted servers.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

#[path = "support/origin.rs"]
mod origin;

use std::io::Cursor;

use origin::{OK, Origin, answer, redirect, say};
use sessile::ErrorKind;
use sessile::client::{Authentication, Content, RedirectPolicy, UserAgent};
use sessile::message::{Method, Uri};

/// Answers `/STATUS` with that redirect to `/end`, and anything else with `ok`.
fn by_status() -> Origin {
    Origin::serving(|asked, stream| match asked.target[1..].parse::<u16>() {
        Ok(status) => {
            say(stream, &format!("HTTP/1.1 {status} X\r\nLocation: /end\r\nContent-Length: 0\r\n\r\n"))
        }
        Err(_) if asked.method == "HEAD" => say(stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"),
        Err(_) => say(stream, OK),
    })
}

#[test]
fn methods_and_content_arrive_as_the_rules_say() {
    for (status, method, then, content) in [
        (301, Method::GET, "GET", false),
        (301, Method::POST, "GET", false),
        (302, Method::POST, "GET", false),
        (302, Method::PUT, "PUT", true),
        (303, Method::POST, "GET", false),
        (303, Method::PUT, "GET", false),
        (303, Method::HEAD, "HEAD", false),
        (307, Method::POST, "POST", true),
        (308, Method::POST, "POST", true),
        (308, Method::PATCH, "PATCH", true),
    ] {
        let origin = by_status();
        let mut request = UserAgent::new().request(method.clone(), origin.url(&format!("/{status}")));
        if ![Method::GET, Method::HEAD].contains(&method) {
            request = request.header("Content-Type", "text/plain").content("some text");
        }
        let response = request.send().unwrap();
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(response.uri().path(), "/end", "{status} {method}");
        let seen = origin.seen();
        assert_eq!((seen.len(), seen[1].method.as_str()), (2, then), "{status} {method}");
        assert_eq!(seen[1].content == b"some text", content, "{status} {method}");
        assert_eq!(seen[1].field("Content-Type").is_some(), content, "{status} {method}");
        assert_eq!(seen[1].connection, 1, "the connection is used again");
    }
}

#[test]
fn what_is_no_redirect_is_a_response() {
    let origin = Origin::serving(|asked, stream| match asked.target.as_str() {
        "/no-location" => answer(stream, "302 Found", b"nowhere"),
        status => answer(stream, &format!("{} Status\r\nLocation: /end", &status[1..]), b""),
    });
    let agent = UserAgent::new();
    for status in [300, 305, 306, 201] {
        let response = agent.get(origin.url(&format!("/{status}"))).send().unwrap();
        assert_eq!(response.status().as_u16(), status);
    }
    assert_eq!(agent.get(origin.url("/no-location")).send().unwrap().read_to_string().unwrap(), "nowhere");
    let deaf = RedirectPolicy::none();
    let response = agent.get(origin.url("/302")).redirects(deaf).send().unwrap();
    assert_eq!((response.status().as_u16(), response.uri().path()), (302, "/302"));
    assert_eq!(origin.seen().len(), 6);
}

#[test]
fn a_circle_is_an_error_and_so_is_one_too_many() {
    let origin = Origin::serving(|asked, stream| match asked.target.as_str() {
        "/a" => redirect(stream, 302, "/b"),
        "/b" => redirect(stream, 302, "/a"),
        "/self" => redirect(stream, 307, "/self"),
        long => {
            let n: u32 = long[1..].parse().unwrap();
            redirect(stream, 302, &format!("/{}", n + 1))
        }
    });
    let agent = UserAgent::new();
    for (path, asked) in [("/a", 2), ("/self", 1), ("/0", 11)] {
        let before = origin.seen().len();
        let error = agent.get(origin.url(path)).send().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Redirect, "{path}");
        assert_eq!(origin.seen().len() - before, asked, "{path}");
    }
    let three = RedirectPolicy::limited(3);
    let error = agent.get(origin.url("/0")).redirects(three).send().unwrap_err();
    assert_eq!(error.to_string(), "more than 3 redirects");
}

#[test]
fn the_way_is_told() {
    let origin = Origin::serving(|asked, stream| match asked.target.as_str() {
        "/a/b?c" => redirect(stream, 301, "../d#part"),
        "/d" => redirect(stream, 302, "?e"),
        _ => say(stream, OK),
    });
    let response = UserAgent::new().get(origin.url("/a/b?c")).send().unwrap();
    assert_eq!(response.uri().as_str(), origin.url("/d?e"));
    let before: Vec<_> = response.redirects().iter().map(Uri::as_str).collect();
    assert_eq!(before, [origin.url("/a/b?c"), origin.url("/d")]);
}

#[test]
fn credentials_cookies_and_keys_go_to_no_other_origin_and_do_not_come_back() {
    let other = Origin::serving(|asked, stream| match asked.target.as_str() {
        "/back" => redirect(stream, 302, asked.field("X-Back").unwrap()),
        _ => say(stream, OK),
    });
    let to = other.url("/back");
    let origin = Origin::serving(move |asked, stream| match asked.target.as_str() {
        "/away" => redirect(stream, 307, &to),
        "/here" => redirect(stream, 302, "/end"),
        _ => say(stream, OK),
    });
    let agent =
        UserAgent::builder().redirects(RedirectPolicy::default().withholding("X-Api-Key")).build().unwrap();
    let secrets = ["Authorization", "Cookie", "Proxy-Authorization", "Proxy-Whatever", "X-Api-Key"];
    for path in ["/away", "/here"] {
        let mut request =
            agent.get(origin.url(path)).header("X-Back", origin.url("/end")).header("X-Mine", "1");
        for name in secrets {
            request = request.header(name, "s3cr3t");
        }
        request = request.header("Host", "own.name");
        request.send().unwrap();
    }
    let (here, away) = (origin.seen(), other.seen());
    let has = |asked: &origin::Asked| secrets.iter().filter(|name| asked.field(name).is_some()).count();
    assert_eq!((has(&here[0]), here[0].field("Host")), (5, Some("own.name")));
    assert_eq!((has(&away[0]), away[0].field("X-Mine")), (0, Some("1")));
    assert_eq!(away[0].field("Host"), Some(format!("127.0.0.1:{}", other.port).as_str()));
    assert_eq!((here[1].target.as_str(), has(&here[1])), ("/end", 0), "back again, without");
    assert_eq!((here[3].target.as_str(), has(&here[3])), ("/end", 5), "never away");
    assert_eq!(here[3].field("Host"), Some("own.name"));
}

#[test]
fn a_user_is_for_the_server_that_was_asked_and_the_agent_s_for_theirs() {
    let other = Origin::saying(OK);
    let to = other.url("/x");
    let origin = Origin::serving(move |_, stream| redirect(stream, 302, &to));
    let users = [Authentication::basic("one", "1"), Authentication::bearer("two")];
    for user in users {
        UserAgent::new().get(origin.url("/")).authentication(user).send().unwrap();
    }
    let in_the_uri = origin.url("/").replace("//", "//three:3@");
    UserAgent::new().get(in_the_uri).send().unwrap();
    assert!(origin.seen()[..2].iter().all(|asked| asked.field("Authorization").is_some()));
    assert!(other.seen().iter().all(|asked| asked.field("Authorization").is_none()));
    let agent = UserAgent::builder()
        .authentication(&other.url("/").parse().unwrap(), Authentication::bearer("others"))
        .build()
        .unwrap();
    agent.get(origin.url("/")).send().unwrap();
    assert!(origin.seen().last().unwrap().field("Authorization").is_none());
    assert_eq!(other.seen().last().unwrap().field("Authorization"), Some("Bearer others"));
}

#[test]
fn a_location_can_t_bring_a_user() {
    let other = Origin::serving(|asked, stream| match asked.field("Authorization") {
        None => answer(stream, "401 Unauthorized\r\nWWW-Authenticate: Basic realm=a", b""),
        Some(_) => say(stream, OK),
    });
    let to = other.url("/").replace("//", "//evil:twin@");
    let origin = Origin::serving(move |_, stream| redirect(stream, 302, &to));
    let response = UserAgent::new().get(origin.url("/")).send().unwrap();
    assert_eq!((response.status().as_u16(), response.uri().username()), (401, None));
    assert_eq!(other.seen().len(), 1);
}

#[test]
fn content_that_can_t_be_sent_again_is_not_redirected() {
    let origin = by_status();
    let agent = UserAgent::new();
    let error = agent.post(origin.url("/307")).content_from(Cursor::new("text")).send().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Redirect);
    let response = agent.post(origin.url("/303")).content_from(Cursor::new("text")).send().unwrap();
    assert_eq!(response.status().as_u16(), 200, "it is not needed any more");
    let made = Content::replayable(None, || Ok(Box::new(Cursor::new("text"))));
    agent.post(origin.url("/308")).content(made).send().unwrap();
    let last = origin.seen().pop().unwrap();
    assert_eq!((last.method.as_str(), &last.content[..]), ("POST", &b"text"[..]));
    assert_eq!(last.field("Transfer-Encoding"), Some("chunked"));
}

#[test]
fn locations_that_lead_out_of_http_are_errors() {
    for location in ["ftp://h/", "file:///etc/passwd", "http+unix://%2Frun%2Fx/", "http://h\\@x/", "ws://h/"]
    {
        let origin = Origin::serving(move |_, stream| redirect(stream, 302, location));
        let error = UserAgent::new().get(origin.url("/")).send().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Redirect, "{location}");
    }
}

#[test]
fn a_redirect_with_a_long_page_costs_its_connection_and_nothing_else() {
    let origin = Origin::serving(|asked, stream| match asked.target.as_str() {
        "/long" => answer(stream, "302 Found\r\nLocation: /end", &vec![b'x'; 1_000_000]),
        _ => say(stream, OK),
    });
    let response = UserAgent::new().get(origin.url("/long")).send().unwrap();
    assert_eq!(response.read_to_string().unwrap(), "ok");
    assert_eq!(origin.seen()[1].connection, 2);
}
