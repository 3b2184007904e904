//! TLS for `fetch`: whom it trusts, and as whom it comes.

#[cfg(any(feature = "tls", feature = "tls-aws-lc-rs"))]
use sessile::client::UserAgentBuilder;
#[cfg(any(feature = "tls", feature = "tls-aws-lc-rs"))]
use sessile::tls::TlsContext;

/// The options about TLS.
#[derive(Default)]
pub(crate) struct Tls {
    pub(crate) ca: Option<String>,
    pub(crate) cert: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) insecure: bool,
}

impl Tls {
    /// Whether this build can do TLS at all.
    pub(crate) const AVAILABLE: bool = cfg!(any(feature = "tls", feature = "tls-aws-lc-rs"));

    /// What does not go together, or not with this build.
    pub(crate) fn check(&self) -> Result<(), String> {
        let wanted = self.ca.is_some() || self.cert.is_some() || self.key.is_some() || self.insecure;
        if wanted && !Tls::AVAILABLE {
            return Err("--cacert, --cert, --key and --insecure need the feature tls".to_owned());
        }
        if self.key.is_some() && self.cert.is_none() {
            return Err("--key needs --cert".to_owned());
        }
        Ok(())
    }

    /// Has the agent ask servers in this way.
    #[cfg(any(feature = "tls", feature = "tls-aws-lc-rs"))]
    pub(crate) fn apply(&self, agent: UserAgentBuilder) -> sessile::Result<UserAgentBuilder> {
        let mut context = TlsContext::client();
        if let Some(path) = &self.ca {
            context = context.only_added_cas().add_ca_file(path);
        }
        if let Some(cert) = &self.cert {
            // One file may have both.
            context = context.certificate_files(cert, self.key.as_ref().unwrap_or(cert));
        }
        if self.insecure {
            context = context.dangerous().accept_invalid_certificates();
        }
        Ok(agent.tls(context.build()?))
    }
}
