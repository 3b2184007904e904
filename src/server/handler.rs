//! Who answers requests: a closure, a handler, or a factory that makes a handler for each.

use std::fmt;
use std::sync::Arc;

use super::{ServerRequest, ServerResponse};
use crate::Result;
use crate::message::Request;

/// Answers requests, on many threads at once.
///
/// A closure does the same with less ceremony: see [`HttpServer::bind`](super::HttpServer::bind).
///
/// An error that is returned before the response was sent is answered with its
/// [`status_hint`](crate::Error::status_hint), or 500; one that comes later closes the connection, so that
/// the client sees that the response is not whole. A panic is treated the same. A handler that
/// sends nothing gives a 500. What went wrong with another server, which the handler had asked, is a 500
/// too, unless the handler says by [`with_status`](crate::Error::with_status) what it is.
///
/// ```
/// use sessile::server::{HttpServerParams, HttpServer, RequestHandler, ServerRequest, ServerResponse};
///
/// struct Hello;
///
/// impl RequestHandler for Hello {
///     fn handle_request(&self, _: &mut ServerRequest<'_>, response: &mut ServerResponse<'_>) -> sessile::Result<()> {
///         response.set_content_type("text/plain");
///         response.send_buffer(b"hello")
///     }
/// }
///
/// let server = HttpServer::with_handler(HttpServerParams::new(), Hello);
/// # let _ = server;
/// ```
#[doc(alias = "HTTPRequestHandler")]
pub trait RequestHandler: Send + Sync {
    /// Answers one request.
    #[doc(alias = "handleRequest")]
    fn handle_request(
        &self,
        request: &mut ServerRequest<'_>,
        response: &mut ServerResponse<'_>,
    ) -> Result<()>;
}

impl<H: RequestHandler + ?Sized> RequestHandler for Arc<H> {
    fn handle_request(
        &self,
        request: &mut ServerRequest<'_>,
        response: &mut ServerResponse<'_>,
    ) -> Result<()> {
        (**self).handle_request(request, response)
    }
}

impl<H: RequestHandler + ?Sized> RequestHandler for Box<H> {
    fn handle_request(
        &self,
        request: &mut ServerRequest<'_>,
        response: &mut ServerResponse<'_>,
    ) -> Result<()> {
        (**self).handle_request(request, response)
    }
}

/// Makes a handler for each request, from what its head says; for programs that are built around one.
///
/// ```
/// use sessile::message::Request;
/// use sessile::server::{RequestHandler, RequestHandlerFactory, ServerRequest, ServerResponse};
///
/// struct Page(&'static str);
///
/// impl RequestHandler for Page {
///     fn handle_request(&self, _: &mut ServerRequest<'_>, response: &mut ServerResponse<'_>) -> sessile::Result<()> {
///         response.send_buffer(self.0.as_bytes())
///     }
/// }
///
/// struct Pages;
///
/// impl RequestHandlerFactory for Pages {
///     fn create_request_handler(&self, request: &Request) -> Option<Box<dyn RequestHandler>> {
///         match request.path() {
///             "/" => Some(Box::new(Page("welcome"))),
///             _ => None, // 501
///         }
///     }
/// }
/// # let _ = Pages;
/// ```
#[doc(alias = "HTTPRequestHandlerFactory")]
pub trait RequestHandlerFactory: Send + Sync {
    /// The handler for a request with this head. `None` is answered with 501.
    #[doc(alias = "createRequestHandler")]
    fn create_request_handler(&self, request: &Request) -> Option<Box<dyn RequestHandler>>;

    /// The server was told to stop all connections; `abort_current` is whether running requests are cut off.
    #[doc(alias = "serverStopped")]
    fn server_stopped(&self, abort_current: bool) {
        let _ = abort_current;
    }
}

/// A closure as a handler.
pub(crate) struct Closure<F>(pub(crate) F);

impl<F> RequestHandler for Closure<F>
where
    F: Fn(&mut ServerRequest<'_>, &mut ServerResponse<'_>) -> Result<()> + Send + Sync,
{
    fn handle_request(
        &self,
        request: &mut ServerRequest<'_>,
        response: &mut ServerResponse<'_>,
    ) -> Result<()> {
        self.0(request, response)
    }
}

/// What a server runs.
pub(crate) enum Handler {
    One(Box<dyn RequestHandler>),
    Factory(Box<dyn RequestHandlerFactory>),
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Handler::One(_) => "Handler",
            Handler::Factory(_) => "Factory",
        })
    }
}
