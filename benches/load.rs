//! The library under load, as a program: what measurements beside other libraries drive.
//!
//! `cargo bench --bench load -- client WORKLOAD URL COUNT` runs a client workload against a
//! server that answers `/hello`, `/bytes/N` and `/sink`, and prints one line of JSON:
//! `{"seconds":…,"n":…,"bytes":…}`. Workloads: `keepalive` (COUNT GETs on one connection),
//! `connect` (COUNT GETs, a new connection each), `download` (one GET), `upload` and
//! `upload-chunked` (COUNT bytes posted), `threads` (8 threads, COUNT GETs in all). For an `https`
//! URL, `--ca FILE` says whom to trust, and `--no-resume` has every handshake made in full.
//!
//! `cargo bench --bench load -- store THREADS LIVE OPS` makes LIVE web sessions in memory,
//! with two attributes each, then opens sessions by the text of their id, reads an attribute
//! and writes it, OPS times in all on THREADS threads, and prints
//! `{"seconds":…,"n":…,"bytes_per_session":…,"create_ns":…}`.

use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::time::Instant;

use sessile::Result;
use sessile::message::{Request, Response, Scheme, Uri};
#[cfg(feature = "tls")]
use sessile::session::HttpsClientSession;
use sessile::session::{BodyReader, ClientSession, HttpClientSession};
#[cfg(feature = "tls")]
use sessile::tls::TlsContext;
use sessile::web::{MemoryStore, Value, WebSessionManager};

const USAGE: &str =
    "usage: load client WORKLOAD URL COUNT [--ca FILE] [--no-resume], or load store THREADS LIVE OPS";

/// Reads are cheapest at this size, writes at a few times as much.
const READ: usize = 64 * 1024;
const WRITE: usize = 256 * 1024;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        // `cargo bench` without arguments runs every bench: this one has nothing to say then.
        [] => return ExitCode::SUCCESS,
        ["client", workload, url, count, ref options @ ..] => client(workload, url, count, options),
        ["store", threads, live, ops, ..] => store(threads, live, ops),
        _ => Err(sessile::Error::new(sessile::ErrorKind::InvalidArgument, USAGE)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Where a workload goes.
#[derive(Clone)]
struct Target {
    host: String,
    port: u16,
    path: String,
    #[cfg(feature = "tls")]
    context: Option<TlsContext>,
}

fn client(workload: &str, url: &str, count: &str, options: &[&str]) -> Result<()> {
    let invalid =
        |what: &str| sessile::Error::new(sessile::ErrorKind::InvalidArgument, format!("{what}: {USAGE}"));
    let uri: Uri = url.parse()?;
    let count: u64 = count.parse().map_err(|_| invalid("COUNT is not a number"))?;
    let target = Target {
        host: uri.host().to_owned(),
        port: uri.port(),
        path: uri.request_target().to_owned(),
        #[cfg(feature = "tls")]
        context: (uri.scheme() == Scheme::Https).then(|| context(options)).transpose()?,
    };
    #[cfg(not(feature = "tls"))]
    if uri.scheme() == Scheme::Https || !options.is_empty() {
        return Err(invalid("https needs the feature tls"));
    }
    let started = Instant::now();
    let bytes = match workload {
        "keepalive" => keep_alive(&target, count)?,
        "connect" => (0..count).map(|_| keep_alive(&target, 1)).sum::<Result<u64>>()?,
        "download" => keep_alive(&target, 1)?,
        "upload" => upload(&target, count, false)?,
        "upload-chunked" => upload(&target, count, true)?,
        "threads" => std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| keep_alive(&target, count / 8))).collect();
            threads
                .into_iter()
                .map(|t| t.join().unwrap_or_else(|_| Err(invalid("a thread panicked"))))
                .sum::<Result<u64>>()
        })?,
        _ => return Err(invalid("no such workload")),
    };
    println!("{{\"seconds\":{:.6},\"n\":{count},\"bytes\":{bytes}}}", started.elapsed().as_secs_f64());
    Ok(())
}

#[cfg(feature = "tls")]
fn context(mut options: &[&str]) -> Result<TlsContext> {
    let mut context = TlsContext::client();
    loop {
        (context, options) = match options {
            [] => return context.build(),
            ["--ca", file, rest @ ..] => (context.only_added_cas().add_ca_file(file), rest),
            ["--no-resume", rest @ ..] => (context.session_cache_size(0), rest),
            _ => return Err(sessile::Error::new(sessile::ErrorKind::InvalidArgument, USAGE)),
        };
    }
}

fn session(target: &Target) -> Box<dyn ClientSession> {
    #[cfg(feature = "tls")]
    if let Some(context) = &target.context {
        return Box::new(HttpsClientSession::with_context(&target.host, target.port, context.clone()));
    }
    Box::new(HttpClientSession::new(target.host.as_str(), target.port))
}

/// So many GETs on one connection.
fn keep_alive(target: &Target, count: u64) -> Result<u64> {
    let mut session = session(target);
    let request = Request::get(target.path.as_str());
    let mut response = Response::new();
    let mut sink = vec![0; READ];
    let mut bytes = 0;
    for _ in 0..count {
        session.send_request(&request)?;
        bytes += drain(session.receive_response(&mut response)?, &mut sink)?;
    }
    Ok(bytes)
}

fn upload(target: &Target, bytes: u64, chunked: bool) -> Result<u64> {
    let mut session = session(target);
    let mut request = Request::post(target.path.as_str());
    if chunked {
        request.set_chunked(true);
    } else {
        request.set_content_length(bytes);
    }
    let block = vec![0; WRITE];
    let mut body = session.send_request(&request)?;
    let mut left = bytes;
    while left > 0 {
        let n = left.min(WRITE as u64) as usize;
        body.write_all(&block[..n])?;
        left -= n as u64;
    }
    let mut response = Response::new();
    drain(session.receive_response(&mut response)?, &mut vec![0; READ])?;
    Ok(bytes)
}

fn drain(mut body: BodyReader<'_>, sink: &mut [u8]) -> io::Result<u64> {
    let mut bytes = 0;
    loop {
        match body.read(sink)? {
            0 => return Ok(bytes),
            n => bytes += n as u64,
        }
    }
}

fn store(threads: &str, live: &str, ops: &str) -> Result<()> {
    let number = |text: &str| {
        let invalid = |_| sessile::Error::new(sessile::ErrorKind::InvalidArgument, USAGE);
        text.parse::<u64>().map_err(invalid)
    };
    let (threads, live, ops) = (number(threads)?.max(1), number(live)?.max(1), number(ops)?);
    let manager = WebSessionManager::builder(MemoryStore::new()).sweep_every(None).build();
    let mut ids: Vec<String> = (0..live).map(|_| " ".repeat(24)).collect();
    let resident = resident();
    let started = Instant::now();
    for id in &mut ids {
        let session = manager.new_session()?;
        session.set("user", "0123456789abcdef")?;
        session.set("n", "0")?;
        id.replace_range(.., &session.id().to_string());
    }
    let create = started.elapsed().as_nanos() as f64 / live as f64;
    let bytes = (self::resident() - resident) / live as f64;

    let started = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|number| {
                let (manager, ids) = (&manager, &ids);
                scope.spawn(move || use_sessions(manager, ids, number, ops / threads))
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or(Ok(())))
    })?;
    println!(
        "{{\"seconds\":{:.6},\"n\":{},\"bytes_per_session\":{bytes:.1},\"create_ns\":{create:.1}}}",
        started.elapsed().as_secs_f64(),
        ops / threads * threads
    );
    // Not the time to free a million sessions.
    std::process::exit(0);
}

fn use_sessions(manager: &WebSessionManager, ids: &[String], thread: u64, ops: u64) -> Result<()> {
    let mut random = 88172645463325252u64 + thread * 7919;
    for _ in 0..ops {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let id = ids[(random % ids.len() as u64) as usize].parse()?;
        let session = match manager.resume(&id)? {
            Some(session) => session,
            None => manager.new_session()?,
        };
        let n = session.get::<Value>("n")?.as_str().map_or(0, |n| n.parse().unwrap_or(0u64));
        session.set("n", (n + 1).to_string())?;
    }
    Ok(())
}

/// The bytes of memory that the process has.
fn resident() -> f64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages: Option<f64> = pages.and_then(|text| text.split(' ').nth(1)?.parse().ok());
    pages.unwrap_or(0.0) * 4096.0
}
