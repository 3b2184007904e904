//! An HTTP server to try things on: it echoes, inspects, sleeps, redirects and sends bytes.
//!
//! ```text
//! cargo run --release --example serve -- [OPTIONS]
//! ```
//!
//! Prints `listening on http://ADDR:PORT` once it accepts connections, and logs to standard
//! error as `RUST_LOG` says. SIGINT and SIGTERM stop it when the requests under way are done;
//! SIGHUP has it read its certificates again.

mod args;
mod https;
mod sessions;
#[cfg(feature = "websocket")]
mod web_socket;

use std::borrow::Cow;
use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use args::{Arg, Args};
use base64::prelude::BASE64_STANDARD;
use base64::write::EncoderStringWriter;
use https::Tls;
use percent_encoding::percent_decode_str;
use sessile::Result;
use sessile::message::{HeaderMap, Method, StatusCode};
use sessile::server::{FileService, HttpServer, HttpServerParams, ServerRequest, ServerResponse};
use sessile::web::{MultipartReader, WebSessionManager};
use sha2::{Digest, Sha256};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

const USAGE: &str = "\
usage: serve [OPTIONS]

  --listen ADDR:PORT           where to listen; 127.0.0.1:8080, port 0 picks a free one
  --tls-cert FILE --tls-key FILE  PEM chain and key: serve HTTPS
  --tls-client-ca FILE         require client certificates that this CA signed
  --max-threads N              connection threads at most
  --max-queued N               connections that may wait for a thread; past it: 503
  --timeout SECS               how long one read or write may stall
  --keep-alive-timeout SECS    how long an idle connection is kept
  --max-keep-alive-requests N  requests for each connection; 0 is no limit
  --no-keep-alive              close after every response
  --max-body BYTES             larger request bodies get 413; 1 GiB
  --root DIR                   the folder that /file/ serves
  --session-timeout SECS       inactivity after which a web session ends; 1800, 0 for never
  --session-store URL          where web sessions are kept: memory:, file:DIR, redis://HOST:PORT/";

fn main() -> ExitCode {
    env_logger::init();
    let options = match options() {
        Ok(options) => options,
        Err(problem) => {
            args::complain("serve", &problem);
            return ExitCode::from(2);
        }
    };
    match serve(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            args::complain("serve", &args::with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

fn serve(options: Options) -> Result<()> {
    let site = Site {
        sessions: sessions::manager(&options.store, options.session_timeout)?,
        files: options.root.map(FileService::new).transpose()?,
    };
    let server = HttpServer::new(options.params, move |request, response| answer(request, response, &site));
    let mut server = https::listen(server, &options.listen, &options.tls)?;
    let handle = server.handle();
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::spawn(move || {
        // The first signal gives requests time to finish, the next one none.
        for (n, _) in signals.forever().enumerate() {
            let handle = handle.clone();
            // It waits for clients that take nothing.
            #[cfg(feature = "websocket")]
            thread::spawn(web_socket::close_all);
            thread::spawn(move || handle.shutdown(if n == 0 { GRACE } else { Duration::ZERO }));
        }
    });
    if let Some(address) = server.local_addr() {
        let scheme = if options.tls.is_wanted() { "https" } else { "http" };
        println!("listening on {scheme}://{address}");
    }
    server.run()
}

/// The stack of a connection's thread. Nothing here recurses, and eight of this size share the page of the kernel's
/// tables that one of the usual size has for itself: a fifth of what an idle connection costs.
const STACK: usize = 256 * 1024;

/// How long requests have to finish when the server is stopped.
const GRACE: Duration = Duration::from_secs(60);

/// What the answers come from.
struct Site {
    sessions: WebSessionManager,
    /// The folder below `/file`.
    files: Option<FileService>,
}

/// What there is to ask for.
struct Endpoint {
    /// The path, or its beginning, as [`Answer`] has it.
    path: &'static str,
    /// The methods that it takes; none is all of them.
    methods: &'static [Method],
    answer: Answer,
}

/// Who answers, and what the path says behind that of the endpoint.
enum Answer {
    Plain(fn(&mut ServerRequest<'_>, &mut ServerResponse<'_>) -> Result<()>),
    Number(fn(u64, &mut ServerRequest<'_>, &mut ServerResponse<'_>) -> Result<()>),
    File,
    Session(sessions::Answer),
    Attribute(sessions::AttributeAnswer),
}

const ANY: &[Method] = &[];
const READ: &[Method] = &[Method::GET, Method::HEAD];
const POST: &[Method] = &[Method::POST];

const ENDPOINTS: &[Endpoint] = &[
    endpoint("/hello", READ, Answer::Plain(hello)),
    endpoint("/echo", ANY, Answer::Plain(echo)),
    endpoint("/inspect", ANY, Answer::Plain(inspect)),
    endpoint("/bytes", READ, Answer::Number(bytes)),
    endpoint("/chunked", READ, Answer::Number(chunked)),
    endpoint("/sleep", READ, Answer::Number(sleep)),
    endpoint("/redirect", READ, Answer::Number(redirect)),
    endpoint("/status", READ, Answer::Number(status)),
    endpoint("/upload", POST, Answer::Plain(upload)),
    endpoint("/file", READ, Answer::File),
    #[cfg(feature = "websocket")]
    endpoint("/ws", READ, Answer::Plain(web_socket::echo)),
    #[cfg(not(feature = "websocket"))]
    endpoint("/ws", ANY, Answer::Plain(no_web_socket)),
    endpoint("/", READ, Answer::Session(sessions::page)),
    endpoint("/sign-out", POST, Answer::Session(sessions::sign_out)),
    endpoint("/session", READ, Answer::Session(sessions::show)),
    endpoint("/session", POST, Answer::Session(sessions::set_attributes)),
    endpoint("/session", &[Method::DELETE], Answer::Session(sessions::end)),
    endpoint("/session/rotate", POST, Answer::Session(sessions::rotate)),
    endpoint("/session/attributes", &[Method::DELETE], Answer::Attribute(sessions::remove_attribute)),
];

const fn endpoint(path: &'static str, methods: &'static [Method], answer: Answer) -> Endpoint {
    Endpoint { path, methods, answer }
}

impl Endpoint {
    /// What a path says behind that of this endpoint, if it is one of its paths.
    fn argument<'a>(&self, path: &'a str) -> Option<&'a str> {
        let rest = path.strip_prefix(self.path)?;
        match self.answer {
            Answer::Plain(_) | Answer::Session(_) => rest.is_empty().then_some(rest),
            Answer::Number(_) => rest.strip_prefix('/').filter(|rest| number(rest).is_some()),
            Answer::Attribute(_) => rest.strip_prefix('/').filter(|rest| decoded(rest).is_some()),
            Answer::File => rest.strip_prefix('/'),
        }
    }

    fn takes(&self, method: &Method) -> bool {
        self.methods.is_empty() || self.methods.contains(method)
    }
}

fn answer(request: &mut ServerRequest<'_>, response: &mut ServerResponse<'_>, site: &Site) -> Result<()> {
    let Some(path) = named(request.head().path()) else { return nothing_here(response) };
    let here = || ENDPOINTS.iter().filter_map(|endpoint| Some((endpoint, endpoint.argument(&path)?)));
    let Some((endpoint, argument)) = here().find(|(endpoint, _)| endpoint.takes(request.method())) else {
        let methods: Vec<_> = here().flat_map(|(endpoint, _)| endpoint.methods).map(Method::as_str).collect();
        return if methods.is_empty() {
            nothing_here(response)
        } else {
            not_done(request, response, &methods)
        };
    };
    match endpoint.answer {
        Answer::Plain(answer) => answer(request, response),
        Answer::Number(answer) => match number(argument) {
            Some(n) => answer(n, request, response),
            None => nothing_here(response),
        },
        Answer::File => match &site.files {
            Some(files) => files.serve(argument, request, response),
            None => nothing_here(response),
        },
        Answer::Session(answer) => site.sessions.serve(request, response, answer),
        Answer::Attribute(answer) => match decoded(argument) {
            Some(name) => site.sessions.serve(request, response, |request, response, visitor| {
                answer(&name, request, response, visitor)
            }),
            None => nothing_here(response),
        },
    }
}

/// The path, with its first name as it is meant: part of that may be percent-encoded, and is the same then.
fn named(path: &str) -> Option<Cow<'_, str>> {
    if !path.contains('%') {
        return Some(Cow::Borrowed(path));
    }
    let (name, rest) = path.split_at(path.strip_prefix('/')?.find('/').map_or(path.len(), |end| end + 1));
    let name = decoded(name)?;
    (!name[1..].contains('/')).then(|| Cow::Owned(format!("{name}{rest}")))
}

fn decoded(part: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(part).decode_utf8().ok()
}

/// A number of digits, and nothing else.
fn number(part: &str) -> Option<u64> {
    let digits = decoded(part)?;
    let plain = digits.bytes().all(|b| b.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

fn nothing_here(response: &mut ServerResponse<'_>) -> Result<()> {
    text(response, StatusCode::NOT_FOUND, "there is nothing here\n")
}

/// Says which methods there are.
fn not_done(request: &ServerRequest<'_>, response: &mut ServerResponse<'_>, methods: &[&str]) -> Result<()> {
    response.headers_mut().set("Allow", methods.join(", "))?;
    if *request.method() == Method::OPTIONS {
        response.set_status(StatusCode::NO_CONTENT);
        return response.send_buffer(b"");
    }
    text(response, StatusCode::METHOD_NOT_ALLOWED, "this is not done here\n")
}

fn text(response: &mut ServerResponse<'_>, status: StatusCode, text: &str) -> Result<()> {
    response.set_status_and_reason(status).set_content_type("text/plain");
    response.send_buffer(text.as_bytes())
}

fn hello(_: &mut ServerRequest<'_>, response: &mut ServerResponse<'_>) -> Result<()> {
    response.set_content_type("text/plain");
    response.send_buffer(b"Hello, world!")
}

/// Sends the request's content back as it comes, and its trailers behind it.
fn echo(request: &mut ServerRequest<'_>, response: &mut ServerResponse<'_>) -> Result<()> {
    if let Some(content_type) = request.content_type() {
        response.set_content_type(content_type);
    }
    match request.content_length()? {
        Some(length) => response.set_content_length(length),
        None => response.set_chunked(true),
    };
    // A client that waits for `100 Continue` must get it before the final head.
    request.fill_buf()?;
    let mut out = response.send()?;
    copy(request, &mut out)?;
    for (name, value) in request.trailers().iter() {
        out.append_trailer(name, value)?;
    }
    Ok(())
}

/// Sends the request as it was parsed, as JSON.
fn inspect(request: &mut ServerRequest<'_>, response: &mut ServerResponse<'_>) -> Result<()> {
    let mut base64 = EncoderStringWriter::new(&BASE64_STANDARD);
    let length = copy(request, &mut base64)?;
    let base64 = base64.into_inner();
    let query = request.query().map_or("null".to_owned(), |query| json(query.as_bytes()));
    let client = request.client_address().map_or("null".to_owned(), |client| format!("\"{client}\""));
    let subject = https::client_subject(request).map_or("null".to_owned(), |name| json(name.as_bytes()));
    response.set_content_type("application/json");
    let mut out = response.send()?;
    write!(
        out,
        r#"{{"method":{},"target":{},"path":{},"query":{query},"version":"{}","headers":{},"trailers":{},"#,
        json(request.method().as_str().as_bytes()),
        json(request.target().as_bytes()),
        json(request.path().as_bytes()),
        request.version(),
        json_fields(request.headers()),
        json_fields(request.trailers()),
    )?;
    write!(
        out,
        r#""body_length":{length},"body_base64":"{base64}","client_address":{client},"secure":{},"client_certificate_subject":{subject}}}"#,
        request.is_secure(),
    )?;
    Ok(())
}

/// Reads a form as it comes, and says what its parts were.
fn upload(request: &mut ServerRequest<'_>, response: &mut ServerResponse<'_>) -> Result<()> {
    let content_type = request.content_type().unwrap_or_default().to_owned();
    let mut form = MultipartReader::for_content_type(request, &content_type)?;
    let mut parts = Vec::new();
    while let Some(mut part) = form.next_part()? {
        let mut hash = Sha256::new();
        let length = copy(&mut part, &mut hash)?;
        let or_null = |text: Option<&str>| text.map_or("null".to_owned(), |text| json(text.as_bytes()));
        parts.push(format!(
            r#"{{"name":{},"filename":{},"content_type":{},"length":{length},"sha256":"{:x}"}}"#,
            or_null(part.name()),
            or_null(part.file_name()),
            or_null(part.content_type()),
            hash.finalize(),
        ));
    }
    response.set_content_type("application/json");
    response.send_buffer(format!("[{}]", parts.join(",")).as_bytes())
}

/// Sends `n` bytes, of which byte i is `i % 251`.
fn bytes(n: u64, request: &mut ServerRequest<'_>, response: &mut ServerResponse<'_>) -> Result<()> {
    response.set_content_length(n);
    send_bytes(n, request, response)
}

/// Sends them in chunks.
fn chunked(n: u64, request: &mut ServerRequest<'_>, response: &mut ServerResponse<'_>) -> Result<()> {
    response.set_chunked(true);
    send_bytes(n, request, response)
}

fn send_bytes(n: u64, request: &ServerRequest<'_>, response: &mut ServerResponse<'_>) -> Result<()> {
    // Whole rounds of the pattern, of a size that the kernel takes at once.
    static BLOCK: LazyLock<Vec<u8>> = LazyLock::new(|| (0..251).cycle().take(251 * 1024).collect());
    response.set_content_type("application/octet-stream");
    let mut out = response.send()?;
    if *request.method() == Method::HEAD {
        return Ok(());
    }
    let mut left = n;
    while left > 0 {
        let block = usize::try_from(left).map_or(&BLOCK[..], |left| &BLOCK[..left.min(BLOCK.len())]);
        out.write_all(block)?;
        left -= block.len() as u64;
    }
    Ok(())
}

fn sleep(millis: u64, _: &mut ServerRequest<'_>, response: &mut ServerResponse<'_>) -> Result<()> {
    thread::sleep(Duration::from_millis(millis));
    text(response, StatusCode::OK, "ok")
}

fn redirect(n: u64, _: &mut ServerRequest<'_>, response: &mut ServerResponse<'_>) -> Result<()> {
    match n.checked_sub(1) {
        Some(n) => response.redirect(&format!("/redirect/{n}")),
        None => response.redirect("/hello"),
    }
}

fn status(code: u64, _: &mut ServerRequest<'_>, response: &mut ServerResponse<'_>) -> Result<()> {
    match u16::try_from(code).ok().filter(|code| (200..600).contains(code)) {
        Some(code) => {
            response.set_status_and_reason(StatusCode::new(code)?);
            response.send()?.finish()
        }
        None => text(response, StatusCode::BAD_REQUEST, "a final status is between 200 and 599\n"),
    }
}

#[cfg(not(feature = "websocket"))]
fn no_web_socket(_: &mut ServerRequest<'_>, response: &mut ServerResponse<'_>) -> Result<()> {
    text(response, StatusCode::NOT_IMPLEMENTED, "this build lacks the feature websocket\n")
}

/// Copies content straight from the buffer it was received in.
fn copy(body: &mut impl BufRead, out: &mut impl Write) -> io::Result<u64> {
    let mut copied = 0;
    loop {
        let block = body.fill_buf()?;
        if block.is_empty() {
            return Ok(copied);
        }
        out.write_all(block)?;
        let n = block.len();
        body.consume(n);
        copied += n as u64;
    }
}

/// Text as a JSON string; bytes that are no UTF-8 are Latin-1.
fn json(text: &[u8]) -> String {
    let text = match std::str::from_utf8(text) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => text.iter().map(|&b| char::from(b)).collect(),
    };
    let mut json = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            '\0'..' ' => json += &format!("\\u{:04x}", u32::from(c)),
            _ => json.push(c),
        }
    }
    json + "\""
}

fn json_fields(fields: &HeaderMap) -> String {
    let fields: Vec<_> =
        fields.iter().map(|(name, value)| format!("[{},{}]", json(name.as_bytes()), json(value))).collect();
    format!("[{}]", fields.join(","))
}

/// What the command line says.
struct Options {
    listen: String,
    params: HttpServerParams,
    tls: Tls,
    root: Option<String>,
    store: String,
    session_timeout: Option<Duration>,
}

fn options() -> Result<Options, String> {
    let mut listen = "127.0.0.1:8080".to_owned();
    let mut params = HttpServerParams::new().with_stack_size(Some(STACK));
    let mut tls = Tls::default();
    let mut root = None;
    let mut store = "memory:".to_owned();
    let mut session_timeout = Some(Duration::from_secs(1800));
    let mut args = Args::from_env();
    while let Some(arg) = args.next()? {
        let option = match arg {
            Arg::Option(option) => option,
            Arg::Word(word) => return Err(format!("what is {word}? serve --help says what it knows")),
        };
        match &*option {
            "--listen" => {
                listen = args.value()?;
                let port = listen.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
                if !matches!(port, Some(Ok(_))) {
                    return Err(format!("--listen {listen}: that is no ADDR:PORT"));
                }
            }
            "--max-threads" => params = params.with_max_threads(args.parse()?),
            "--max-queued" => params = params.with_max_queued(args.parse()?),
            "--timeout" => params = params.with_timeout(args.seconds()?),
            "--keep-alive-timeout" => params = params.with_keep_alive_timeout(args.seconds()?),
            "--max-keep-alive-requests" => params = params.with_max_keep_alive_requests(args.parse()?),
            "--no-keep-alive" => params = params.with_keep_alive(false),
            "--max-body" => params = params.with_max_content(args.parse()?),
            "--root" => root = Some(args.value()?),
            "--session-timeout" => {
                session_timeout = Some(args.seconds()?).filter(|timeout| !timeout.is_zero())
            }
            "--session-store" => {
                store = args.value()?;
                match store.split_once(':') {
                    Some(("memory", "")) => {}
                    Some(("file", folder)) if !folder.is_empty() => {}
                    Some(("redis" | "rediss", _)) if cfg!(feature = "redis") => {}
                    Some(("redis" | "rediss", _)) => return Err(format!("{store} needs the feature redis")),
                    _ => return Err(format!("{store} is no store: memory:, file:DIR or redis://HOST:PORT/")),
                }
            }
            "--tls-cert" => tls.cert = Some(args.value()?),
            "--tls-key" => tls.key = Some(args.value()?),
            "--tls-client-ca" => tls.client_ca = Some(args.value()?),
            "--help" => args::help(USAGE),
            _ => return Err(format!("there is no option {option}; serve --help has them all")),
        }
    }
    tls.check()?;
    Ok(Options { listen, params, tls, root, store, session_timeout })
}
