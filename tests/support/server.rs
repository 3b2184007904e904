//! A running server and a client of raw bytes, for the tests of the server.

#![allow(dead_code)] // each test file uses its part
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use sessile::Result;
use sessile::server::{HttpServer, HttpServerParams, ServerHandle, ServerRequest, ServerResponse};

/// A server on a free port, which is stopped at the end of the test.
pub(crate) struct Running {
    pub(crate) handle: ServerHandle,
    pub(crate) address: SocketAddr,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Running {
    pub(crate) fn with<F>(params: HttpServerParams, handler: F) -> Running
    where
        F: Fn(&mut ServerRequest<'_>, &mut ServerResponse<'_>) -> Result<()> + Send + Sync + 'static,
    {
        Running::run(HttpServer::bind_with("127.0.0.1:0", params, handler).unwrap())
    }

    pub(crate) fn run(mut server: HttpServer) -> Running {
        let (handle, address) = (server.handle(), server.local_addr().unwrap());
        Running { handle, address, thread: Some(thread::spawn(move || server.run())) }
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// Waits for `run` to return.
    pub(crate) fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap().unwrap();
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.shutdown(Duration::from_secs(2));
        if !thread::panicking() {
            self.join();
        }
    }
}

/// What a client sees of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (field, value) = line.split_once(": ")?;
            field.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn closes(&self) -> bool {
        self.header("Connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// Sends bytes as they are, and reads responses by a parser of its own.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

/// How the connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Closed,
    Reset,
    Open,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        Client::over(stream)
    }

    pub(crate) fn over(stream: TcpStream) -> Client {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
        Client { stream, buffer: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream.write_all(bytes.as_ref()).unwrap();
        self
    }

    /// The same where the server may have closed already.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    pub(crate) fn get(&mut self, path: &str) -> &mut Self {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"))
    }

    pub(crate) fn half_close(&mut self) -> &mut Self {
        self.stream.shutdown(Shutdown::Write).unwrap();
        self
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut block = [0; 16 * 1024];
        let n = self.stream.read(&mut block)?;
        self.buffer.extend_from_slice(&block[..n]);
        Ok(n)
    }

    /// The next response to a GET.
    pub(crate) fn answer(&mut self) -> Answer {
        self.answer_to("GET")
    }

    pub(crate) fn answer_to(&mut self, method: &str) -> Answer {
        self.try_answer(method).unwrap()
    }

    pub(crate) fn try_answer(&mut self, method: &str) -> io::Result<Answer> {
        let ended = || io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended");
        let head = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..at + 4).collect();
                break String::from_utf8(head).unwrap();
            }
            if self.fill()? == 0 {
                return Err(ended());
            }
        };
        assert!(head.starts_with("HTTP/1.1 "), "{head:?}");
        let status: u16 = head[9..12].parse().unwrap();
        let mut answer = Answer { status, head, body: Vec::new(), trailers: String::new() };
        if method == "HEAD" || matches!(status, 100..=199 | 204 | 304) {
            return Ok(answer);
        }
        if answer.header("Transfer-Encoding") == Some("chunked") {
            loop {
                let line = self.line()?;
                let size = usize::from_str_radix(&line, 16).unwrap();
                if size == 0 {
                    break;
                }
                let mut chunk = self.exactly(size + 2)?;
                assert!(chunk.ends_with(b"\r\n"));
                chunk.truncate(size);
                answer.body.append(&mut chunk);
            }
            loop {
                let line = self.line()?;
                if line.is_empty() {
                    return Ok(answer);
                }
                answer.trailers.push_str(&line);
                answer.trailers.push('\n');
            }
        }
        match answer.header("Content-Length").map(|length| length.parse::<usize>().unwrap()) {
            Some(length) => answer.body = self.exactly(length)?,
            None => {
                while self.fill()? > 0 {}
                answer.body = std::mem::take(&mut self.buffer);
            }
        }
        Ok(answer)
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).collect();
                return Ok(String::from_utf8(line[..at].to_vec()).unwrap());
            }
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// So many bytes behind what was read last.
    pub(crate) fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < length {
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.buffer.drain(..length).collect())
    }

    /// How the connection ends within so long. Nothing may be unread.
    pub(crate) fn end_within(&mut self, time: Duration) -> End {
        assert!(self.buffer.is_empty(), "unread: {:?}", String::from_utf8_lossy(&self.buffer));
        self.stream.set_read_timeout(Some(time)).unwrap();
        let end = match self.stream.read(&mut [0; 1]) {
            Ok(0) => End::Closed,
            Ok(_) => panic!("more came"),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                End::Open
            }
            Err(_) => End::Reset,
        };
        self.stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        end
    }

    /// How the connection ends behind whatever is unread.
    pub(crate) fn end_of_anything(&mut self) -> End {
        self.buffer.clear();
        loop {
            match self.fill() {
                Ok(0) => return End::Closed,
                Ok(_) => self.buffer.clear(),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return End::Open;
                }
                Err(_) => return End::Reset,
            }
        }
    }

    pub(crate) fn end(&mut self) -> End {
        self.end_within(Duration::from_secs(10))
    }
}

pub(crate) fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// Waits for something that another thread does.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < end, "{what} did not come about");
        thread::sleep(Duration::from_millis(1));
    }
}
