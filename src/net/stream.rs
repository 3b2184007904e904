//! The stream that a session speaks over: a socket, or whatever a user brings.
//!
//! An enum with one boxed arm. A type parameter would spread over sessions, bodies and
//! handlers; a box alone would hide the socket that options, `sendfile` and eviction need. An
//! arm that stands on another `Stream` (TLS does) hands limits and abort down to it.

use std::fmt;
use std::io::IoSlice;
use std::net::{Shutdown, SocketAddr};

use crate::error::{Error, Result};
use crate::net::abort::AbortHandle;
use crate::net::deadline::Limit;
use crate::net::socket::Socket;
#[cfg(feature = "_tls")]
use crate::net::tls::TlsStream;

/// A connected, reliable stream of bytes in both directions.
///
/// ```
/// use std::io::IoSlice;
/// use sessile::net::{Limit, Readiness, Stream, pair};
///
/// let (near, far) = pair();
/// let (mut near, mut far) = (Stream::custom(near), Stream::custom(far));
/// near.write_vectored(&[IoSlice::new(b"ping")], &Limit::none())?;
/// assert_eq!(far.peek_nowait()?, Readiness::Data);
/// let mut bytes = [0; 16];
/// assert_eq!(far.read(&mut bytes, &Limit::none())?, 4);
/// assert!(far.socket().is_none() && !far.is_secure());
/// # Ok::<(), sessile::Error>(())
/// ```
#[doc(alias = "StreamSocket")]
#[derive(Debug)]
#[non_exhaustive]
pub enum Stream {
    /// A TCP connection.
    Tcp(Socket),
    /// A connection over a Unix domain socket.
    Unix(Socket),
    /// A stream under TLS.
    #[cfg(feature = "_tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    Tls(Box<TlsStream>),
    /// A transport of the user's: see [`Transport`].
    Custom(Box<dyn Transport>),
}

/// What [`Stream::peek_nowait`] sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Nothing has come. The connection looks alive.
    Nothing,
    /// There are bytes to read.
    Data,
    /// The peer has ended its side.
    End,
}

/// A stream of bytes that is not a socket of the operating system, or not only one: an
/// in-memory pair, a tunnel through another program, a wrapper that records or throttles.
///
/// Make it a [`Stream`] by [`Stream::custom`]. All calls block, within their [`Limit`], and
/// return `Aborted` once the attached [`AbortHandle`] is used; a transport over another one
/// hands both down, as here:
///
/// ```
/// use std::io::IoSlice;
/// use std::net::Shutdown;
/// use sessile::Result;
/// use sessile::net::{AbortHandle, Limit, Readiness, Stream, Transport, pair};
///
/// /// Sees every byte with its bits turned over.
/// #[derive(Debug)]
/// struct Inverted(Stream);
///
/// impl Transport for Inverted {
///     fn read(&mut self, buf: &mut [u8], limit: &Limit) -> Result<usize> {
///         let n = self.0.read(buf, limit)?;
///         buf[..n].iter_mut().for_each(|byte| *byte = !*byte);
///         Ok(n)
///     }
///     fn write_vectored(&mut self, parts: &[IoSlice<'_>], limit: &Limit) -> Result<usize> {
///         let Some(part) = parts.iter().find(|part| !part.is_empty()) else { return Ok(0) };
///         let turned: Vec<u8> = part.iter().map(|byte| !byte).collect();
///         self.0.write_vectored(&[IoSlice::new(&turned)], limit)
///     }
///     fn peek_nowait(&mut self) -> Result<Readiness> {
///         self.0.peek_nowait()
///     }
///     fn shutdown(&mut self, how: Shutdown, limit: &Limit) -> Result<()> {
///         self.0.shutdown(how, limit)
///     }
///     fn attach_abort(&mut self, abort: &AbortHandle) -> Result<()> {
///         self.0.attach_abort(abort)
///     }
/// }
///
/// let (near, far) = pair();
/// let mut near = Stream::custom(Inverted(Stream::custom(near)));
/// let mut far = Stream::custom(far);
/// near.write_vectored(&[IoSlice::new(&[0x00, 0xF0])], &Limit::none())?;
/// let mut bytes = [0; 2];
/// far.read(&mut bytes, &Limit::none())?;
/// assert_eq!(bytes, [0xFF, 0x0F]);
/// # Ok::<(), sessile::Error>(())
/// ```
#[doc(alias = "StreamSocketImpl")]
pub trait Transport: Send + fmt::Debug {
    /// Reads what is there, or waits for it. `Ok(0)` is the end of what the peer sends.
    fn read(&mut self, buf: &mut [u8], limit: &Limit) -> Result<usize>;

    /// Writes some of these parts, in their order, and says how many bytes that was. Waits only
    /// while nothing can be taken. A transport that gathers what it takes gives it away when it is
    /// [told to](Transport::flush_some), and before a read that waits.
    fn write_vectored(&mut self, parts: &[IoSlice<'_>], limit: &Limit) -> Result<usize>;

    /// Whether everything that was taken is on its way. Only those who gather have more to say than
    /// yes.
    fn is_flushed(&self) -> bool {
        true
    }

    /// Gives away some of what was taken. Waits only while nothing of it can leave.
    fn flush_some(&mut self, limit: &Limit) -> Result<()> {
        let _ = limit;
        Ok(())
    }

    /// Writes what can be taken without any waiting, and says how many bytes that was: a last word
    /// before the transport is dropped. Where this can't be told, nothing is taken.
    fn write_nowait(&mut self, bytes: &[u8]) -> Result<usize> {
        let _ = bytes;
        Ok(0)
    }

    /// Looks at what a read would find, without waiting and without taking it. A connection is
    /// looked at before it is used again; where this can't be told, say [`Readiness::Nothing`].
    fn peek_nowait(&mut self) -> Result<Readiness>;

    /// Whether a read would return bytes that are no longer in any socket, decrypted ones for
    /// instance.
    fn has_buffered(&self) -> bool {
        false
    }

    /// Ends one side or both. After the end of the write side the peer reads an end, and what it
    /// sends can still be read.
    fn shutdown(&mut self, how: Shutdown, limit: &Limit) -> Result<()>;

    /// Has every call on this transport, blocked ones too, return `Aborted` once `abort` is used:
    /// keep a clone to look at, and [register](AbortHandle::register) what wakes the call. Replaces
    /// the handle before.
    fn attach_abort(&mut self, abort: &AbortHandle) -> Result<()>;

    /// The address of this end, if it has one.
    fn local_addr(&self) -> Option<SocketAddr> {
        None
    }

    /// The address of the other end, if it has one.
    fn peer_addr(&self) -> Option<SocketAddr> {
        None
    }

    /// Whether nobody on the way can read or change what is sent.
    #[doc(alias = "secure")]
    fn is_secure(&self) -> bool {
        false
    }
}

impl Stream {
    /// A stream over a transport of the user's.
    pub fn custom(transport: impl Transport + 'static) -> Stream {
        Stream::Custom(Box::new(transport))
    }

    /// Reads what is there, or waits for it. `Ok(0)` means that the peer has ended its side.
    #[doc(alias = "receiveBytes")]
    #[inline]
    pub fn read(&mut self, buf: &mut [u8], limit: &Limit) -> Result<usize> {
        match self {
            Stream::Tcp(socket) | Stream::Unix(socket) => socket.read(buf, limit),
            #[cfg(feature = "_tls")]
            Stream::Tls(tls) => tls.read(buf, limit),
            Stream::Custom(transport) => {
                let n = transport.read(buf, limit)?;
                believe(n, buf.len())
            }
        }
    }

    /// Writes some of these parts, in their order and without copying them together, and says
    /// how many bytes that was. Waits only while nothing can be taken.
    ///
    /// Under TLS records are gathered, so that they leave together: [`flush`](Stream::flush) behind
    /// the last write. A read that waits flushes too.
    #[doc(alias = "sendBytes")]
    #[inline]
    pub fn write_vectored(&mut self, parts: &[IoSlice<'_>], limit: &Limit) -> Result<usize> {
        match self {
            Stream::Tcp(socket) | Stream::Unix(socket) => socket.write_vectored(parts, limit),
            #[cfg(feature = "_tls")]
            Stream::Tls(tls) => tls.write_vectored(parts, limit),
            Stream::Custom(transport) => {
                let n = transport.write_vectored(parts, limit)?;
                believe(n, parts.iter().map(|part| part.len()).sum())
            }
        }
    }

    /// Whether everything that was written is on its way.
    #[inline]
    pub fn is_flushed(&self) -> bool {
        match self {
            Stream::Tcp(_) | Stream::Unix(_) => true,
            #[cfg(feature = "_tls")]
            Stream::Tls(tls) => tls.is_flushed(),
            Stream::Custom(transport) => transport.is_flushed(),
        }
    }

    /// Sends what was written and is still held here. A socket holds nothing. After an error of
    /// time the rest leaves with the next flush.
    pub fn flush(&mut self, limit: &Limit) -> Result<()> {
        while !self.is_flushed() {
            self.flush_some(limit)?;
        }
        Ok(())
    }

    /// Sends some of what was written and is still held here. Waits only while nothing of it can
    /// leave.
    pub fn flush_some(&mut self, limit: &Limit) -> Result<()> {
        match self {
            Stream::Tcp(_) | Stream::Unix(_) => Ok(()),
            #[cfg(feature = "_tls")]
            Stream::Tls(tls) => tls.flush_some(limit),
            Stream::Custom(transport) => transport.flush_some(limit),
        }
    }

    /// Writes what can be taken without any waiting, and says how many bytes that was.
    #[cfg_attr(not(feature = "_tls"), allow(dead_code, reason = "TLS says goodbye with it"))]
    pub(crate) fn write_nowait(&mut self, bytes: &[u8]) -> Result<usize> {
        match self {
            Stream::Tcp(socket) | Stream::Unix(socket) => socket.write_nowait(bytes),
            #[cfg(feature = "_tls")]
            Stream::Tls(tls) => tls.write_nowait(bytes),
            Stream::Custom(transport) => Ok(transport.write_nowait(bytes)?.min(bytes.len())),
        }
    }

    /// Looks at what a read would find, without waiting and without taking it.
    #[doc(alias = "poll")]
    #[doc(alias = "available")]
    pub fn peek_nowait(&mut self) -> Result<Readiness> {
        match self {
            Stream::Tcp(socket) | Stream::Unix(socket) => socket.peek_nowait(),
            #[cfg(feature = "_tls")]
            Stream::Tls(tls) => tls.peek_nowait(),
            Stream::Custom(transport) => transport.peek_nowait(),
        }
    }

    /// Whether a read would return bytes that are no longer in the socket. Never so without TLS.
    pub fn has_buffered(&self) -> bool {
        match self {
            Stream::Tcp(_) | Stream::Unix(_) => false,
            #[cfg(feature = "_tls")]
            Stream::Tls(tls) => tls.has_buffered(),
            Stream::Custom(transport) => transport.has_buffered(),
        }
    }

    /// Ends one side or both. After the end of the write side (a half-close) the peer reads an end,
    /// and what it sends can still be read. The limit is for what has to be sent to say so; a
    /// socket needs none.
    #[doc(alias = "shutdownSend")]
    #[doc(alias = "shutdownReceive")]
    pub fn shutdown(&mut self, how: Shutdown, limit: &Limit) -> Result<()> {
        match self {
            Stream::Tcp(socket) | Stream::Unix(socket) => socket.shutdown(how),
            #[cfg(feature = "_tls")]
            Stream::Tls(tls) => tls.shutdown(how, limit),
            Stream::Custom(transport) => transport.shutdown(how, limit),
        }
    }

    /// Makes `abort` the handle that stops calls on this stream, in place of the one before. An
    /// error if it was used already.
    pub fn attach_abort(&mut self, abort: &AbortHandle) -> Result<()> {
        match self {
            Stream::Tcp(socket) | Stream::Unix(socket) => socket.attach_abort(abort),
            #[cfg(feature = "_tls")]
            Stream::Tls(tls) => tls.attach_abort(abort),
            Stream::Custom(transport) => transport.attach_abort(abort),
        }
    }

    /// The address of this end; `None` on a Unix socket.
    #[doc(alias = "address")]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Stream::Tcp(socket) => socket.local_addr(),
            Stream::Unix(_) => None,
            #[cfg(feature = "_tls")]
            Stream::Tls(tls) => tls.local_addr(),
            Stream::Custom(transport) => transport.local_addr(),
        }
    }

    /// The address of the other end; `None` on a Unix socket.
    #[doc(alias = "peerAddress")]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        match self {
            Stream::Tcp(socket) => socket.peer_addr(),
            Stream::Unix(_) => None,
            #[cfg(feature = "_tls")]
            Stream::Tls(tls) => tls.peer_addr(),
            Stream::Custom(transport) => transport.peer_addr(),
        }
    }

    /// Whether nobody on the way can read or change what is sent.
    #[doc(alias = "secure")]
    pub fn is_secure(&self) -> bool {
        match self {
            Stream::Tcp(_) | Stream::Unix(_) => false,
            #[cfg(feature = "_tls")]
            Stream::Tls(_) => true,
            Stream::Custom(transport) => transport.is_secure(),
        }
    }

    /// The socket under the stream, for its options and to end it from elsewhere. What is read or
    /// written on it directly is missing in the stream.
    #[doc(alias = "impl")]
    pub fn socket(&self) -> Option<&Socket> {
        match self {
            Stream::Tcp(socket) | Stream::Unix(socket) => Some(socket),
            #[cfg(feature = "_tls")]
            Stream::Tls(tls) => tls.socket(),
            Stream::Custom(_) => None,
        }
    }

    /// The TLS on this stream, if there is: the peer's certificate, the version, the session.
    #[cfg(feature = "_tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn tls(&self) -> Option<&TlsStream> {
        match self {
            Stream::Tls(tls) => Some(tls),
            _ => None,
        }
    }

    /// The TLS on this stream, to change it.
    #[cfg(feature = "_tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn tls_mut(&mut self) -> Option<&mut TlsStream> {
        match self {
            Stream::Tls(tls) => Some(tls),
            _ => None,
        }
    }

    /// The socket to wait on for more, where nothing that it brought, or that it is to take, is
    /// left here.
    pub(crate) fn idle_socket(&self) -> Option<&Socket> {
        match self {
            Stream::Tcp(socket) | Stream::Unix(socket) => Some(socket),
            #[cfg(feature = "_tls")]
            Stream::Tls(tls) if tls.is_idle() => tls.below().idle_socket(),
            #[cfg(feature = "_tls")]
            Stream::Tls(_) => None,
            Stream::Custom(_) => None,
        }
    }

    /// Whether a handshake is to be made before anything can be read.
    pub(crate) fn is_handshaking(&self) -> bool {
        match self {
            #[cfg(feature = "_tls")]
            Stream::Tls(tls) => tls.is_handshaking(),
            _ => false,
        }
    }

    /// Gives back memory that a stream on which nothing happens can do without.
    pub(crate) fn release(&mut self) {
        #[cfg(feature = "_tls")]
        if let Stream::Tls(tls) = self {
            tls.release();
        }
    }

    /// The stream under all TLS.
    pub(crate) fn bottom(&self) -> &Stream {
        match self {
            #[cfg(feature = "_tls")]
            Stream::Tls(tls) => tls.below().bottom(),
            stream => stream,
        }
    }

    /// The stream under all TLS: for those who only drop what comes.
    pub(crate) fn bottom_mut(&mut self) -> &mut Stream {
        match self {
            #[cfg(feature = "_tls")]
            Stream::Tls(tls) => tls.below_mut().bottom_mut(),
            stream => stream,
        }
    }

    /// Ends the write side, and reads and drops what the peer still sends, at most so much: so it
    /// reads our last message instead of a reset.
    pub(crate) fn linger(&mut self, mut budget: usize, limit: &Limit) {
        if self.shutdown(Shutdown::Write, limit).is_err() {
            return;
        }
        let below = self.bottom_mut();
        let mut sink = [0; 4096];
        while let Ok(n) = below.read(&mut sink, limit) {
            if n == 0 || n > budget {
                break;
            }
            budget -= n;
        }
    }

    /// Whether the last read took all there was at that moment, if it took less than there was room
    /// for.
    pub(crate) fn is_drained(&self) -> bool {
        match self {
            #[cfg(feature = "_tls")]
            Stream::Tls(tls) => tls.is_drained(),
            _ => !self.has_buffered(),
        }
    }

    /// Ends without a word to the peer, which then knows that what it received is not complete.
    pub(crate) fn end_silently(&mut self) {
        #[cfg(feature = "_tls")]
        if let Stream::Tls(tls) = self {
            tls.set_quiet_shutdown(true);
        }
    }

    /// The socket if what is written to the stream is what goes through it, byte for byte: files
    /// can then be sent without being read.
    pub(crate) fn plain_socket(&self) -> Option<&Socket> {
        match self {
            Stream::Tcp(socket) | Stream::Unix(socket) => Some(socket),
            #[cfg(feature = "_tls")]
            Stream::Tls(_) => None,
            Stream::Custom(_) => None,
        }
    }
}

/// A user's transport may count wrongly; nobody may index by that.
fn believe(n: usize, most: usize) -> Result<usize> {
    if n > most {
        return Err(Error::illegal_state("the transport says that it moved more bytes than it was given"));
    }
    Ok(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Boastful;

    impl Transport for Boastful {
        fn read(&mut self, buf: &mut [u8], _: &Limit) -> Result<usize> {
            Ok(buf.len() + 1)
        }
        fn write_vectored(&mut self, _: &[IoSlice<'_>], _: &Limit) -> Result<usize> {
            Ok(usize::MAX)
        }
        fn peek_nowait(&mut self) -> Result<Readiness> {
            Ok(Readiness::Nothing)
        }
        fn shutdown(&mut self, _: Shutdown, _: &Limit) -> Result<()> {
            Ok(())
        }
        fn attach_abort(&mut self, _: &AbortHandle) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_transport_that_counts_wrongly_is_an_error_and_no_panic() {
        let mut stream = Stream::custom(Boastful);
        assert!(stream.read(&mut [0; 8], &Limit::none()).is_err());
        assert!(stream.write_vectored(&[IoSlice::new(b"x")], &Limit::none()).is_err());
        assert!(!stream.has_buffered() && !stream.is_secure());
    }

    #[test]
    fn streams_go_to_other_threads() {
        fn send<T: Send + 'static>() {}
        send::<Stream>();
        send::<Box<dyn Transport>>();
    }

    #[test]
    fn a_stream_over_a_socket_shows_it() {
        let (near, far) = crate::net::testing::tcp_pair();
        let (near, far) = (Stream::Tcp(near), Stream::Tcp(far));
        assert_eq!(near.local_addr(), far.peer_addr());
        assert!(near.socket().is_some() && near.plain_socket().is_some());
    }
}
