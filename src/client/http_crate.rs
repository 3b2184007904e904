//! Requests and responses in the types of the `http` crate.

use super::agent::UserAgent;
use super::body::AgentBody;
use super::content::Content;
use super::response::AgentResponse;
use crate::Result;
use crate::message::{Request, Uri};

impl UserAgent {
    /// Makes a request that is in the `http` crate's types, and gives the response in them.
    ///
    /// ```
    /// use sessile::client::UserAgent;
    /// # use std::io::{Read, Write};
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let uri = format!("http://{}/notes", listener.local_addr()?);
    /// # let server = std::thread::spawn(move || -> std::io::Result<()> {
    /// #     let (mut peer, _) = listener.accept()?;
    /// #     let _ = peer.read(&mut [0; 512])?;
    /// #     peer.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok")
    /// # });
    ///
    /// let request = http::Request::post(&uri).header("Content-Type", "text/plain").body("buy milk")?;
    /// let response = UserAgent::new().send_http(request)?;
    /// assert_eq!(response.status(), http::StatusCode::CREATED);
    /// assert_eq!(std::io::read_to_string(response.into_body())?, "ok");
    /// # server.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "http")))]
    pub fn send_http(&self, request: http::Request<impl Into<Content>>) -> Result<http::Response<AgentBody>> {
        let uri = Uri::try_from(request.uri())?;
        let ours = Request::try_from(&request)?;
        let content = request.into_body().into();
        self.with_request(uri, ours).content(content).send()?.into_http()
    }
}

impl AgentResponse {
    /// The response in the `http` crate's types. Where the content [is
    /// decoded](AgentResponse::is_decoded), the fields that are about how it was sent are left out:
    /// what has those types goes by them.
    #[cfg_attr(docsrs, doc(cfg(feature = "http")))]
    pub fn into_http(self) -> Result<http::Response<AgentBody>> {
        let decoded = self.is_decoded();
        let (response, body) = self.into_parts();
        let mut response = http::Response::try_from(&response)?;
        if decoded {
            response.headers_mut().remove(http::header::CONTENT_ENCODING);
            response.headers_mut().remove(http::header::CONTENT_LENGTH);
        }
        Ok(response.map(|()| body))
    }
}

impl From<()> for Content {
    fn from((): ()) -> Content {
        Content::empty()
    }
}
