//! Every member of the Poco, OSP and servlet classes that this crate mirrors: its C++ name,
//! its counterpart in compiled code, and one behaviour of it.
//!
//! A member of the pages without a row fails the test, and so does a row that no page has.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use sessile::message::{Request, Response};
use sessile::net::{Pipe, Socket, Stream, pair};
use sessile::session::{
    ClientSession, Connection, DEFAULT_KEEP_ALIVE_TIMEOUT, HTTP_PORT, HttpClientSession, HttpServerSession,
    ProxyConfig, ProxyProtocol, ServerSession, ServerSessionParams, Session, Timeouts,
};
use sessile::web::{EndReason, ManualClock, MemoryStore, Visit, WebContext, WebSession, WebSessionManager};
use sessile::{Error, ErrorKind};

/// The classes of the reference pages and their members.
const PAGES: &[(&str, &str)] = &[
    // Public and protected members of the base class, as the pages of its subclasses list them.
    (
        "HTTPSession",
        "HTTP_PORT setKeepAlive getKeepAlive setTimeout getTimeout setConnectTimeout getConnectTimeout \
         setSendTimeout getSendTimeout setReceiveTimeout getReceiveTimeout connected abort networkException \
         attachSessionData sessionData detachSocket socket drainBuffer requestTrailer responseTrailer get peek \
         read write receive buffered refill connect attachSocket close setException clearException",
    ),
    ("HTTPServerSession", "HTTPServerSession hasMoreRequests canKeepAlive clientAddress serverAddress"),
    (
        "HTTPClientSession",
        "HTTPClientSession DEFAULT_KEEP_ALIVE_TIMEOUT setHost getHost setPort getPort setSourceAddress \
         getSourceAddress getSourceAddress4 getSourceAddress6 setProxy setProxyHost setProxyPort getProxyHost \
         getProxyPort setProxyCredentials setProxyUsername getProxyUsername setProxyPassword getProxyPassword \
         setProxyConfig getProxyConfig setGlobalProxyConfig getGlobalProxyConfig setKeepAliveTimeout \
         getKeepAliveTimeout sendRequest receiveResponse peekResponse flushRequest reset secure bypassProxy \
         reconnect write sendRequestImpl sendChallengeRequest proxyRequestPrefix mustReconnect proxyAuthenticate \
         proxyAuthenticateImpl proxyAuthenticateDigest proxyAuthenticateNTLM proxyConnect proxyTunnel",
    ),
    (
        "HTTPSClientSession",
        "HTTPSClientSession abort secure serverCertificate sslSession connect proxyAuthenticate \
         proxyRequestPrefix read",
    ),
    (
        "WebSession",
        "WebSession access begin clear clientAddress context created end erase find get getExpiration id set \
         timeout onBundleStopping sessionEnds",
    ),
    (
        "HttpSession",
        "getCreationTime getId getLastAccessedTime getServletContext setMaxInactiveInterval \
         getMaxInactiveInterval getAttribute getAttributeNames setAttribute hasAttribute removeAttribute \
         invalidate isNew",
    ),
];

#[cfg(feature = "tls")]
#[path = "poco/https.rs"]
mod https;

/// All rows there are.
fn rows() -> impl Iterator<Item = &'static Row> {
    #[cfg(feature = "tls")]
    return ROWS.iter().chain(https::ROWS);
    #[cfg(not(feature = "tls"))]
    ROWS.iter()
}

/// A member, and a test of its counterpart.
type Row = (&'static str, fn());

const ROWS: &[Row] = &[
    ("HTTPSession::HTTP_PORT", || assert_eq!(HTTP_PORT, 80)),
    ("HTTPSession::setKeepAlive", || {
        let (mut session, server) = answered_once();
        session.set_keep_alive(false);
        get(&mut session);
        assert!(ended(session, server).contains("Connection: close\r\n"));
    }),
    ("HTTPSession::getKeepAlive", || assert!(unconnected().keep_alive(), "on by default, unlike Poco")),
    ("HTTPSession::setTimeout", || {
        let mut session = unconnected();
        session.set_timeout(Duration::from_secs(7));
        assert_eq!(session.timeouts(), Timeouts::all(Duration::from_secs(7)));
        session.set_timeouts(Timeouts { send: Duration::from_secs(2), ..Timeouts::default() });
        assert_eq!(session.send_timeout(), Duration::from_secs(2));
    }),
    ("HTTPSession::getTimeout", || {
        let mut session = unconnected();
        session.set_receive_timeout(Duration::from_secs(3));
        assert_eq!(session.timeout(), Duration::from_secs(3), "the receive time-out");
    }),
    ("HTTPSession::setConnectTimeout", || {
        let mut session = unconnected();
        session.set_connect_timeout(Duration::from_secs(4));
        assert_eq!(session.timeouts(), Timeouts { connect: Duration::from_secs(4), ..Timeouts::default() });
    }),
    ("HTTPSession::getConnectTimeout", || {
        assert_eq!(unconnected().connect_timeout(), Duration::from_secs(30));
    }),
    ("HTTPSession::setSendTimeout", || {
        let mut session = unconnected();
        session.set_send_timeout(Duration::from_secs(5));
        assert_eq!(session.timeouts(), Timeouts { send: Duration::from_secs(5), ..Timeouts::default() });
    }),
    ("HTTPSession::getSendTimeout", || assert_eq!(unconnected().send_timeout(), Duration::from_secs(60))),
    ("HTTPSession::setReceiveTimeout", || {
        let (mut connection, _far) = connected();
        connection.set_timeouts(Timeouts { receive: Duration::from_millis(30), ..Timeouts::default() });
        assert!(connection.get().unwrap_err().is_timeout(), "at once, unlike Poco");
    }),
    ("HTTPSession::getReceiveTimeout", || {
        assert_eq!(unconnected().receive_timeout(), Duration::from_secs(60))
    }),
    ("HTTPSession::connected", || {
        let (mut session, server) = answered_once();
        assert!(!session.is_connected());
        get(&mut session);
        assert!(session.is_connected());
        ended(session, server);
    }),
    ("HTTPSession::abort", || {
        let mut session = HttpClientSession::new("127.0.0.1", 9);
        session.abort();
        session.abort();
        assert!(session.send_request(&Request::get("/")).unwrap_err().is_aborted(), "until reset");
    }),
    ("HTTPSession::networkException", || {
        let (mut session, server) = answering("");
        session.send_request(&Request::get("/")).unwrap();
        assert!(session.receive_response(&mut Response::new()).is_err());
        assert_eq!(session.last_error().map(Error::kind), Some(ErrorKind::NoMessage));
        ended(session, server);
    }),
    ("HTTPSession::attachSessionData", || {
        let mut session = unconnected();
        session.attach_session_data(Box::new(1_u8));
        session.attach_session_data(Box::new("replaced"));
        assert_eq!(session.session_data().unwrap().downcast_ref(), Some(&"replaced"));
    }),
    ("HTTPSession::sessionData", || assert!(unconnected().session_data().is_none())),
    ("HTTPSession::detachSocket", || {
        let (mut connection, mut far) = connected();
        far.write_all(b"early").unwrap();
        assert_eq!(connection.peek().unwrap(), Some(b'e'));
        let raw = connection.detach_socket().unwrap();
        assert_eq!(raw.buffered(), b"early", "nothing is lost, unlike Poco");
        assert!(!connection.is_connected());
        assert_eq!(connection.detach_socket().unwrap_err().kind(), ErrorKind::IllegalState);
    }),
    ("HTTPSession::socket", || {
        let mut session = unconnected();
        assert!(session.socket().is_none());
        let (near, _far) = pair();
        session.connection_mut().attach_socket(Stream::custom(near)).unwrap();
        assert!(session.socket().is_some_and(|stream| !stream.is_secure()));
    }),
    ("HTTPSession::drainBuffer", || {
        let (mut connection, mut far) = connected();
        far.write_all(b"rest").unwrap();
        connection.peek().unwrap();
        assert_eq!(connection.drain_buffer(), b"rest");
        assert_eq!(connection.buffered(), 0);
    }),
    ("HTTPSession::requestTrailer", || {
        let (mut session, server) = answered_once();
        let mut request = Request::post("/");
        request.set_chunked(true);
        session.request_trailer_mut().set("X-Sum", "7").unwrap();
        session.send_request(&request).unwrap().write_all(b"abc").unwrap();
        session.receive_response(&mut Response::new()).unwrap();
        assert!(session.request_trailer_mut().is_empty(), "sent once, unlike Poco");
        assert!(ended(session, server).ends_with("3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n"));
    }),
    ("HTTPSession::responseTrailer", || {
        let (mut session, server) =
            answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 7\r\n\r\n");
        get(&mut session);
        assert_eq!(session.response_trailer().get("x-sum"), Some("7"));
        ended(session, server);
    }),
    ("HTTPSession::get", || {
        let (mut connection, mut far) = connected();
        far.write_all(&[0xFF]).unwrap();
        drop(far);
        assert_eq!(connection.get().unwrap(), Some(0xFF), "a byte, not an end as in Poco");
        assert_eq!(connection.get().unwrap(), None);
    }),
    ("HTTPSession::peek", || {
        let (mut connection, mut far) = connected();
        far.write_all(b"x").unwrap();
        assert_eq!(connection.peek().unwrap(), Some(b'x'));
        assert_eq!(connection.get().unwrap(), Some(b'x'));
    }),
    ("HTTPSession::read", || {
        let (mut connection, mut far) = connected();
        far.write_all(b"abcd").unwrap();
        connection.peek().unwrap();
        let mut two = [0; 2];
        assert_eq!(connection.read(&mut two).unwrap(), 2);
        assert_eq!((&two, connection.buffered()), (b"ab", 2));
    }),
    ("HTTPSession::write", || {
        let (mut connection, mut far) = connected();
        assert_eq!(connection.write(b"raw").unwrap(), 3);
        let mut raw = [0; 3];
        far.read_exact(&mut raw).unwrap();
        assert_eq!(&raw, b"raw");
    }),
    ("HTTPSession::receive", || {
        let (mut connection, mut far) = connected();
        far.write_all(b"late").unwrap();
        assert_eq!(connection.receive(&mut [0; 8]).unwrap(), 4);
        assert_eq!(connection.buffered(), 0, "past the buffer");
    }),
    ("HTTPSession::buffered", || assert_eq!(connected().0.buffered(), 0)),
    ("HTTPSession::refill", || {
        let (mut connection, mut far) = connected();
        far.write_all(b"abc").unwrap();
        assert_eq!(connection.refill().unwrap(), 3);
        assert_eq!(connection.buffered(), 3);
    }),
    ("HTTPSession::connect", || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut session = HttpClientSession::with_address(listener.local_addr().unwrap());
        session.reconnect().unwrap();
        assert_eq!(session.server_address().unwrap(), listener.local_addr().unwrap());
    }),
    ("HTTPSession::attachSocket", || {
        let (mut connection, mut far) = connected();
        far.write_all(b"old").unwrap();
        connection.peek().unwrap();
        let (near, _far) = pair();
        connection.attach_socket(Stream::custom(near)).unwrap();
        assert_eq!(connection.buffered(), 0, "the old stream's bytes went with it");
    }),
    ("HTTPSession::close", || {
        let (mut connection, mut far) = connected();
        connection.close();
        connection.close();
        assert_eq!(far.read(&mut [0; 1]).unwrap(), 0);
    }),
    ("HTTPSession::setException", || {
        let (mut connection, _far) = connected();
        connection.set_last_error(Error::new(ErrorKind::Form, "noted"));
        assert_eq!(connection.last_error().map(Error::kind), Some(ErrorKind::Form));
    }),
    ("HTTPSession::clearException", || {
        let (mut connection, _far) = connected();
        connection.set_last_error(Error::new(ErrorKind::Form, "noted"));
        connection.clear_last_error();
        assert!(connection.last_error().is_none());
    }),
    ("HTTPServerSession::HTTPServerSession", || {
        let (mut session, mut client) = served("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert!(session.has_more_requests().unwrap());
        let mut request = Request::default();
        session.receive_request(&mut request).unwrap();
        session.send_response(Response::new().set_content_length(0)).unwrap();
        session.close();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"));
    }),
    ("HTTPServerSession::hasMoreRequests", || {
        let (mut session, client) = served("");
        drop(client);
        assert!(!session.has_more_requests().unwrap());
    }),
    ("HTTPServerSession::canKeepAlive", || {
        let mut params = ServerSessionParams::default();
        params.max_keep_alive_requests = std::num::NonZeroU32::new(1);
        let (near, mut client) = pair();
        client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        let mut session = HttpServerSession::new(Stream::custom(near), params).unwrap();
        assert!(session.can_keep_alive());
        session.has_more_requests().unwrap();
        assert!(!session.can_keep_alive(), "the first request was the last");
    }),
    ("HTTPServerSession::clientAddress", || {
        let (session, client) = served_over_tcp();
        assert_eq!(session.client_address().unwrap(), client.local_addr().unwrap());
    }),
    ("HTTPServerSession::serverAddress", || {
        let (session, client) = served_over_tcp();
        assert_eq!(session.server_address().unwrap(), client.peer_addr().unwrap());
    }),
    ("HTTPClientSession::HTTPClientSession", || {
        let session = HttpClientSession::new("example.com", 8080);
        assert_eq!((session.host(), session.port()), ("example.com", 8080));
        let session = HttpClientSession::unconnected();
        assert_eq!((session.host(), session.port()), ("", 80));
        let address: SocketAddr = "[::1]:81".parse().unwrap();
        assert_eq!(HttpClientSession::with_address(address).host(), "::1");
        let (near, _far) = pair();
        assert!(HttpClientSession::with_stream(Stream::custom(near)).unwrap().is_connected());
    }),
    ("HTTPClientSession::DEFAULT_KEEP_ALIVE_TIMEOUT", || {
        assert_eq!(unconnected().keep_alive_timeout(), DEFAULT_KEEP_ALIVE_TIMEOUT);
    }),
    ("HTTPClientSession::setHost", || {
        let (mut session, server) = answered_once();
        get(&mut session);
        assert_eq!(session.set_host("elsewhere").unwrap_err().kind(), ErrorKind::IllegalState);
        session.reset();
        session.set_host("elsewhere").unwrap();
        ended(session, server);
    }),
    ("HTTPClientSession::getHost", || assert_eq!(HttpClientSession::new("h", 1).host(), "h")),
    ("HTTPClientSession::setPort", || {
        let (mut session, server) = answered_once();
        session.set_port(session.port()).unwrap();
        get(&mut session);
        assert_eq!(session.set_port(1).unwrap_err().kind(), ErrorKind::IllegalState);
        ended(session, server);
    }),
    ("HTTPClientSession::getPort", || assert_eq!(unconnected().port(), 80)),
    ("HTTPClientSession::setSourceAddress", || {
        let (mut session, server) = answered_once();
        session.set_source_address("127.0.0.2:0".parse().unwrap()).unwrap();
        get(&mut session);
        assert_eq!(session.client_address().unwrap().ip().to_string(), "127.0.0.2");
        assert!(session.set_source_address("127.0.0.3:0".parse().unwrap()).is_err(), "connected");
        ended(session, server);
    }),
    ("HTTPClientSession::getSourceAddress", || {
        let mut session = unconnected();
        session.set_source_address("127.0.0.2:0".parse().unwrap()).unwrap();
        session.set_source_address("[::1]:0".parse().unwrap()).unwrap();
        assert_eq!(session.source_address(), Some("[::1]:0".parse().unwrap()), "the last one");
    }),
    ("HTTPClientSession::getSourceAddress4", || {
        let mut session = unconnected();
        session.set_source_address("127.0.0.2:0".parse().unwrap()).unwrap();
        assert_eq!(session.source_address4(), Some("127.0.0.2:0".parse().unwrap()));
        assert_eq!(session.source_address6(), None);
    }),
    ("HTTPClientSession::getSourceAddress6", || {
        let mut session = unconnected();
        session.set_source_address("[::1]:0".parse().unwrap()).unwrap();
        assert_eq!(session.source_address6(), Some("[::1]:0".parse().unwrap()));
        assert_eq!(session.source_address4(), None);
    }),
    ("HTTPClientSession::setKeepAliveTimeout", || {
        let (mut session, server) = answered_once();
        session.set_keep_alive_timeout(Duration::ZERO);
        get(&mut session);
        assert!(session.must_reconnect(), "never reused");
        ended(session, server);
    }),
    ("HTTPClientSession::getKeepAliveTimeout", || {
        assert_eq!(unconnected().keep_alive_timeout(), Duration::from_secs(8));
    }),
    ("HTTPClientSession::sendRequest", || {
        let (mut session, server) = answered_once();
        let mut request = Request::post("/");
        request.set_content_length(3);
        session.send_request(&request).unwrap().write_all(b"abc").unwrap();
        session.receive_response(&mut Response::new()).unwrap();
        assert!(!request.headers().has("host"), "the caller's request stays as it is, unlike Poco's");
        assert!(ended(session, server).ends_with("\r\n\r\nabc"));
    }),
    ("HTTPClientSession::receiveResponse", || {
        let mut session = unconnected();
        let error = session.receive_response(&mut Response::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IllegalState, "no request was sent");
    }),
    ("HTTPClientSession::peekResponse", || {
        let (mut session, server) = answering("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n");
        let mut request = Request::post("/");
        request.set_content_length(3);
        session.send_request(&request).unwrap();
        let mut response = Response::new();
        assert!(!session.peek_response(&mut response).unwrap());
        assert_eq!(response.status().as_u16(), 417);
        ended(session, server);
    }),
    ("HTTPClientSession::flushRequest", || {
        let (mut session, server) = answered_once();
        let mut request = Request::post("/");
        request.set_content_length(3);
        session.send_request(&request).unwrap().write_all(b"ab").unwrap();
        assert_eq!(session.flush_request().unwrap_err().kind(), ErrorKind::Incomplete);
        assert!(!session.is_connected());
        ended(session, server);
    }),
    ("HTTPClientSession::reset", || {
        let (mut session, server) = answered_once();
        session.abort();
        session.reset();
        get(&mut session);
        session.reset();
        assert!(!session.is_connected());
        ended(session, server);
    }),
    ("HTTPClientSession::secure", || assert!(!unconnected().is_secure())),
    ("HTTPClientSession::reconnect", || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut session = HttpClientSession::with_address(listener.local_addr().unwrap());
        session.reconnect().unwrap();
        let first = session.client_address().unwrap();
        session.reconnect().unwrap();
        assert_ne!(session.client_address().unwrap(), first);
    }),
    ("HTTPClientSession::write", || {
        let (mut session, server) = answered_once();
        session.reconnect().unwrap();
        session.connection_mut().write(b"GET /raw HTTP/1.1\r\n\r\n").unwrap();
        assert!(ended(session, server).starts_with("GET /raw "));
    }),
    ("HTTPClientSession::sendRequestImpl", || {
        let mut session = unconnected();
        let error = session.send_request_impl(&Request::get("/")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IllegalState, "it makes no connection");
        let (mut session, server) = answered_once();
        session.reconnect().unwrap();
        session.send_request_impl(&Request::get("/")).unwrap();
        session.receive_response(&mut Response::new()).unwrap();
        ended(session, server);
    }),
    ("HTTPClientSession::setProxy", || {
        let mut session = unconnected();
        session.set_proxy("proxy", 3128).unwrap();
        assert_eq!((session.proxy_host(), session.proxy_port()), ("proxy", 3128));
    }),
    ("HTTPClientSession::setProxyHost", || {
        let mut session = unconnected();
        session.set_proxy_host("proxy").unwrap();
        assert_eq!((session.proxy_host(), session.proxy_port()), ("proxy", 80));
    }),
    ("HTTPClientSession::setProxyPort", || {
        let (mut session, server) = answered_once();
        get(&mut session);
        assert_eq!(session.set_proxy_port(1).unwrap_err().kind(), ErrorKind::IllegalState);
        ended(session, server);
    }),
    ("HTTPClientSession::getProxyHost", || assert_eq!(unconnected().proxy_host(), "", "none")),
    ("HTTPClientSession::getProxyPort", || assert_eq!(unconnected().proxy_port(), 80)),
    ("HTTPClientSession::setProxyCredentials", || {
        let mut session = unconnected();
        session.set_proxy_credentials("user", "pass");
        assert_eq!((session.proxy_username(), session.proxy_password()), ("user", "pass"));
    }),
    ("HTTPClientSession::setProxyUsername", || {
        let mut session = unconnected();
        session.set_proxy_credentials("user", "pass");
        session.set_proxy_username("other");
        assert_eq!((session.proxy_username(), session.proxy_password()), ("other", "pass"));
    }),
    ("HTTPClientSession::getProxyUsername", || assert_eq!(unconnected().proxy_username(), "")),
    ("HTTPClientSession::setProxyPassword", || {
        let mut session = unconnected();
        session.set_proxy_credentials("user", "pass");
        session.set_proxy_password("other");
        assert_eq!((session.proxy_username(), session.proxy_password()), ("user", "other"));
    }),
    ("HTTPClientSession::getProxyPassword", || assert_eq!(unconnected().proxy_password(), "")),
    ("HTTPClientSession::setProxyConfig", || {
        let mut session = unconnected();
        let mut config = ProxyConfig::new("proxy", 8);
        config.set_protocol(ProxyProtocol::Socks5);
        session.set_proxy_config(config).unwrap();
        assert_eq!((session.proxy_host(), session.proxy_protocol()), ("proxy", ProxyProtocol::Socks5));
    }),
    ("HTTPClientSession::getProxyConfig", || {
        let session = unconnected();
        assert!(!session.proxy_config().is_some() && session.is_proxy_tunnel());
    }),
    ("HTTPClientSession::setGlobalProxyConfig", || {
        // Exempt for all hosts, because other tests make sessions meanwhile.
        let mut config = ProxyConfig::new("global", 8);
        config.set_no_proxy("*");
        ProxyConfig::set_global(Some(config));
        let session = unconnected();
        ProxyConfig::set_global(None);
        assert_eq!(session.proxy_host(), "global");
        assert_eq!(unconnected().proxy_host(), "", "sessions made afterwards");
    }),
    ("HTTPClientSession::getGlobalProxyConfig", || assert!(!ProxyConfig::global().is_some())),
    ("HTTPClientSession::bypassProxy", || {
        let mut config = ProxyConfig::new("proxy", 8);
        config.set_non_proxy_hosts("local.*").unwrap();
        let session = HttpClientSession::with_proxy("LOCALHOST", 80, config.clone()).unwrap();
        assert!(session.bypass_proxy(), "in any case");
        let session = HttpClientSession::with_proxy("notlocal", 80, config).unwrap();
        assert!(!session.bypass_proxy(), "as a whole");
    }),
    ("HTTPClientSession::sendChallengeRequest", || {
        let (mut session, server) = answered_once();
        let mut request = Request::post("/");
        request.set_content_length(9);
        let mut response = Response::new();
        session.send_challenge_request(&request, &mut response).unwrap();
        assert!(response.status().is_success());
        assert!(ended(session, server).contains("Content-Length: 0\r\n"), "a copy without content");
    }),
    ("HTTPClientSession::proxyRequestPrefix", || {
        let session = HttpClientSession::with_proxy("::1", 8080, ProxyConfig::new("proxy", 8)).unwrap();
        assert_eq!(session.proxy_request_prefix(), "http://[::1]:8080");
        assert_eq!(unconnected().proxy_request_prefix(), "");
    }),
    ("HTTPClientSession::proxyAuthenticate", || {
        let mut config = ProxyConfig::new("proxy", 8);
        config.set_credentials("Aladdin", "open sesame");
        let mut session = HttpClientSession::with_proxy("h", 80, config).unwrap();
        let mut request = Request::get("/");
        session.proxy_authenticate(&mut request).unwrap();
        let value = request.headers().get("proxy-authorization");
        assert_eq!(value, Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
    }),
    ("HTTPClientSession::proxyAuthenticateImpl", || {
        let mut request = Request::get("/");
        unconnected().proxy_authenticate_impl(&mut request, &ProxyConfig::new("proxy", 8)).unwrap();
        assert!(!request.headers().has("proxy-authorization"), "only with a user name, unlike Poco");
    }),
    ("HTTPClientSession::proxyAuthenticateDigest", || {
        let error = unchallenged().proxy_authenticate_digest(&mut Request::get("/")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotAuthenticated);
    }),
    ("HTTPClientSession::proxyAuthenticateNTLM", || {
        let error = unchallenged().proxy_authenticate_ntlm(&mut Request::get("/")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotAuthenticated);
    }),
    ("HTTPClientSession::proxyConnect", || {
        assert_eq!(unconnected().proxy_connect().unwrap_err().kind(), ErrorKind::IllegalState);
        let (session, proxy) = answering("HTTP/1.1 299 Any 2xx\r\n\r\n");
        let config = ProxyConfig::new(session.host(), session.port());
        let mut session = HttpClientSession::with_proxy("origin", 443, config).unwrap();
        drop(session.proxy_connect().unwrap());
        assert!(!session.is_connected(), "the session stays as it is");
        assert!(ended(session, proxy).starts_with("CONNECT origin:443 HTTP/1.1\r\nHost: origin:443\r\n"));
    }),
    ("HTTPClientSession::proxyTunnel", || {
        let (session, proxy) = answering("HTTP/1.1 200 OK\r\n\r\n");
        let config = ProxyConfig::new(session.host(), session.port());
        let mut session = HttpClientSession::with_proxy("origin", 443, config).unwrap();
        session.proxy_tunnel().unwrap();
        assert!(session.is_connected());
        ended(session, proxy);
    }),
    ("HTTPClientSession::mustReconnect", || {
        let (mut session, server) =
            answering("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        assert!(!session.must_reconnect());
        get(&mut session);
        assert!(session.must_reconnect());
        ended(session, server);
    }),
    ("WebSession::WebSession", || assert_eq!(web_session().0.attribute_names().unwrap(), [""; 0])),
    ("WebSession::access", || {
        let (session, clock) = web_session();
        clock.advance(Duration::from_secs(60));
        let before = session.expiration().unwrap();
        session.access().unwrap();
        assert_eq!(session.expiration().unwrap(), before + Duration::from_secs(60));
    }),
    ("WebSession::begin", || {
        let (session, _) = web_session();
        session.set("b", "2").unwrap();
        session.set("a", "1").unwrap();
        let names: Vec<_> = session.iter().unwrap().map(|(name, _)| name).collect();
        assert_eq!(names, ["a", "b"], "in the order of names");
    }),
    ("WebSession::end", || {
        let (session, _) = web_session();
        session.set("a", "1").unwrap();
        let snapshot = session.iter().unwrap();
        session.clear().unwrap();
        assert_eq!(snapshot.count(), 1, "iteration is over a snapshot");
    }),
    ("WebSession::clear", || {
        let (session, _) = web_session();
        session.set("a", "1").unwrap();
        session.clear().unwrap();
        assert!(session.is_valid() && !session.has("a"));
    }),
    ("WebSession::clientAddress", || {
        let manager = WebSessionManager::new(MemoryStore::new());
        let request = Request::get("/");
        let visit = Visit::new(&request).client_address([127, 0, 0, 9].into());
        assert_eq!(manager.open(&visit).unwrap().client_address(), Some([127, 0, 0, 9].into()));
    }),
    ("WebSession::context", || assert_eq!(web_session().0.context(), &WebContext::default())),
    ("WebSession::created", || {
        let (session, clock) = web_session();
        let created = session.created();
        clock.advance(Duration::from_secs(5));
        assert_eq!(session.created(), created);
    }),
    ("WebSession::erase", || {
        let (session, _) = web_session();
        session.set("a", "1").unwrap();
        assert!(session.erase("a").unwrap());
        assert!(!session.erase("a").unwrap(), "a missing one is no error");
    }),
    ("WebSession::find", || {
        let (session, _) = web_session();
        session.set("a", "1").unwrap();
        assert!(session.has("a") && !session.has("b"));
    }),
    ("WebSession::get", || {
        let (session, _) = web_session();
        session.set("n", 7_i64).unwrap();
        assert_eq!(session.get::<i64>("n").unwrap(), 7);
        assert_eq!(session.get::<i64>("m").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(session.get::<String>("n").unwrap_err().kind(), ErrorKind::BadCast);
    }),
    ("WebSession::getExpiration", || {
        let (session, _) = web_session();
        assert_eq!(session.expiration().unwrap(), session.last_accessed() + session.timeout().unwrap());
        session.set_timeout(None);
        assert_eq!(session.expiration(), None, "never");
    }),
    ("WebSession::id", || {
        let (session, _) = web_session();
        let id = session.id();
        session.invalidate().unwrap();
        assert_eq!(session.id(), id, "after the end, too");
    }),
    ("WebSession::set", || {
        let (session, _) = web_session();
        assert!(session.set("a", "1").unwrap().is_none());
        assert_eq!(session.set("a", "2").unwrap().unwrap().as_str(), Some("1"), "the old value");
    }),
    ("WebSession::timeout", || assert_eq!(web_session().0.timeout(), Some(Duration::from_secs(1800)))),
    ("WebSession::onBundleStopping", || {
        let (session, _) = web_session();
        session.set("a", "1").unwrap();
        session.on_owner_stopping(&WebContext::new("another"));
        assert!(session.has("a"));
        session.on_owner_stopping(&WebContext::default());
        assert!(session.is_valid() && !session.has("a"));
    }),
    ("WebSession::sessionEnds", || {
        let (session, _) = web_session();
        session.set("a", "1").unwrap();
        let (said, heard) = std::sync::mpsc::channel();
        let _subscription = session
            .on_session_ends(move |ended| {
                said.send((ended.reason(), ended.attribute::<String>("a"))).unwrap()
            })
            .unwrap();
        session.invalidate().unwrap();
        assert_eq!(heard.try_recv().unwrap(), (EndReason::Invalidated, Some("1".to_owned())));
    }),
    ("HttpSession::getCreationTime", || {
        let (session, _) = web_session();
        assert_eq!(session.creation_time().unwrap(), session.created());
        ended_session(|session| session.creation_time().map(drop));
    }),
    ("HttpSession::getId", || assert_eq!(web_session().0.id().to_string().len(), 24)),
    ("HttpSession::getLastAccessedTime", || {
        let (session, clock) = web_session();
        let before = session.last_accessed_time().unwrap();
        clock.advance(Duration::from_secs(9));
        session.set("a", "1").unwrap();
        assert_eq!(session.last_accessed_time().unwrap(), before, "the use of attributes is no access");
        ended_session(|session| session.last_accessed_time().map(drop));
    }),
    ("HttpSession::getServletContext", || {
        let (session, _) = web_session();
        session.invalidate().unwrap();
        assert_eq!(session.context().name(), "", "after the end, too");
    }),
    ("HttpSession::setMaxInactiveInterval", || {
        let (session, clock) = web_session();
        session.set_max_inactive_interval(-1);
        clock.advance(Duration::from_secs(1_000_000_000));
        assert!(session.is_valid(), "negative is never");
        session.set_max_inactive_interval(10);
        assert!(!session.is_valid(), "at once");
    }),
    ("HttpSession::getMaxInactiveInterval", || {
        let (session, _) = web_session();
        session.set_timeout(None);
        assert!(session.max_inactive_interval() < 0);
    }),
    ("HttpSession::getAttribute", || {
        let (session, _) = web_session();
        assert_eq!(session.attribute::<String>("a").unwrap(), None, "a missing one is no error");
        ended_session(|session| session.attribute::<String>("a").map(drop));
    }),
    ("HttpSession::getAttributeNames", || {
        let (session, _) = web_session();
        session.set("b", "").unwrap();
        session.set("a", "").unwrap();
        assert_eq!(session.attribute_names().unwrap(), ["a", "b"]);
        ended_session(|session| session.attribute_names().map(drop));
    }),
    ("HttpSession::setAttribute", || {
        let (session, _) = web_session();
        session.set_attribute("a", Some("1".into())).unwrap();
        session.set_attribute("a", None).unwrap();
        assert!(!session.has_attribute("a"), "a null value removes");
        ended_session(|session| session.set_attribute("a", None).map(drop));
    }),
    ("HttpSession::hasAttribute", || {
        let (session, _) = web_session();
        session.set("a", "1").unwrap();
        session.invalidate().unwrap();
        assert!(!session.has_attribute("a"), "no error after the end");
    }),
    ("HttpSession::removeAttribute", || {
        let (session, _) = web_session();
        session.remove_attribute("missing").unwrap();
        ended_session(|session| session.remove_attribute("a"));
    }),
    ("HttpSession::invalidate", || {
        let (session, _) = web_session();
        session.invalidate().unwrap();
        assert_eq!(session.invalidate().unwrap_err().kind(), ErrorKind::IllegalState);
    }),
    ("HttpSession::isNew", || {
        let (session, _) = web_session();
        assert!(session.is_new().unwrap());
        ended_session(|session| session.is_new().map(drop));
    }),
];

fn names(pages: &[(&str, &str)]) -> BTreeSet<String> {
    pages
        .iter()
        .flat_map(|(class, members)| {
            members.split_whitespace().map(move |member| format!("{class}::{member}"))
        })
        .collect()
}

#[test]
fn every_member_of_the_pages_has_a_row() {
    // What is not compiled in has no members.
    let pages: Vec<_> = PAGES
        .iter()
        .copied()
        .filter(|(class, _)| cfg!(feature = "tls") || *class != "HTTPSClientSession")
        .collect();
    let members = names(&pages);
    let rows: BTreeSet<String> = self::rows().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(rows.len(), self::rows().count(), "a member has two rows");
    let difference =
        |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).cloned().collect::<Vec<_>>();
    assert_eq!(difference(&members, &rows), [""; 0], "members without a row");
    assert_eq!(difference(&rows, &members), [""; 0], "rows that no page has");
}

#[test]
fn every_counterpart_behaves() {
    for (name, behaves) in rows() {
        if std::panic::catch_unwind(behaves).is_err() {
            panic!("{name} does not behave as its row says");
        }
    }
}

/// A session with a user for a proxy that makes no challenge.
fn unchallenged() -> HttpClientSession {
    let (session, _) = answered_once();
    let mut config = ProxyConfig::new(session.host(), session.port());
    config.set_credentials("user", "pass");
    HttpClientSession::with_proxy("origin", 80, config).unwrap()
}

/// A web session, and the clock that it obeys.
fn web_session() -> (WebSession, ManualClock) {
    let clock = ManualClock::new();
    let manager = WebSessionManager::builder(MemoryStore::new()).clock(clock.clone()).build();
    let session = manager.new_session().unwrap();
    // The manager's last handle would end its sessions.
    std::mem::forget(manager);
    (session, clock)
}

/// What is `IllegalState` once the session has ended.
fn ended_session(call: impl FnOnce(&WebSession) -> sessile::Result<()>) {
    let (session, _) = web_session();
    session.invalidate().unwrap();
    assert_eq!(call(&session).unwrap_err().kind(), ErrorKind::IllegalState);
}

fn unconnected() -> HttpClientSession {
    HttpClientSession::unconnected()
}

fn connected() -> (Connection, Pipe) {
    let (near, far) = pair();
    (Connection::with_stream(Stream::custom(near)).unwrap(), far)
}

fn served(request: &str) -> (HttpServerSession, Pipe) {
    let (near, mut client) = pair();
    client.write_all(request.as_bytes()).unwrap();
    (HttpServerSession::new(Stream::custom(near), ServerSessionParams::default()).unwrap(), client)
}

fn served_over_tcp() -> (HttpServerSession, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let stream = Stream::Tcp(Socket::from_tcp(listener.accept().unwrap().0).unwrap());
    (HttpServerSession::new(stream, ServerSessionParams::default()).unwrap(), client)
}

/// A session to a server that takes one connection, answers the first head with the text, and
/// returns all that it read until the client left.
fn answering(answer: &'static str) -> (HttpClientSession, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut read = Vec::new();
        let mut byte = [0];
        while !read.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
            read.push(byte[0]);
        }
        let _ = stream.write_all(answer.as_bytes());
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut read);
        String::from_utf8_lossy(&read).into_owned()
    });
    (HttpClientSession::with_address(address), server)
}

fn answered_once() -> (HttpClientSession, JoinHandle<String>) {
    answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
}

/// Drops the session; what the server has read.
fn ended(session: HttpClientSession, server: JoinHandle<String>) -> String {
    drop(session);
    server.join().unwrap()
}

/// Makes a request and reads the answer.
fn get(session: &mut HttpClientSession) {
    session.send_request(&Request::get("/")).unwrap();
    session.receive_response(&mut Response::new()).unwrap().skip().unwrap();
}
