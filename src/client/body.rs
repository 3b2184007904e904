//! The content of a response, with its session: read to its end, the session goes back to the pool.

use std::fmt;
use std::io::{self, BufRead, Read};
use std::sync::Arc;

use super::content::Flow;
#[cfg(feature = "gzip")]
use super::gzip::Gzip;
use super::link::Link;
use super::pool::{Lease, MOST_UNREAD, Pool};
use super::timings::{Stopwatch, Timings};
use crate::message::HeaderMap;
use crate::session::{ClientSession, Observer};
use crate::{Error, Result};

/// The content of a response: `Read` and `BufRead`, and `Send`, so that it can be read anywhere.
///
/// The end of the content is `Ok(0)`; a connection that ends before it is
/// [`Incomplete`](crate::ErrorKind::Incomplete), compressed content that is cut or corrupt
/// [`Decode`](crate::ErrorKind::Decode). Read to its end, it gives its session back to the
/// agent's pool. Dropped before, it does so too if little is left, which is read and dropped when
/// the session is used next; else, and where its end is neither known nor there, the connection is
/// closed.
///
/// ```no_run
/// use std::io::BufRead;
/// use sessile::client::UserAgent;
///
/// let body = UserAgent::new().get("http://example.com/log").send()?.into_body();
/// for line in body.lines() {
///     println!("{}", line?);
/// }
/// # Ok::<(), sessile::Error>(())
/// ```
#[doc(alias = "HTTPResponseStream")]
pub struct AgentBody(Source);

#[allow(clippy::large_enum_variant, reason = "the large one is the common one")]
enum Source {
    Plain(Raw),
    #[cfg(feature = "gzip")]
    Gzip(Box<Gzip<Raw>>),
}

/// The content as it comes.
pub(super) struct Raw {
    /// `None` once it went back.
    lease: Option<Lease>,
    pool: Arc<Pool>,
    link: Option<Link>,
    watch: Arc<Stopwatch>,
    /// Content of the request that is sent while this is read.
    flow: Option<Flow>,
    received: u64,
    total: Option<u64>,
    trailers: HeaderMap,
}

impl AgentBody {
    pub(super) fn plain(raw: Raw) -> AgentBody {
        AgentBody(Source::Plain(raw))
    }

    #[cfg(feature = "gzip")]
    pub(super) fn gzip(raw: Raw, limits: super::GzipLimits) -> AgentBody {
        AgentBody(Source::Gzip(Box::new(Gzip::new(raw, limits))))
    }

    fn raw(&self) -> Option<&Raw> {
        match &self.0 {
            Source::Plain(raw) => Some(raw),
            #[cfg(feature = "gzip")]
            Source::Gzip(gzip) => gzip.source(),
        }
    }

    /// How much is still to come, where the response said so; not known of content that is decoded.
    pub fn remaining(&self) -> Option<u64> {
        match &self.0 {
            Source::Plain(raw) => match &raw.lease {
                Some(lease) => lease.session.connection().unread(),
                None => Some(0),
            },
            #[cfg(feature = "gzip")]
            Source::Gzip(_) => None,
        }
    }

    /// The trailer fields, once the content was read to its end; empty before.
    #[doc(alias = "responseTrailer")]
    pub fn trailers(&self) -> &HeaderMap {
        static NONE: HeaderMap = HeaderMap::new();
        self.raw().map_or(&NONE, |raw| &raw.trailers)
    }

    /// How long the parts of the call took, up to now, or to the end of the content.
    pub fn timings(&self) -> Timings {
        self.raw().map(|raw| raw.watch.timings()).unwrap_or_default()
    }

    /// Takes the session out, with what is still to be read of its response: after a `101`, say, to
    /// [detach](crate::session::Session::detach_socket) its connection. The pool never sees it again.
    /// `IllegalState` where the content was read to its end, so that the session has gone back.
    #[doc(alias = "detachSocket")]
    pub fn into_session(self) -> Result<Box<dyn ClientSession>> {
        let raw = match self.0 {
            Source::Plain(raw) => Some(raw),
            #[cfg(feature = "gzip")]
            Source::Gzip(gzip) => gzip.into_source(),
        };
        raw.and_then(|mut raw| raw.detach()).map(|lease| lease.session).ok_or_else(|| {
            Error::illegal_state("the response was read to its end, and its session has gone back")
        })
    }
}

impl Raw {
    pub(super) fn new(
        lease: Lease,
        pool: Arc<Pool>,
        link: Option<Link>,
        watch: Arc<Stopwatch>,
        flow: Option<Flow>,
    ) -> Raw {
        let total = lease.session.connection().unread();
        Raw { lease: Some(lease), pool, link, watch, flow, received: 0, total, trailers: HeaderMap::new() }
    }

    /// Nothing is to come: the session is not needed any longer.
    pub(super) fn finish_if_empty(&mut self) {
        if let Some(lease) = &self.lease {
            if lease.session.connection().is_read() && self.flow.is_none() {
                self.finish();
            }
        }
    }

    pub(super) fn is_finished(&self) -> bool {
        self.lease.is_none()
    }

    /// The session, without what ties it to this call.
    fn detach(&mut self) -> Option<Lease> {
        let mut lease = self.lease.take()?;
        self.flow = None;
        if let Some(link) = self.link.take() {
            link.release();
        }
        lease.session.connection_mut().set_observer(None);
        Some(lease)
    }

    fn finish(&mut self) {
        self.watch.end();
        if let Some(lease) = self.detach() {
            self.trailers.clone_from(lease.session.response_trailer());
            self.pool.give_back(lease);
        }
    }

    fn note(&mut self, n: usize) {
        if n > 0 {
            self.received += n as u64;
            self.watch.received(self.received, self.total);
        }
        self.finish_if_empty();
    }

    /// Has content at the front of the session's buffer, unless there is no more.
    fn fill(&mut self) -> Result<()> {
        let Some(lease) = &mut self.lease else { return Ok(()) };
        let connection = lease.session.connection_mut();
        match &mut self.flow {
            None => connection.fill_content()?,
            Some(flow) => {
                let mut body = connection.body_reader_uploading(flow);
                body.fill()?;
                if !body.is_uploading() {
                    self.flow = None;
                }
            }
        }
        self.finish_if_empty();
        Ok(())
    }
}

impl Read for Raw {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(lease) = &mut self.lease else { return Ok(0) };
        let connection = lease.session.connection_mut();
        let n = match &mut self.flow {
            None => connection.body_reader().read(into)?,
            Some(flow) => {
                let mut body = connection.body_reader_uploading(flow);
                let n = body.read(into)?;
                if !body.is_uploading() {
                    self.flow = None;
                }
                n
            }
        };
        self.note(n);
        Ok(n)
    }
}

impl BufRead for Raw {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.fill()?;
        Ok(self.lease.as_ref().map_or(&[], |lease| lease.session.connection().content()))
    }

    fn consume(&mut self, n: usize) {
        if let Some(lease) = &mut self.lease {
            lease.session.connection_mut().body_reader().consume(n);
            self.note(n);
        }
    }
}

impl Drop for Raw {
    /// Nothing here waits or fails: the session goes where it can be used, or is closed.
    fn drop(&mut self) {
        let uploading = self.flow.is_some();
        if let Some(mut lease) = self.detach() {
            // What has no end that is near, events say, would go on coming for nobody.
            if !uploading && lease.session.connection_mut().is_nearly_read(MOST_UNREAD) {
                self.pool.give_back(lease);
            }
        }
    }
}

impl Read for AgentBody {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Source::Plain(raw) => raw.read(into),
            #[cfg(feature = "gzip")]
            Source::Gzip(gzip) => gzip.read(into),
        }
    }
}

impl BufRead for AgentBody {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match &mut self.0 {
            Source::Plain(raw) => raw.fill_buf(),
            #[cfg(feature = "gzip")]
            Source::Gzip(gzip) => gzip.fill_buf(),
        }
    }

    fn consume(&mut self, n: usize) {
        match &mut self.0 {
            Source::Plain(raw) => raw.consume(n),
            #[cfg(feature = "gzip")]
            Source::Gzip(gzip) => gzip.consume(n),
        }
    }
}

impl fmt::Debug for AgentBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentBody").field("remaining", &self.remaining()).finish_non_exhaustive()
    }
}
