//! Authorities and certificates made for the test, and both ends of a connection under TLS.

#![allow(dead_code)] // each test file uses its part
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
    date_time_ymd,
};
use sessile::message::{Request, Response};
use sessile::net::{Limit, Socket, Stream};
use sessile::session::{
    ClientSession, HttpServerSession, HttpsClientSession, ServerSession, ServerSessionParams, Session,
};
use sessile::tls::{CertificateError, CertificateProblem, TlsContext};
use sessile::{Error, Result};

/// Who issues certificates.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Its own certificate.
    pub(crate) pem: String,
    /// What leads to it, to be sent behind a certificate that it has issued.
    above: String,
}

/// A certificate with its chain, and its key.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) pem: String,
    pub(crate) key: String,
    pub(crate) serial: u64,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Authority {
        let issuer = CertifiedIssuer::self_signed(authority(name), KeyPair::generate().unwrap()).unwrap();
        Authority { pem: issuer.pem(), above: String::new(), issuer }
    }

    /// Another authority that this one vouches for.
    pub(crate) fn intermediate(&self, name: &str) -> Authority {
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::signed_by(authority(name), key, &self.issuer).unwrap();
        Authority { pem: issuer.pem(), above: issuer.pem() + &self.above, issuer }
    }

    /// A certificate for servers of these names.
    pub(crate) fn server(&self, names: &[&str]) -> Issued {
        self.issue(1, names, |_| {})
    }

    /// A certificate for a client.
    pub(crate) fn client(&self, name: &str) -> Issued {
        self.issue(2, &[], |params| {
            params.distinguished_name.push(DnType::CommonName, name);
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        })
    }

    pub(crate) fn issue(
        &self,
        serial: u64,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let key = KeyPair::generate().unwrap();
        let mut params = leaf(serial, names);
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Issued { pem: certificate.pem() + &self.above, key: key.serialize_pem(), serial }
    }

    /// What it has taken back.
    pub(crate) fn revocation_list(&self, serials: &[u64]) -> String {
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2090, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials
                .iter()
                .map(|serial| RevokedCertParams {
                    serial_number: SerialNumber::from(*serial),
                    revocation_time: date_time_ymd(2024, 1, 1),
                    reason_code: None,
                    invalidity_date: None,
                })
                .collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    /// A client's context that trusts this authority alone.
    pub(crate) fn trusting(&self) -> TlsContext {
        TlsContext::client().only_added_cas().add_ca_pem(&self.pem).build().unwrap()
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params
}

fn leaf(serial: u64, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.serial_number = Some(SerialNumber::from(serial));
    params.distinguished_name.push(DnType::CommonName, "a test");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params
}

/// A certificate that issued itself.
pub(crate) fn self_signed(names: &[&str]) -> Issued {
    let key = KeyPair::generate().unwrap();
    Issued { pem: leaf(1, names).self_signed(&key).unwrap().pem(), key: key.serialize_pem(), serial: 1 }
}

impl Issued {
    /// A server's context that shows this certificate.
    pub(crate) fn serving(&self) -> TlsContext {
        TlsContext::server().certificate_pem(&self.pem, &self.key).build().unwrap()
    }
}

pub(crate) fn within(seconds: u64) -> Limit {
    Limit::stall(Duration::from_secs(seconds))
}

/// Takes one connection after the other, each on a thread of its own.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    thread: Option<JoinHandle<()>>,
    ending: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Server {
    /// Has each connection served by this function.
    pub(crate) fn with(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ending = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let ends = ending.clone();
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if ends.load(std::sync::atomic::Ordering::SeqCst) {
                    break;
                }
                let serve = serve.clone();
                let stream = stream.unwrap();
                thread::spawn(move || serve(stream));
            }
        });
        Server { address, thread: Some(thread), ending }
    }

    /// Answers every request under TLS with its target, and `X-Client` with the subject of the
    /// client's certificate.
    pub(crate) fn answering(context: &TlsContext) -> Server {
        let context = context.clone();
        Server::with(move |stream| {
            let _ = answer_all(stream, &context);
        })
    }

    pub(crate) fn session(&self, context: &TlsContext) -> HttpsClientSession {
        let mut session = HttpsClientSession::with_context("localhost", self.address.port(), context.clone());
        session.set_resolver(to_loopback());
        session.set_timeout(Duration::from_secs(10));
        session
    }

    pub(crate) fn connect(&self) -> Stream {
        Stream::Tcp(Socket::from_tcp(TcpStream::connect(self.address).unwrap()).unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ending.store(true, std::sync::atomic::Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub(crate) fn answer_all(stream: TcpStream, context: &TlsContext) -> Result<()> {
    let stream = context.accept(Stream::Tcp(Socket::from_tcp(stream)?))?;
    let mut session = HttpServerSession::new(stream, ServerSessionParams::default())?;
    let mut request = Request::default();
    while session.has_more_requests()? {
        session.receive_request(&mut request)?.skip()?;
        let mut response = Response::new();
        if let Some(client) = session.client_certificate() {
            response.headers_mut().set("X-Client", client.subject())?;
        }
        let tls = session.connection().with_tls(|tls| {
            format!("{} {}", tls.session_was_reused(), tls.server_name().unwrap_or_default())
        });
        response.headers_mut().set("X-Tls", tls.unwrap_or_default())?;
        session.send_response(&response)?.write_all(request.target().as_bytes())?;
    }
    session.close();
    Ok(())
}

/// Resolves every name to this machine.
pub(crate) fn to_loopback() -> std::sync::Arc<dyn sessile::net::Resolve> {
    #[derive(Debug)]
    struct Loopback;
    impl sessile::net::Resolve for Loopback {
        fn resolve(&self, _host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
            Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
        }
    }
    std::sync::Arc::new(Loopback)
}

/// One exchange: the response and its content.
pub(crate) fn get(session: &mut dyn ClientSession, target: &str) -> Result<(Response, String)> {
    session.send_request(&Request::get(target))?;
    let mut response = Response::new();
    let mut text = String::new();
    session.receive_response(&mut response)?.read_to_string(&mut text)?;
    Ok((response, text))
}

/// Why a certificate was refused, according to this error.
pub(crate) fn problem(error: &Error) -> Option<CertificateProblem> {
    let source = std::error::Error::source(error)?;
    source.downcast_ref::<CertificateError>().map(CertificateError::problem)
}
