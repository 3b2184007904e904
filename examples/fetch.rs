//! A small curl: fetches URLs in order, over one persistent connection for each server.
//!
//! ```text
//! cargo run --release --example fetch -- [OPTIONS] URL...
//! ```
//!
//! Exit status: 0 when every response arrived whole, whatever its status code; 1 when one
//! did not; 2 for a wrong command line.

mod args;

use std::collections::HashMap;
use std::error::Error as _;
use std::fs::File;
use std::io::{self, BufRead, Cursor, IsTerminal, Read, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use args::{Arg, Args};
use sessile::message::{HeaderMap, Method, Origin, Request, Response, Scheme, Uri};
#[cfg(any(feature = "tls", feature = "tls-aws-lc-rs"))]
use sessile::session::HttpsClientSession;
use sessile::session::{BodyReader, ClientSession, HttpClientSession, Timeouts};
#[cfg(any(feature = "tls", feature = "tls-aws-lc-rs"))]
use sessile::tls::TlsContext;
use sessile::{Error, ErrorKind, Result};

const USAGE: &str = "\
usage: fetch [OPTIONS] URL...

  -X METHOD              the method; GET, or POST where there is content
  -H 'NAME: VALUE'       a header field; may be given several times
  -d DATA                content; several are joined by '&'
  --data-file FILE       content from a file, - is standard input
  --chunked              send the content in chunks
  --expect-continue      wait for 100 Continue before the content
  -i                     print status line, headers and trailers too
  -o FILE                write the body to a file
  -L                     follow redirects, 20 at most
  --cacert FILE          trust the authorities in this file, and no others
  --cert FILE            the certificate to show to servers that ask for one, PEM
  --key FILE             its key, PEM; the same file, if it is not given
  --insecure             accept every certificate
  --connect-timeout SECS how long connecting may take
  --timeout SECS         how long one read or write may stall
  --repeat N             fetch all URLs N times";

const MAX_REDIRECTS: usize = 20;

fn main() -> ExitCode {
    let options = match Options::from_env() {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("fetch: {problem}");
            return ExitCode::from(2);
        }
    };
    let mut fetch = Fetch { options: &options, sessions: HashMap::new(), file: None };
    let mut status = ExitCode::SUCCESS;
    for _ in 0..options.repeat {
        for (url, uri) in &options.urls {
            match fetch.fetch(uri) {
                Ok(()) => {}
                // Nobody reads on: there is nobody to tell, and nothing to go on for.
                Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                    return ExitCode::FAILURE;
                }
                Err(Failure::Output(error)) => {
                    eprintln!("fetch: {url}: the body can't be written: {error}");
                    return ExitCode::FAILURE;
                }
                Err(Failure::Fetch(error)) => {
                    eprintln!("fetch: {url}: {}", in_one_line(&error));
                    status = ExitCode::FAILURE;
                }
            }
        }
    }
    status
}

/// An error with all its causes, for a line of its own.
fn in_one_line(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text.replace(|c: char| c.is_control(), " ")
}

/// Why a URL was not fetched.
enum Failure {
    Fetch(Error),
    /// Standard output or the file can't be written.
    Output(io::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Fetch(error)
    }
}

/// What is kept from one URL to the next.
struct Fetch<'a> {
    options: &'a Options,
    /// One session for each origin.
    sessions: HashMap<Origin, Box<dyn ClientSession>>,
    /// Where `-o` puts the bodies, once there is one.
    file: Option<File>,
}

impl Fetch<'_> {
    /// Fetches one URL, and prints what came.
    fn fetch(&mut self, uri: &Uri) -> Result<(), Failure> {
        let options = self.options;
        let mut request = options.request(uri)?;
        let mut sends_content = options.content.is_some();
        let mut uri = uri.clone();
        let mut redirects = 0;
        loop {
            let mut content = if sends_content { options.open_content(&mut request)? } else { None };
            let session = self.sessions.entry(uri.origin()).or_insert_with_key(|origin| {
                let mut session = options.session(origin);
                session.set_timeouts(options.timeouts);
                session
            });
            let mut response = Response::new();
            // An exchange reads the response while it sends the request, so no server and
            // no amount of content can bring it to a standstill.
            let body = match &mut content {
                Some(content) => session.exchange(&request, content, &mut response)?,
                None => {
                    session.send_request(&request)?;
                    session.receive_response(&mut response)?
                }
            };
            let Some(location) = options.redirect(&response) else {
                return print(options, &mut self.file, &response, body);
            };
            if redirects == MAX_REDIRECTS {
                return Err(Error::new(ErrorKind::Redirect, "more than 20 redirects").into());
            }
            redirects += 1;
            let next = uri.resolve(location)?;
            sends_content &= follow(&mut request, &response, &uri, &next)?;
            if sends_content && matches!(options.content, Some(Content::Stdin)) {
                let why = "redirected with its content, but standard input can't be read twice";
                return Err(Error::new(ErrorKind::Redirect, why).into());
            }
            uri = next;
        }
    }
}

/// Turns a request into the one that a redirect asks for (RFC 9110, 15.4). Says whether its
/// content is to be sent again.
fn follow(request: &mut Request, response: &Response, from: &Uri, to: &Uri) -> Result<bool> {
    if to.scheme() != Scheme::Http
        && !(to.scheme() == Scheme::Https && cfg!(any(feature = "tls", feature = "tls-aws-lc-rs")))
    {
        return Err(Error::new(
            ErrorKind::Redirect,
            format!("redirected to {to}, which needs the feature tls"),
        ));
    }
    if to.origin() != from.origin() {
        for name in ["Host", "Authorization", "Cookie", "Proxy-Authorization"] {
            request.headers_mut().remove(name);
        }
    }
    request.set_target(to.request_target())?;
    let keeps_method = match response.status().as_u16() {
        303 => [Method::GET, Method::HEAD].contains(request.method()),
        301 | 302 => *request.method() != Method::POST,
        _ => true,
    };
    if !keeps_method {
        request.set_method(Method::GET);
        for name in CONTENT_FIELDS {
            request.headers_mut().remove(name);
        }
    }
    Ok(keeps_method)
}

const CONTENT_FIELDS: [&str; 7] = [
    "Content-Type",
    "Content-Length",
    "Content-Encoding",
    "Content-Language",
    "Content-Location",
    "Transfer-Encoding",
    "Expect",
];

/// Prints the head if that was asked for, the body as it comes, and the trailers.
fn print(
    options: &Options,
    file: &mut Option<File>,
    response: &Response,
    mut body: BodyReader<'_>,
) -> Result<(), Failure> {
    let stdout = io::stdout();
    if options.head {
        print_head(&mut stdout.lock(), response).map_err(Failure::Output)?;
    }
    match &options.output {
        Some(path) => {
            let file = match file {
                Some(file) => file,
                None => file.insert(File::create(path).map_err(Failure::Output)?),
            };
            let mut progress = Progress::new(body.remaining());
            let copied = copy(&mut body, file, |n| progress.advance(n));
            progress.finish();
            copied?;
        }
        None => copy(&mut body, &mut stdout.lock(), |_| {})?,
    }
    let mut stdout = stdout.lock();
    if options.head {
        print_fields(&mut stdout, body.trailers()).map_err(Failure::Output)?;
    }
    stdout.flush().map_err(Failure::Output)
}

/// Copies the body straight from the buffer it was received in, and lets out what there is.
fn copy(
    body: &mut BodyReader<'_>,
    out: &mut dyn Write,
    mut copied: impl FnMut(usize),
) -> Result<(), Failure> {
    loop {
        let block = body.fill_buf().map_err(Error::from)?;
        if block.is_empty() {
            return Ok(());
        }
        out.write_all(block).and_then(|()| out.flush()).map_err(Failure::Output)?;
        let n = block.len();
        body.consume(n);
        copied(n);
    }
}

fn print_head(out: &mut dyn Write, response: &Response) -> io::Result<()> {
    write!(out, "{} {} ", response.version(), response.status().as_u16())?;
    out.write_all(response.reason_bytes())?;
    out.write_all(b"\r\n")?;
    print_fields(out, response.headers())?;
    out.write_all(b"\r\n")
}

fn print_fields(out: &mut dyn Write, fields: &HeaderMap) -> io::Result<()> {
    for (name, value) in fields.iter() {
        write!(out, "{name}: ")?;
        out.write_all(value)?;
        out.write_all(b"\r\n")?;
    }
    Ok(())
}

/// A bar on standard error, where that is a terminal.
struct Progress {
    shown: bool,
    total: Option<u64>,
    done: u64,
    start: Instant,
    drawn: Option<Instant>,
}

impl Progress {
    const WIDTH: usize = 40;

    fn new(total: Option<u64>) -> Progress {
        Progress { shown: io::stderr().is_terminal(), total, done: 0, start: Instant::now(), drawn: None }
    }

    fn advance(&mut self, n: usize) {
        self.done += n as u64;
        if self.shown && self.drawn.is_none_or(|at| at.elapsed() > Duration::from_millis(100)) {
            self.draw();
        }
    }

    fn draw(&mut self) {
        self.drawn = Some(Instant::now());
        let mib = self.done as f64 / f64::from(1 << 20);
        let rate = mib / self.start.elapsed().as_secs_f64().max(0.001);
        let bar = match self.total {
            Some(total) if total > 0 => {
                let share = self.done as f64 / total as f64;
                let filled = (share * Progress::WIDTH as f64) as usize;
                format!("[{:<width$}] {:3.0}%", "#".repeat(filled), share * 100.0, width = Progress::WIDTH)
            }
            _ => String::new(),
        };
        // A bar that can't be drawn is no reason to stop.
        let _ = write!(io::stderr(), "\r{bar} {mib:8.1} MiB {rate:8.1} MiB/s ");
    }

    fn finish(&mut self) {
        if self.shown {
            self.draw();
            let _ = writeln!(io::stderr());
        }
    }
}

/// What the command line asks for.
struct Options {
    method: Option<Method>,
    headers: HeaderMap,
    content: Option<Content>,
    chunked: bool,
    expect_continue: bool,
    head: bool,
    output: Option<String>,
    follow: bool,
    timeouts: Timeouts,
    repeat: u64,
    #[cfg(any(feature = "tls", feature = "tls-aws-lc-rs"))]
    tls: Tls,
    /// As they are shown, and as they are fetched.
    urls: Vec<(String, Uri)>,
}

/// What is asked of TLS.
#[cfg(any(feature = "tls", feature = "tls-aws-lc-rs"))]
#[derive(Default)]
struct Tls {
    ca: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
    insecure: bool,
    /// What all of it comes to.
    context: Option<TlsContext>,
}

#[cfg(any(feature = "tls", feature = "tls-aws-lc-rs"))]
impl Tls {
    fn build(&mut self) -> Result<(), String> {
        let mut context = TlsContext::client();
        if let Some(path) = &self.ca {
            context = context.only_added_cas().add_ca_file(path);
        }
        match (&self.certificate, &self.key) {
            (Some(certificate), key) => {
                context = context.certificate_files(certificate, key.as_ref().unwrap_or(certificate));
            }
            (None, Some(_)) => return Err("--key needs --cert".to_owned()),
            (None, None) => {}
        }
        if self.insecure {
            context = context.dangerous().accept_invalid_certificates();
        }
        self.context = Some(context.build().map_err(|error| in_one_line(&error))?);
        Ok(())
    }
}

/// The content of the requests.
enum Content {
    Data(String),
    File(String),
    Stdin,
}

impl Options {
    fn from_env() -> Result<Options, String> {
        let mut options = Options {
            method: None,
            headers: HeaderMap::new(),
            content: None,
            chunked: false,
            expect_continue: false,
            head: false,
            output: None,
            follow: false,
            timeouts: Timeouts::default(),
            repeat: 1,
            #[cfg(any(feature = "tls", feature = "tls-aws-lc-rs"))]
            tls: Tls::default(),
            urls: Vec::new(),
        };
        let mut args = Args::from_env();
        while let Some(arg) = args.next()? {
            match arg {
                Arg::Option(option) => options.set(&option, &mut args)?,
                Arg::Word(url) => {
                    let uri = Uri::parse(&url).map_err(|error| format!("{url}: {}", in_one_line(&error)))?;
                    match uri.scheme() {
                        Scheme::Http | Scheme::HttpUnix => {}
                        #[cfg(any(feature = "tls", feature = "tls-aws-lc-rs"))]
                        Scheme::Https => {}
                        #[cfg(not(any(feature = "tls", feature = "tls-aws-lc-rs")))]
                        Scheme::Https => return Err(format!("{url}: https needs the feature tls")),
                        Scheme::Ws | Scheme::Wss => {
                            return Err(format!("{url}: a WebSocket can't be fetched"));
                        }
                    }
                    let shown = if uri.password().is_some() { uri.to_string() } else { url };
                    options.urls.push((shown, uri));
                }
            }
        }
        if options.urls.is_empty() {
            return Err(format!("no URL\n{USAGE}"));
        }
        let requests = options.repeat.saturating_mul(options.urls.len() as u64);
        if matches!(options.content, Some(Content::Stdin)) && requests > 1 {
            return Err("standard input can be sent once only".to_owned());
        }
        #[cfg(any(feature = "tls", feature = "tls-aws-lc-rs"))]
        options.tls.build()?;
        Ok(options)
    }

    /// A session to this server, which is not connected yet.
    fn session(&self, origin: &Origin) -> Box<dyn ClientSession> {
        #[cfg(any(feature = "tls", feature = "tls-aws-lc-rs"))]
        if let (Scheme::Https, Some(context)) = (origin.scheme(), &self.tls.context) {
            let (host, port) = (origin.host(), origin.port());
            return Box::new(HttpsClientSession::with_context(host, port, context.clone()));
        }
        Box::new(HttpClientSession::new(origin.host(), origin.port()))
    }

    fn set(&mut self, option: &str, args: &mut Args) -> Result<(), String> {
        match option {
            "-X" => self.method = Some(args.parse()?),
            "-H" => self.add_header(&args.value()?)?,
            "-d" => {
                let mut data = args.value()?;
                if let Some(Content::Data(before)) = &self.content {
                    data = format!("{before}&{data}");
                }
                self.content = Some(Content::Data(data));
            }
            "--data-file" => {
                self.content = Some(match args.value()? {
                    path if path == "-" => Content::Stdin,
                    path => Content::File(path),
                });
            }
            "--chunked" => self.chunked = true,
            "--expect-continue" => self.expect_continue = true,
            "-i" => self.head = true,
            "-o" => self.output = Some(args.value()?),
            "-L" => self.follow = true,
            "--connect-timeout" => self.timeouts.connect = args.seconds()?,
            "--timeout" => {
                let stall = args.seconds()?;
                self.timeouts = Timeouts { send: stall, receive: stall, ..self.timeouts };
            }
            "--repeat" => self.repeat = args.parse()?,
            "-x" | "--proxy-auth" => return Err(format!("{option}: this build has no proxies")),
            "-u" | "--auth" => return Err(format!("{option}: this build has no authentication")),
            #[cfg(any(feature = "tls", feature = "tls-aws-lc-rs"))]
            "--cacert" => self.tls.ca = Some(args.value()?),
            #[cfg(any(feature = "tls", feature = "tls-aws-lc-rs"))]
            "--cert" => self.tls.certificate = Some(args.value()?),
            #[cfg(any(feature = "tls", feature = "tls-aws-lc-rs"))]
            "--key" => self.tls.key = Some(args.value()?),
            #[cfg(any(feature = "tls", feature = "tls-aws-lc-rs"))]
            "--insecure" => self.tls.insecure = true,
            #[cfg(not(any(feature = "tls", feature = "tls-aws-lc-rs")))]
            "--cacert" | "--cert" | "--key" | "--insecure" => {
                return Err(format!("{option} needs the feature tls"));
            }
            "--cookies" => return Err(format!("{option} needs the feature cookies")),
            "--compressed" => return Err(format!("{option} needs the feature gzip")),
            "--help" => args::help(USAGE),
            _ => return Err(format!("there is no option {option}\n{USAGE}")),
        }
        Ok(())
    }

    fn add_header(&mut self, line: &str) -> Result<(), String> {
        let (name, value) =
            line.split_once(':').ok_or_else(|| format!("-H '{line}': 'NAME: VALUE' is needed"))?;
        self.headers.append(name, value.trim()).map_err(|error| format!("-H '{line}': {error}"))
    }

    /// The first request for a URL.
    fn request(&self, uri: &Uri) -> Result<Request> {
        let implied = if self.content.is_some() { Method::POST } else { Method::GET };
        let mut request = Request::new(self.method.clone().unwrap_or(implied), uri.request_target());
        *request.headers_mut() = self.headers.clone();
        for (name, value) in [("User-Agent", "sessile-fetch"), ("Accept", "*/*")] {
            if !request.headers().has(name) {
                request.headers_mut().append(name, value)?;
            }
        }
        if matches!(self.content, Some(Content::Data(_))) && request.content_type().is_none() {
            request.set_content_type("application/x-www-form-urlencoded");
        }
        request.set_expect_continue(self.expect_continue);
        Ok(request)
    }

    /// The content from its beginning, announced in the request.
    fn open_content(&self, request: &mut Request) -> Result<Option<Box<dyn Read + Send + '_>>> {
        let (length, content): (_, Box<dyn Read + Send>) = match &self.content {
            None => return Ok(None),
            Some(Content::Data(data)) => (Some(data.len() as u64), Box::new(Cursor::new(data))),
            Some(Content::Stdin) => (None, Box::new(io::stdin())),
            Some(Content::File(path)) => {
                let unreadable =
                    |error| Error::new(ErrorKind::Io, format!("{path} can't be read")).with_source(error);
                let file = File::open(path).map_err(unreadable)?;
                let metadata = file.metadata().map_err(unreadable)?;
                (metadata.is_file().then_some(metadata.len()), Box::new(file))
            }
        };
        match length {
            Some(length) if !self.chunked => request.set_content_length(length),
            _ => request.set_chunked(true),
        };
        Ok(Some(content))
    }

    /// Where the response sends us, if it does and we go.
    fn redirect<'r>(&self, response: &'r Response) -> Option<&'r str> {
        let redirects = self.follow && matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
        if redirects { response.headers().get("Location") } else { None }
    }
}
