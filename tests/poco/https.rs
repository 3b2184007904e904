//! The rows of `HTTPSClientSession`.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

#[path = "../support/tls.rs"]
mod tls;

use sessile::message::{Request, Response};
use sessile::session::{ClientSession, HTTPS_PORT, HttpsClientSession, ProxyConfig, Session};
use sessile::tls::TlsContext;
use sessile::{Error, ErrorKind};
use tls::{Authority, Server, get};

pub(crate) const ROWS: &[(&str, fn())] = &[
    ("HTTPSClientSession::HTTPSClientSession", || {
        let context = || TlsContext::client().build().unwrap();
        let (authority, server) = served();
        for session in [
            HttpsClientSession::unconnected(),
            HttpsClientSession::new("example.com", 443),
            HttpsClientSession::with_context("example.com", 443, context()),
            HttpsClientSession::with_context_and_session("example.com", 443, context(), None),
        ] {
            assert_eq!((session.port(), session.is_connected()), (HTTPS_PORT, false));
        }
        let mut over = HttpsClientSession::with_stream(server.connect(), "localhost", 443).unwrap();
        assert!(over.is_connected());
        over.reset();
        over.set_context(authority.trusting());
        assert!(over.context().is_some());
    }),
    ("HTTPSClientSession::abort", || {
        let (mut session, _server) = exchanged();
        session.abort();
        assert!(get(&mut session, "/").unwrap_err().is_aborted());
        session.abort();
        session.reset();
        get(&mut session, "/").unwrap();
    }),
    ("HTTPSClientSession::secure", || {
        let mut session = HttpsClientSession::new("example.com", 443);
        assert!(session.is_secure());
        // Without a tunnel the origin sees no TLS of ours (Poco: true).
        let mut proxy = ProxyConfig::new("proxy", 8);
        proxy.set_tunnel(false);
        session.set_proxy_config(proxy).unwrap();
        assert!(!session.is_secure());
    }),
    ("HTTPSClientSession::serverCertificate", || {
        let (session, _server) = exchanged();
        let certificate = session.server_certificate().unwrap();
        assert_eq!(certificate.dns_names().collect::<Vec<_>>(), ["localhost"]);
        assert!(HttpsClientSession::unconnected().server_certificate().is_none());
    }),
    ("HTTPSClientSession::sslSession", || {
        let (session, server) = exchanged();
        let kept = session.tls_session().unwrap();
        assert!(kept.is_resumable());
        let mut other = server.session(&session.context().unwrap());
        other.set_tls_session(Some(kept));
        get(&mut other, "/").unwrap();
        assert!(other.tls_session_was_reused());
    }),
    ("HTTPSClientSession::connect", || {
        let (mut session, _server) = exchanged();
        let before = session.client_address().unwrap();
        session.reconnect().unwrap();
        assert_ne!(session.client_address().unwrap(), before);
        assert!(session.server_certificate().is_some(), "the handshake is part of it");
    }),
    ("HTTPSClientSession::proxyAuthenticate", || {
        for (tunnel, told) in [(true, false), (false, true)] {
            let mut request = Request::get("/");
            through(tunnel).proxy_authenticate(&mut request).unwrap();
            assert_eq!(request.headers().has("proxy-authorization"), told, "CONNECT has told it");
        }
    }),
    ("HTTPSClientSession::proxyRequestPrefix", || {
        assert_eq!(through(true).proxy_request_prefix(), "");
        assert_eq!(through(false).proxy_request_prefix(), "https://example.com");
        let mut session = through(false);
        session.set_port(8443).unwrap();
        assert_eq!(session.proxy_request_prefix(), "https://example.com:8443");
    }),
    ("HTTPSClientSession::read", || {
        // A FIN without a goodbye is no end of content that ends with the connection (Poco: it is).
        for (lax, outcome) in [(false, Some(ErrorKind::Incomplete)), (true, None)] {
            let (authority, server) = cutting();
            let mut session = server.session(&authority.trusting());
            session.set_allow_truncated_close(lax);
            session.send_request(&Request::get("/")).unwrap();
            let mut response = Response::new();
            let read = session.receive_response(&mut response).unwrap().skip();
            assert_eq!(read.as_ref().err().map(Error::kind), outcome);
        }
    }),
];

fn served() -> (Authority, Server) {
    let authority = Authority::new("an authority");
    let server = Server::answering(&authority.server(&["localhost"]).serving());
    (authority, server)
}

fn exchanged() -> (HttpsClientSession, Server) {
    let (authority, server) = served();
    let mut session = server.session(&authority.trusting());
    get(&mut session, "/").unwrap();
    (session, server)
}

/// Answers with content that ends with the connection, which then ends without a goodbye.
fn cutting() -> (Authority, Server) {
    use sessile::net::{Limit, Socket, Stream};
    let authority = Authority::new("an authority");
    let context = authority.server(&["localhost"]).serving();
    let server = Server::with(move |stream| {
        let mut stream = context.accept(Stream::Tcp(Socket::from_tcp(stream).unwrap())).unwrap();
        let _ = stream.read(&mut [0; 1000], &Limit::none()).unwrap();
        let answer = std::io::IoSlice::new(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\ncontent");
        stream.write_vectored(&[answer], &Limit::none()).unwrap();
        stream.flush(&Limit::none()).unwrap();
        stream.tls_mut().unwrap().set_quiet_shutdown(true);
    });
    (authority, server)
}

fn through(tunnel: bool) -> HttpsClientSession {
    let mut proxy = ProxyConfig::new("proxy", 8);
    proxy.set_credentials("user", "password");
    proxy.set_tunnel(tunnel);
    HttpsClientSession::with_proxy("example.com", 443, proxy).unwrap()
}
