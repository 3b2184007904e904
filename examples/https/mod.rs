//! TLS for `serve`: certificates from files, and what is seen of a client's.

use sessile::Result;
use sessile::server::{HttpServer, ServerRequest};
#[cfg(any(feature = "tls", feature = "tls-aws-lc-rs"))]
use sessile::tls::{TlsContext, VerificationMode};

/// The options about TLS.
#[derive(Default)]
pub(crate) struct Tls {
    pub(crate) cert: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) client_ca: Option<String>,
}

impl Tls {
    /// What does not go together, or not with this build.
    pub(crate) fn check(&self) -> Result<(), String> {
        let wanted = self.cert.is_some() || self.key.is_some() || self.client_ca.is_some();
        if wanted && cfg!(not(any(feature = "tls", feature = "tls-aws-lc-rs"))) {
            return Err("--tls-cert needs the feature tls".to_owned());
        }
        if wanted && (self.cert.is_none() || self.key.is_none()) {
            return Err("--tls-cert and --tls-key go together, and --tls-client-ca with both".to_owned());
        }
        Ok(())
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.cert.is_some()
    }
}

/// Has the server listen, with TLS if that is wanted.
#[cfg(any(feature = "tls", feature = "tls-aws-lc-rs"))]
pub(crate) fn listen(server: HttpServer, address: &str, tls: &Tls) -> Result<HttpServer> {
    let (Some(cert), Some(key)) = (&tls.cert, &tls.key) else { return server.listen(address) };
    let mut context = TlsContext::server().certificate_files(cert, key);
    if let Some(ca) = &tls.client_ca {
        context = context.client_ca_file(ca).verification_mode(VerificationMode::Strict);
    }
    let context = context.build()?;
    reload_on_hangup(&context)?;
    server.listen_tls(address, &context)
}

/// Reads the files again on SIGHUP; connections stay.
#[cfg(any(feature = "tls", feature = "tls-aws-lc-rs"))]
fn reload_on_hangup(context: &TlsContext) -> Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGHUP])?;
    let context = context.clone();
    std::thread::spawn(move || {
        for _ in signals.forever() {
            match context.reload() {
                Ok(()) => log::info!("the certificates were read again"),
                Err(error) => log::error!("the certificates stay as they were: {error}"),
            }
        }
    });
    Ok(())
}

#[cfg(not(any(feature = "tls", feature = "tls-aws-lc-rs")))]
pub(crate) fn listen(server: HttpServer, address: &str, _: &Tls) -> Result<HttpServer> {
    server.listen(address)
}

/// Whose certificate the client has shown.
#[cfg(any(feature = "tls", feature = "tls-aws-lc-rs"))]
pub(crate) fn client_subject(request: &ServerRequest<'_>) -> Option<String> {
    request.client_certificate().map(|certificate| certificate.subject())
}

#[cfg(not(any(feature = "tls", feature = "tls-aws-lc-rs")))]
pub(crate) fn client_subject(_: &ServerRequest<'_>) -> Option<String> {
    None
}
