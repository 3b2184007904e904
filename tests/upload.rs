//! Large uploads: what they cost in memory and in processor time.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

mod programs;
#[path = "support/server.rs"]
mod support;

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::mpsc;
use std::time::Duration;

use programs::{Serve, pattern};
use sessile::message::{Request, Response};
use sessile::server::{HttpServerParams, ServerRequest};
use sessile::session::{ClientSession, HttpClientSession, Session};
use sessile::web::{MultipartForm, MultipartReader, PartSource};
use sha2::{Digest, Sha256};
use support::Running;

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

/// The pattern, over and over, without a copy of its own.
struct Pattern {
    block: Vec<u8>,
    length: u64,
}

impl Pattern {
    fn new(length: u64) -> Pattern {
        Pattern { block: pattern(251 * 4096), length }
    }
}

impl PartSource for Pattern {
    fn reader(&mut self) -> sessile::Result<Box<dyn BufRead + '_>> {
        Ok(Box::new(Repeated(&self.block, 0).take(self.length)))
    }

    fn content_length(&self) -> Option<u64> {
        Some(self.length)
    }

    fn file_name(&self) -> Option<&str> {
        Some("pattern.bin")
    }
}

struct Repeated<'a>(&'a [u8], usize);

impl BufRead for Repeated<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(&self.0[self.1..])
    }

    fn consume(&mut self, count: usize) {
        self.1 = (self.1 + count) % self.0.len();
    }
}

impl Read for Repeated<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(into)?;
        self.consume(count);
        Ok(count)
    }
}

/// Sends a form with one file of this length; the response as text.
fn upload(session: &mut HttpClientSession, target: &str, length: u64) -> String {
    let mut form = MultipartForm::new().unwrap();
    form.add_part("file", Pattern::new(length));
    let mut request = Request::post(target);
    form.prepare_submit(&mut request).unwrap();
    form.write_to(session.send_request(&request).unwrap()).unwrap();
    let (mut response, mut text) = (Response::new(), String::new());
    session.receive_response(&mut response).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(response.status().as_u16(), 200, "{text}");
    text
}

fn uploads_in_constant_memory(length: u64) {
    let serve = Serve::start(&["--max-body", &(length + MIB).to_string()]);
    let mut session = HttpClientSession::with_address(serve.address);
    session.set_timeout(Duration::from_secs(60));
    let said = upload(&mut session, "/upload", length);
    let mut hash = Sha256::new();
    io::copy(&mut BufReader::new(Pattern::new(length).reader().unwrap()), &mut Sink(&mut hash)).unwrap();
    let hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        said,
        format!(
            r#"[{{"name":"file","filename":"pattern.bin","content_type":"application/octet-stream","length":{length},"sha256":"{hash}"}}]"#
        )
    );
    let memory = serve.peak_memory();
    assert!(memory < 20 * MIB, "serve had {} KiB resident", memory / 1024);
}

struct Sink<'a>(&'a mut Sha256);

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn sixty_four_mebibytes_of_a_form_are_taken_in_constant_memory() {
    uploads_in_constant_memory(64 * MIB);
}

#[test]
#[ignore = "takes a while: 2 GiB"]
fn two_gibibytes_of_a_form_are_taken_in_constant_memory() {
    uploads_in_constant_memory(2 * GIB);
}

/// Takes content as `/echo` does, straight from the buffer it was received in.
fn take(body: &mut impl BufRead, mut each: impl FnMut(&[u8])) -> io::Result<u64> {
    let mut taken = 0;
    loop {
        let block = body.fill_buf()?;
        if block.is_empty() {
            return Ok(taken);
        }
        each(block);
        let count = block.len();
        body.consume(count);
        taken += count as u64;
    }
}

fn read_as_it_is(request: &mut ServerRequest<'_>) -> sessile::Result<u64> {
    Ok(take(request, |_| {})?)
}

fn read_as_form(request: &mut ServerRequest<'_>, each: impl Fn(&[u8])) -> sessile::Result<u64> {
    let content_type = request.content_type().unwrap_or_default().to_owned();
    let mut form = MultipartReader::for_content_type(request, &content_type)?;
    let mut length = 0;
    while let Some(mut part) = form.next_part()? {
        length += take(&mut part, &each)?;
    }
    Ok(length)
}

/// The processor time that this thread has used.
fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

#[test]
#[ignore = "takes a while, and means something in a release build only"]
fn a_form_takes_at_most_twice_the_processor_time_of_the_same_bytes() {
    const ROUNDS: usize = 5;
    let length = if cfg!(debug_assertions) { 8 * MIB } else { GIB };
    let (spent, times) = mpsc::channel();
    let params = HttpServerParams::new().with_max_content(3 * GIB);
    let server = Running::with(params, move |request, response| {
        let before = processor_time();
        let read = match request.path() {
            "/plain" => read_as_it_is(request),
            "/form" => read_as_form(request, |_| {}),
            _ => {
                let hash = std::cell::RefCell::new(Sha256::new());
                let read = read_as_form(request, |block| hash.borrow_mut().update(block));
                std::hint::black_box(hash.into_inner().finalize());
                read
            }
        }?;
        spent.send(processor_time() - before).unwrap();
        response.send_buffer(read.to_string().as_bytes())
    });
    let mut session = HttpClientSession::with_address(server.address);
    session.set_timeout(Duration::from_secs(60));
    let mut seen = [(); 3].map(|()| Vec::new());
    for _ in 0..ROUNDS {
        for (target, seen) in ["/plain", "/form", "/form-and-hash"].into_iter().zip(&mut seen) {
            let read: u64 = upload(&mut session, target, length).parse().unwrap();
            assert!((length..length + MIB).contains(&read));
            seen.push(times.recv().unwrap());
        }
    }
    let [plain, form, hashed] = seen.map(|mut seen| {
        seen.sort();
        seen[ROUNDS / 2]
    });
    eprintln!("as it is {plain:?}, as a form {form:?}, as a form with SHA-256 {hashed:?}");
    if !cfg!(debug_assertions) {
        assert!(form <= 2 * plain, "{form:?} for the form, {plain:?} for the bytes");
    }
}
