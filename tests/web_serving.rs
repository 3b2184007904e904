//! Web sessions in handlers, over sockets.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use sessile::server::{HttpServer, HttpServerParams};
use sessile::web::{MemoryStore, WebSessionManager};

struct Server(HttpServer);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.stop_all(true);
    }
}

fn server(sessions: &WebSessionManager) -> Server {
    let handler = sessions.wrap(|request, response, visitor| match request.path() {
        "/none" => response.send_buffer(b"none"),
        "/look" => {
            let known = visitor.find(request)?.is_some();
            response.send_buffer(if known { b"known" } else { b"unknown" })
        }
        "/late" => {
            let session = visitor.session(request)?;
            let mut body = response.send()?;
            body.flush()?;
            session.set("late", "kept")?;
            body.write_all(b"late")?;
            Ok(())
        }
        "/leave" => {
            if let Some(session) = visitor.find(request)? {
                session.invalidate()?;
            }
            response.send_buffer(b"bye")
        }
        "/last" => {
            // It is in use until the request is answered, whatever handles there are.
            visitor.session(request)?.set_timeout(Some(Duration::ZERO));
            visitor.session(request)?.set("visits", 0)?;
            response.send_buffer(b"last")
        }
        _ => {
            let session = visitor.session(request)?;
            assert_eq!(session.id(), visitor.session(request)?.id(), "one request has one session");
            let visits = session.get_or("visits", 0_i64)? + 1;
            session.set("visits", visits)?;
            let late = session.get_or("late", String::new())?;
            response.send_buffer(format!("visit {visits} {late}").as_bytes())
        }
    });
    let mut server = HttpServer::bind_with("127.0.0.1:0", HttpServerParams::new(), handler).unwrap();
    server.start().unwrap();
    Server(server)
}

fn get(server: &Server, target: &str, cookie: &str) -> String {
    let mut stream = TcpStream::connect(server.0.local_addr().unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let cookie = if cookie.is_empty() { String::new() } else { format!("Cookie: {cookie}\r\n") };
    stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: h\r\n{cookie}\r\n").as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// What the response sets the cookie to: `id=…`.
fn cookie(answer: &str) -> Option<&str> {
    answer.split("Set-Cookie: ").nth(1)?.split(';').next()
}

#[test]
fn a_session_begins_with_a_cookie_and_goes_on_without_another() {
    let sessions = WebSessionManager::new(MemoryStore::new());
    let server = server(&sessions);
    let first = get(&server, "/", "");
    assert!(first.ends_with("visit 1 ") && first.contains("Cache-Control: no-store\r\n"), "{first}");
    let id = cookie(&first).unwrap();
    let second = get(&server, "/", &format!("theme=dark; {id}"));
    assert!(second.ends_with("visit 2 "), "{second}");
    assert_eq!(cookie(&second), None);
    assert_eq!(sessions.count().unwrap(), 1);
}

#[test]
fn who_asks_for_no_session_gets_none_and_an_unknown_id_is_never_taken_over() {
    let sessions = WebSessionManager::new(MemoryStore::new());
    let server = server(&sessions);
    assert_eq!(cookie(&get(&server, "/none", "")), None);
    assert!(get(&server, "/look", "").ends_with("unknown"));
    assert_eq!(sessions.count().unwrap(), 0);
    let forged = "id=AAAAAAAAAAAAAAAAAAAAAAAA";
    let answer = get(&server, "/", forged);
    assert!(cookie(&answer).is_some_and(|id| id != forged), "{answer}");
}

#[test]
fn what_changes_after_the_head_is_still_stored() {
    let sessions = WebSessionManager::new(MemoryStore::new());
    let server = server(&sessions);
    let answer = get(&server, "/late", "");
    let again = get(&server, "/", cookie(&answer).unwrap());
    assert!(again.ends_with("visit 1 kept"), "{again}");
}

#[test]
fn an_ended_session_takes_its_cookie_along() {
    let sessions = WebSessionManager::new(MemoryStore::new());
    let server = server(&sessions);
    let first = get(&server, "/", "");
    let id = cookie(&first).unwrap();
    let bye = get(&server, "/leave", id);
    assert!(bye.contains("Set-Cookie: id=; ") && bye.contains("Max-Age=0"), "{bye}");
    assert!(get(&server, "/look", id).ends_with("unknown"));
}

#[test]
fn a_session_without_time_lasts_as_long_as_its_request() {
    let sessions = WebSessionManager::new(MemoryStore::new());
    let server = server(&sessions);
    assert!(get(&server, "/last", "").ends_with("last"));
    assert_eq!(sessions.sweep().unwrap().ended, 1);
}
