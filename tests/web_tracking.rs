//! How web sessions are found by requests and shown to clients: cookies, URLs, addresses.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

use std::time::Duration;

use sessile::message::{Request, Response, SameSite};
use sessile::web::{
    AddressCheck, ManualClock, MemoryStore, SecureCookies, Visit, WebContext, WebSession, WebSessionManager,
    WebSessionManagerBuilder,
};

fn builder() -> WebSessionManagerBuilder {
    WebSessionManager::builder(MemoryStore::new()).sweep_every(None)
}

fn with_cookies(cookies: &[&str]) -> Request {
    let mut request = Request::get("/");
    for cookie in cookies {
        request.headers_mut().append("Cookie", cookie).unwrap();
    }
    request
}

/// The cookies that the response to this request sets.
fn finish(manager: &WebSessionManager, session: &WebSession) -> Vec<String> {
    let mut response = Response::new();
    manager.finish(session, &mut response).unwrap();
    let set: Vec<String> = cookies(&response);
    let uncached = response.headers().get("Cache-Control") == Some("no-store");
    assert_eq!(uncached, !set.is_empty());
    set
}

fn cookies(response: &Response) -> Vec<String> {
    response
        .headers()
        .get_all("Set-Cookie")
        .map(|value| String::from_utf8_lossy(value).into_owned())
        .collect()
}

fn find(manager: &WebSessionManager, cookies: &[&str]) -> Option<WebSession> {
    manager.find(&Visit::new(&with_cookies(cookies))).unwrap()
}

fn create(manager: &WebSessionManager) -> WebSession {
    manager.create(&Visit::new(&Request::get("/"))).unwrap()
}

#[test]
fn the_cookie_is_set_when_the_session_is_new_and_not_again() {
    let manager = builder().build();
    let session = create(&manager);
    assert!(session.is_new().unwrap());
    assert_eq!(finish(&manager, &session), [format!("id={}; Path=/; SameSite=Lax; HttpOnly", session.id())]);

    let again = find(&manager, &[&format!("id={}", session.id())]).unwrap();
    assert!(!again.is_new().unwrap() && !session.is_new().unwrap());
    again.set("a", 1).unwrap();
    assert!(finish(&manager, &again).is_empty());
}

#[test]
fn over_tls_the_cookie_is_secure() {
    let request = Request::get("/");
    let visit = Visit::new(&request).secure(true);
    let secure = |manager: WebSessionManager, visit: &Visit<'_>| {
        let session = manager.create(visit).unwrap();
        finish(&manager, &session)[0].contains("; Secure")
    };
    assert!(secure(builder().build(), &visit));
    assert!(!secure(builder().secure_cookies(SecureCookies::Never).build(), &visit));
    assert!(secure(builder().secure_cookies(SecureCookies::Always).build(), &Visit::new(&request)));
}

#[test]
fn the_cookie_is_as_the_settings_say() {
    let manager = builder()
        .context("shop@example.com/shop".parse().unwrap())
        .cookie_name("sid")
        .unwrap()
        .same_site(SameSite::Strict)
        .persistent_cookies(true)
        .timeout(Some(Duration::from_secs(90)))
        .build();
    let session = create(&manager);
    let set = &finish(&manager, &session)[0];
    assert!(set.starts_with(&format!("sid={}; ", session.id())), "{set}");
    for attribute in
        ["; Path=/shop", "; Domain=example.com", "; SameSite=Strict", "; HttpOnly", "; Max-Age=90"]
    {
        assert!(set.contains(attribute), "{set}");
    }
    assert!(builder().cookie_name("a b").is_err());
}

#[test]
fn the_host_prefix_brings_all_that_clients_demand_with_it() {
    let context: WebContext = "shop@example.com/shop".parse().unwrap();
    let manager = builder().context(context).host_prefix(true).secure_cookies(SecureCookies::Never).build();
    let session = create(&manager);
    let set = finish(&manager, &session);
    assert_eq!(set, [format!("__Host-id={}; Path=/; SameSite=Lax; Secure; HttpOnly", session.id())]);
    assert!(find(&manager, &[&format!("id={}", session.id())]).is_none());
    assert!(find(&manager, &[&format!("__Host-id={}", session.id())]).is_some());
}

#[test]
fn all_cookies_of_the_name_are_tried() {
    let manager = builder().build();
    let session = create(&manager);
    let id = session.id();
    let unknown = "AAAAAAAAAAAAAAAAAAAAAAAA";
    let found = [
        vec![format!("id={id}")],
        vec![format!("id={unknown}; id={id}")],
        vec![format!("id={unknown}"), format!("a=b; id=; id=x;id={id};c=d")],
        vec![format!("id=\"{id}\"")],
        vec![format!(" lang=en ;id = {id} ")],
    ];
    for cookies in found {
        let cookies: Vec<&str> = cookies.iter().map(String::as_str).collect();
        assert_eq!(find(&manager, &cookies).as_ref(), Some(&session), "{cookies:?}");
    }
    let lost = [
        format!("ID={id}"),
        format!("xid={id}"),
        format!("id{id}"),
        format!("id={id}x"),
        format!("id={}", id.to_string().to_lowercase()),
        format!("id={unknown}"),
    ];
    for cookie in lost {
        assert!(find(&manager, &[&cookie]).is_none(), "{cookie}");
    }
    assert!(find(&manager, &[]).is_none());
}

#[test]
fn no_bit_of_an_id_can_be_wrong() {
    let manager = builder().build();
    let id = create(&manager).id().to_string();
    // The first characters are no secret, and so nothing to guess.
    for at in 4..id.len() {
        let mut tampered = id.clone().into_bytes();
        tampered[at] = if tampered[at] == b'A' { b'B' } else { b'A' };
        let cookie = format!("id={}", String::from_utf8(tampered).unwrap());
        assert!(find(&manager, &[&cookie]).is_none());
    }
}

#[test]
fn an_unknown_id_is_never_adopted() {
    let manager = builder().build();
    let chosen = "AAAAAAAAAAAAAAAAAAAAAAAA";
    let request = with_cookies(&[&format!("id={chosen}")]);
    let session = manager.open(&Visit::new(&request)).unwrap();
    assert!(session.is_new().unwrap());
    assert_ne!(session.id().to_string(), chosen);
    assert!(finish(&manager, &session)[0].contains(&session.id().to_string()));
    assert!(find(&manager, &[&format!("id={chosen}")]).is_none());
    // Neither is the id of a session that has ended.
    let old = session.id();
    session.invalidate().unwrap();
    let request = with_cookies(&[&format!("id={old}")]);
    assert_ne!(manager.open(&Visit::new(&request)).unwrap().id(), old);
}

#[test]
fn a_client_that_takes_no_cookies_is_new_each_time() {
    let manager = builder().build();
    for _ in 0..3 {
        let request = Request::get("/");
        assert!(manager.open(&Visit::new(&request)).unwrap().is_new().unwrap());
    }
    assert_eq!(manager.count().unwrap(), 3);
}

#[test]
fn invalidation_takes_the_cookie_along() {
    let manager = builder().context(WebContext::new("").with_path("/app").unwrap()).build();
    let session = create(&manager);
    finish(&manager, &session);
    let cookie = format!("id={}", session.id());
    let (leaving, parallel) = (find(&manager, &[&cookie]).unwrap(), find(&manager, &[&cookie]).unwrap());
    leaving.invalidate().unwrap();
    let set = finish(&manager, &leaving);
    assert_eq!(set.len(), 1);
    assert!(
        set[0].starts_with("id=; ") && set[0].contains("Max-Age=0") && set[0].contains("Path=/app"),
        "{set:?}"
    );
    // Only there: the client may have signed in again when this response comes.
    assert!(finish(&manager, &parallel).is_empty());
}

#[test]
fn a_session_that_was_made_and_ended_by_one_request_sets_nothing() {
    let manager = builder().build();
    let session = create(&manager);
    session.invalidate().unwrap();
    assert!(finish(&manager, &session).is_empty());
}

#[test]
fn of_an_old_and_a_new_session_the_new_one_has_the_cookie() {
    let manager = builder().build();
    let old = create(&manager);
    let request = with_cookies(&[&format!("id={}", old.id())]);
    let visit = Visit::new(&request);
    let old = manager.find(&visit).unwrap().unwrap();
    old.invalidate().unwrap();
    let new = manager.create(&visit).unwrap();
    let mut response = Response::new();
    response.headers_mut().append("Set-Cookie", "identity=1").unwrap();
    response.headers_mut().append("Cache-Control", "max-age=60").unwrap();
    manager.finish(&old, &mut response).unwrap();
    manager.finish(&new, &mut response).unwrap();
    manager.finish(&new, &mut response).unwrap();
    let set = cookies(&response);
    assert_eq!(set.len(), 2);
    assert_eq!(set[0], "identity=1");
    assert!(set[1].starts_with(&format!("id={}; ", new.id())));
    assert_eq!(response.headers().get("Cache-Control"), Some("no-store"));
}

#[test]
fn rotation_sends_the_new_id_to_who_rotated_and_to_nobody_else() {
    let manager = builder().build();
    let session = create(&manager);
    let cookie = format!("id={}", session.id());
    // Somebody who knows the old id has a request under way.
    let attacker = find(&manager, &[&cookie]).unwrap();
    let user = find(&manager, &[&cookie]).unwrap();
    let elsewhere = user.clone();
    elsewhere.rotate_id_with_grace(Duration::from_secs(10)).unwrap();
    let set = finish(&manager, &user);
    assert_eq!(set, [format!("id={}; Path=/; SameSite=Lax; HttpOnly", session.id())]);
    assert!(finish(&manager, &attacker).is_empty());
    // Within the grace period the old id finds the session, and that is all.
    let late = find(&manager, &[&cookie]).unwrap();
    assert_eq!(late, session);
    assert!(finish(&manager, &late).is_empty());
    // The next request with the new one needs no cookie.
    let next = find(&manager, &[&format!("id={}", session.id())]).unwrap();
    assert!(finish(&manager, &next).is_empty());
}

#[test]
fn a_persistent_cookie_is_prolonged_now_and_then() {
    let clock = ManualClock::new();
    let manager = builder().persistent_cookies(true).clock(clock.clone()).build();
    let session = create(&manager);
    finish(&manager, &session);
    let cookie = format!("id={}", session.id());
    let visit = || finish(&manager, &find(&manager, &[&cookie]).unwrap()).len();
    assert_eq!(visit(), 0);
    clock.advance(Duration::from_secs(3 * 60));
    assert_eq!(visit(), 1);
    assert_eq!(visit(), 0);
    // "Remember me" reaches the cookie too.
    let session = find(&manager, &[&cookie]).unwrap();
    session.set_timeout(Some(Duration::from_secs(30 * 24 * 60 * 60)));
    let set = finish(&manager, &session);
    assert!(set.len() == 1 && set[0].contains("; Max-Age=2592000"), "{set:?}");
    assert_eq!(visit(), 0);
}

#[test]
fn ids_in_urls_only_by_choice_and_only_without_a_cookie() {
    let plain = builder().build();
    let session = create(&plain);
    let request = Request::get(format!("/a;id={}", session.id()));
    let visit = Visit::new(&request);
    assert!(plain.find(&visit).unwrap().is_none());
    assert_eq!(plain.encode_url(&session, &visit, "/b"), "/b");

    let manager = builder().url_rewriting(true).build();
    let session = create(&manager);
    let id = session.id();
    for target in ["/a;id=I", "/a;x=y;id=I?q", "/;id=I/b/c", "/a;id=I;z", "http://h/a;id=I"] {
        let request = Request::get(target.replace('I', &id.to_string()));
        let found = manager.find(&Visit::new(&request)).unwrap();
        assert_eq!(found.as_ref(), Some(&session), "{target}");
    }
    for target in ["/a?id=I", "/a?x;id=I", "/id=I", "/a;xid=I", "/a;id=", "/a;id=Ix"] {
        let request = Request::get(target.replace('I', &id.to_string()));
        assert!(manager.find(&Visit::new(&request)).unwrap().is_none(), "{target}");
    }
    // With a cookie, even a wrong one, the target does not count.
    let mut request = Request::get(format!("/a;id={id}"));
    request.headers_mut().set("Cookie", "id=none").unwrap();
    assert!(manager.find(&Visit::new(&request)).unwrap().is_none());
}

#[test]
fn ids_are_put_into_urls_that_lead_back() {
    let manager = builder().url_rewriting(true).build();
    let session = create(&manager);
    let id = session.id().to_string();
    let mut request = Request::get("/");
    request.headers_mut().set("Host", "example.com:8080").unwrap();
    let visit = Visit::new(&request);
    let with = |url: &str| manager.encode_url(&session, &visit, url).replace(&id, "I");
    for (url, encoded) in [
        ("/", "/;id=I"),
        ("/a/b?q=1#f", "/a/b;id=I?q=1#f"),
        ("b", "b;id=I"),
        ("?q", ";id=I?q"),
        ("/a;x=y", "/a;x=y;id=I"),
        ("http://example.com:8080/a", "http://example.com:8080/a;id=I"),
        ("HTTPS://EXAMPLE.com:8080/a?b", "HTTPS://EXAMPLE.com:8080/a;id=I?b"),
        ("//example.com:8080/a", "//example.com:8080/a;id=I"),
    ] {
        assert_eq!(with(url), encoded);
        assert_eq!(manager.encode_url(&session, &visit, &manager.encode_url(&session, &visit, url)), {
            manager.encode_url(&session, &visit, url)
        });
    }
    for url in [
        "",
        "#top",
        "http://example.com/",
        "http://other.org:8080/",
        "//other.org/",
        "mailto:a@example.com",
        "javascript:alert(1)",
        "http:\\\\other.org",
        "/\\other.org",
        "/\t/other.org/",
        " //other.org/",
        "http:a",
    ] {
        assert_eq!(with(url), url);
    }
    // Not for a client that has shown a cookie.
    let request = with_cookies(&[&format!("id={id}")]);
    let by_cookie = manager.find(&Visit::new(&request)).unwrap().unwrap();
    assert_eq!(manager.encode_url(&by_cookie, &visit, "/a"), "/a");
}

#[test]
fn the_id_of_a_session_over_tls_is_put_into_no_url_without() {
    let manager = builder().url_rewriting(true).build();
    let session = create(&manager);
    let mut request = Request::get("/");
    request.headers_mut().set("Host", "example.com").unwrap();
    let visit = Visit::new(&request).secure(true);
    let is_encoded = |url: &str| manager.encode_url(&session, &visit, url) != url;
    for url in ["http://example.com/a", "HTTP://example.com/a"] {
        assert!(!is_encoded(url));
    }
    for url in ["https://example.com/a", "HTTPS://example.com/a", "//example.com/a", "/a", "a"] {
        assert!(is_encoded(url));
    }
}

#[test]
fn a_wrong_address_finds_nothing_if_that_is_wanted_and_ends_nothing() {
    let visit_from = |manager: &WebSessionManager, id: &str, from: &str| {
        let request = with_cookies(&[&format!("id={id}")]);
        manager.find(&Visit::new(&request).client_address(from.parse().unwrap())).unwrap()
    };
    let make = |builder: WebSessionManagerBuilder| {
        let manager = builder.build();
        let request = Request::get("/");
        let visit = Visit::new(&request).client_address("10.0.0.1".parse().unwrap());
        let session = manager.create(&visit).unwrap();
        assert_eq!(session.client_address(), Some("10.0.0.1".parse().unwrap()));
        let id = session.id().to_string();
        (manager, id)
    };
    let (manager, id) = make(builder());
    assert!(visit_from(&manager, &id, "10.9.9.9").is_some());

    let (manager, id) = make(builder().address_check(AddressCheck::Exact));
    assert!(visit_from(&manager, &id, "10.9.9.9").is_none());
    assert!(visit_from(&manager, &id, "10.0.0.1").is_some());

    let (manager, id) = make(builder().address_check(AddressCheck::Prefix { v4: 8, v6: 64 }));
    assert!(visit_from(&manager, &id, "10.9.9.9").is_some());
    assert!(visit_from(&manager, &id, "11.0.0.1").is_none());

    let (manager, id) = make(builder().address_check(AddressCheck::Exact).remove_on_mismatch(true));
    assert!(visit_from(&manager, &id, "10.9.9.9").is_none());
    assert!(visit_from(&manager, &id, "10.0.0.1").is_none());
}
