//! Web sessions in handlers, over sockets.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use sessile::ErrorKind;
use sessile::server::{HttpServer, HttpServerParams};
use sessile::web::{FileStore, MemoryStore, WebSessionManager};

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
fn what_a_handler_changed_before_it_failed_is_stored_before_its_error_is_sent() {
    let folder = std::env::temp_dir().join(format!("sessile-failing-{}", std::process::id()));
    _ = std::fs::remove_dir_all(&folder);
    let node = || WebSessionManager::builder(FileStore::open(&folder).unwrap()).sweep_every(None).build();
    let (here, there) = (node(), node());
    let handler = here.wrap(|request, response, visitor| {
        let session = visitor.session(request)?;
        if request.path() == "/fail" {
            session.set("attempts", 1)?;
            return Err(sessile::Error::new(ErrorKind::Form, "wrong password"));
        }
        response.send_buffer(b"hello")
    });
    let mut server = HttpServer::bind_with("127.0.0.1:0", HttpServerParams::new(), handler).unwrap();
    server.start().unwrap();
    let server = Server(server);
    let first = get(&server, "/", "");
    let id = cookie(&first).unwrap();
    assert!(get(&server, "/fail", id).starts_with("HTTP/1.1 400 "));
    let id = id.trim_start_matches("id=").parse().unwrap();
    assert_eq!(there.find_by_id(&id).unwrap().unwrap().get::<i32>("attempts").unwrap(), 1);
    drop(server);
    _ = std::fs::remove_dir_all(folder);
}

#[test]
fn what_was_changed_before_a_new_session_was_made_is_stored() {
    let folder = std::env::temp_dir().join(format!("sessile-renewed-{}", std::process::id()));
    _ = std::fs::remove_dir_all(&folder);
    let node = || WebSessionManager::builder(FileStore::open(&folder).unwrap()).sweep_every(None).build();
    let (here, there) = (node(), node());
    let handler = here.wrap(|request, response, visitor| {
        let session = visitor.session(request)?;
        if request.path() == "/renew" {
            session.set("left", "then")?;
            let renewed = visitor.renew(request)?;
            renewed.set("came", "now")?;
            // One that has ended is no error.
            renewed.invalidate()?;
            visitor.renew(request)?.set("came", "again")?;
        }
        response.send_buffer(b"hello")
    });
    let mut server = HttpServer::bind_with("127.0.0.1:0", HttpServerParams::new(), handler).unwrap();
    server.start().unwrap();
    let server = Server(server);
    let hello = get(&server, "/", "");
    let first = cookie(&hello).unwrap();
    let answer = get(&server, "/renew", first);
    let find = |cookie: &str| {
        let id = cookie.trim_start_matches("id=").parse().unwrap();
        there.find_by_id(&id).unwrap().unwrap()
    };
    assert_eq!(find(first).get::<String>("left").unwrap(), "then");
    assert_eq!(find(cookie(&answer).unwrap()).get::<String>("came").unwrap(), "again");
    drop(server);
    _ = std::fs::remove_dir_all(folder);
}

#[test]
fn a_session_without_time_lasts_as_long_as_its_request() {
    let sessions = WebSessionManager::new(MemoryStore::new());
    let server = server(&sessions);
    assert!(get(&server, "/last", "").ends_with("last"));
    assert_eq!(sessions.sweep().unwrap().ended, 1);
}

#[cfg(feature = "websocket")]
#[test]
fn a_web_socket_s_thread_uses_the_session_and_hears_of_its_end() {
    use sessile::message::{Request, Response};
    use sessile::session::HttpClientSession;
    use sessile::websocket::{AcceptOptions, CloseCode, Message, WebSocket};

    let folder = std::env::temp_dir().join(format!("sessile-serving-{}", std::process::id()));
    let stores = [WebSessionManager::new(MemoryStore::new()), {
        _ = std::fs::remove_dir_all(&folder);
        WebSessionManager::new(FileStore::open(&folder).unwrap())
    }];
    for sessions in stores {
        let handler = sessions.wrap(|request, response, visitor| {
            let session = visitor.session(request)?;
            match request.path() {
                "/ws" => {
                    let mut socket = WebSocket::accept(request, response, &AcceptOptions::new())?;
                    // It outlives the request.
                    std::thread::spawn(move || -> sessile::Result<()> {
                        while let Some(Message::Text(text)) = socket.receive_message()? {
                            let said = session.access().and_then(|()| session.set("said", text));
                            if said.is_err() {
                                socket.shutdown_with(CloseCode::POLICY_VIOLATION, "signed out")?;
                                continue;
                            }
                            socket.send_text("noted")?;
                        }
                        Ok(())
                    });
                    Ok(())
                }
                "/leave" => {
                    session.invalidate()?;
                    response.send_buffer(b"bye")
                }
                _ => response.send_buffer(session.get_or("said", "nothing".to_owned())?.as_bytes()),
            }
        });
        let mut server = HttpServer::bind_with("127.0.0.1:0", HttpServerParams::new(), handler).unwrap();
        server.start().unwrap();
        let server = Server(server);
        let first = get(&server, "/", "");
        let id = cookie(&first).unwrap();

        let mut session = HttpClientSession::with_address(server.0.local_addr().unwrap());
        let mut request = Request::get("/ws");
        request.headers_mut().set("Cookie", id).unwrap();
        let mut socket = WebSocket::connect(&mut session, &mut request, &mut Response::new()).unwrap();
        for said in ["hello", "again"] {
            socket.send_text(said).unwrap();
            assert_eq!(socket.receive_message().unwrap(), Some(Message::Text("noted".to_owned())));
            assert!(get(&server, "/", id).ends_with(said));
        }
        assert!(get(&server, "/leave", id).ends_with("bye"));
        socket.send_text("still there?").unwrap();
        assert_eq!(socket.receive_message().unwrap(), None);
        assert_eq!(socket.close_frame().unwrap().code, CloseCode::POLICY_VIOLATION);
        assert!(get(&server, "/", id).ends_with("nothing"), "it does not come back");
    }
    _ = std::fs::remove_dir_all(folder);
}
