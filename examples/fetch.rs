//! A small curl: fetches URLs in order, over one persistent connection for each server.
//!
//! ```text
//! cargo run --release --example fetch -- [OPTIONS] URL...
//! ```
//!
//! Exit status: 0 when every response arrived whole, whatever its status code; 1 when one
//! did not; 2 for a wrong command line.

mod args;
#[path = "https/client.rs"]
mod https;

use std::fs::File;
use std::io::{self, BufRead, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use args::{Arg, Args};
use https::Tls;
#[cfg(feature = "cookies")]
use sessile::ErrorKind;
use sessile::auth::ProxyAuthentication;
#[cfg(feature = "cookies")]
use sessile::client::CookieJar;
use sessile::client::{AgentResponse, Authentication, Content, RedirectPolicy, UserAgent};
use sessile::message::{HeaderMap, Method, Request, Response, Scheme, Uri};
use sessile::session::{ProxyConfig, Timeouts};
use sessile::{Error, Result};

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
  -u USER:PASSWORD       as whom servers are asked, when they want to know
  --auth SCHEME          basic (at once), digest or ntlm; whatever a server wants, if not given
  -x URL                 a proxy, http://user:password@host:port
  --proxy-auth SCHEME    how the proxy is told the user: basic, digest or ntlm
  --cacert FILE          trust the authorities in this file, and no others
  --cert FILE            the certificate for servers that ask for one, PEM
  --key FILE             its key, PEM; in the same file, if not given
  --insecure             accept every certificate
  --cookies FILE         take cookies from this file, and keep those that are set in it
  --compressed           ask for gzip, and decode it
  --connect-timeout SECS how long connecting may take
  --timeout SECS         how long one read or write may stall
  --repeat N             fetch all URLs N times";

fn main() -> ExitCode {
    let started = Options::from_env().and_then(|options| {
        let agent = options.agent().map_err(|error| args::with_causes(&error))?;
        Ok((options, agent))
    });
    let (options, agent) = match started {
        Ok(started) => started,
        Err(problem) => {
            args::complain("fetch", &problem);
            return ExitCode::from(2);
        }
    };
    let mut status = fetch_all(Fetch { options: &options, agent: agent.clone(), file: None });
    if let Err(error) = options.save_cookies(&agent) {
        args::complain("fetch", &args::with_causes(&error));
        status = ExitCode::FAILURE;
    }
    status
}

fn fetch_all(mut fetch: Fetch<'_>) -> ExitCode {
    let mut status = ExitCode::SUCCESS;
    for _ in 0..fetch.options.repeat {
        for (url, uri) in &fetch.options.urls {
            match fetch.fetch(uri) {
                Ok(()) => {}
                // Nobody reads on: there is nobody to tell, and nothing to go on for.
                Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                    return ExitCode::FAILURE;
                }
                Err(Failure::Output(error)) => {
                    args::complain("fetch", &format!("{url}: the body can't be written: {error}"));
                    return ExitCode::FAILURE;
                }
                Err(Failure::Fetch(error)) => {
                    args::complain("fetch", &format!("{url}: {}", args::with_causes(&error)));
                    status = ExitCode::FAILURE;
                }
            }
        }
    }
    status
}

/// A URL that can't be read, without the password that may be in it.
fn without_password(url: &str) -> String {
    let start = url.find("://").map_or(0, |at| at + 3);
    let authority = url[start..].split(['/', '?', '#']).next().unwrap_or_default();
    match (url[start..].find(':'), authority.rfind('@')) {
        (Some(colon), Some(at)) if colon < at => {
            format!("{}:***{}", &url[..start + colon], &url[start + at..])
        }
        _ => url.to_owned(),
    }
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
    /// Has the connections, one for each server, and the cookies.
    agent: UserAgent,
    /// Where `-o` puts the bodies, once there is one.
    file: Option<File>,
}

impl Fetch<'_> {
    /// Fetches one URL, and prints what came.
    fn fetch(&mut self, uri: &Uri) -> Result<(), Failure> {
        let options = self.options;
        let mut call = self
            .agent
            .with_request(uri.clone(), options.request(uri))
            .content(options.content()?)
            .chunked(options.chunked)
            .expect_continue(options.expect_continue);
        if let Some(user) = options.user.clone().or_else(|| Authentication::from_uri(uri)) {
            call = call.authentication(user);
        }
        // The response is read while the content is sent, so no server and no amount of content
        // can bring this to a standstill.
        print(options, &mut self.file, call.send()?)
    }
}

/// Prints the head if that was asked for, the body as it comes, and the trailers.
fn print(options: &Options, file: &mut Option<File>, mut response: AgentResponse) -> Result<(), Failure> {
    let stdout = io::stdout();
    if options.head {
        print_head(&mut stdout.lock(), response.response()).map_err(Failure::Output)?;
    }
    match &options.output {
        Some(path) => {
            let file = match file {
                Some(file) => file,
                None => file.insert(File::create(path).map_err(Failure::Output)?),
            };
            let mut progress = Progress::new(response.remaining());
            let copied = copy(&mut response, file, |n| progress.advance(n));
            progress.finish();
            copied?;
        }
        None => copy(&mut response, &mut stdout.lock(), |_| {})?,
    }
    let mut stdout = stdout.lock();
    if options.head {
        print_fields(&mut stdout, response.trailers()).map_err(Failure::Output)?;
    }
    stdout.flush().map_err(Failure::Output)
}

/// Copies the body straight from the buffer it was received in, and lets out what there is.
fn copy(body: &mut AgentResponse, out: &mut dyn Write, mut copied: impl FnMut(usize)) -> Result<(), Failure> {
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
    content: Option<Source>,
    chunked: bool,
    expect_continue: bool,
    head: bool,
    output: Option<String>,
    follow: bool,
    timeouts: Timeouts,
    user: Option<Authentication>,
    proxy: Option<ProxyConfig>,
    tls: Tls,
    cookies: Option<String>,
    compressed: bool,
    repeat: u64,
    /// As they are shown, and as they are fetched.
    urls: Vec<(String, Uri)>,
}

/// The content of the requests.
enum Source {
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
            user: None,
            proxy: None,
            tls: Tls::default(),
            cookies: None,
            compressed: false,
            repeat: 1,
            urls: Vec::new(),
        };
        let (mut user, mut scheme, mut proxy_scheme) = (None, None, None);
        let mut args = Args::from_env();
        while let Some(arg) = args.next()? {
            match arg {
                Arg::Option(option) => match option.as_str() {
                    "-u" => user = Some(args.value()?),
                    "--auth" => scheme = Some(args.value()?),
                    "--proxy-auth" => proxy_scheme = Some(args.value()?),
                    option => options.set(option, &mut args)?,
                },
                Arg::Word(url) => {
                    let uri = Uri::parse(&url).map_err(|error| {
                        format!("{}: {}", without_password(&url), args::with_causes(&error))
                    })?;
                    let shown = if uri.password().is_some() { uri.to_string() } else { url };
                    match uri.scheme() {
                        Scheme::Http | Scheme::HttpUnix => {}
                        Scheme::Https if Tls::AVAILABLE => {}
                        Scheme::Https => return Err(format!("{shown}: https needs the feature tls")),
                        Scheme::Ws | Scheme::Wss => {
                            return Err(format!("{shown}: a WebSocket can't be fetched"));
                        }
                    }
                    options.urls.push((shown, uri));
                }
            }
        }
        if options.urls.is_empty() {
            return Err("no URL; fetch --help says what it needs".to_owned());
        }
        let requests = options.repeat.saturating_mul(options.urls.len() as u64);
        if matches!(options.content, Some(Source::Stdin)) && requests > 1 {
            return Err("standard input can be sent once only".to_owned());
        }
        options.user = match (user, scheme) {
            (Some(user), scheme) => Some(authentication(&user, scheme.as_deref())?),
            (None, Some(_)) => return Err("--auth needs -u".to_owned()),
            (None, None) => None,
        };
        match (proxy_scheme, &mut options.proxy) {
            (Some(scheme), Some(proxy)) => {
                proxy.set_auth_method(proxy_authentication(&scheme)?);
            }
            (Some(_), None) => return Err("--proxy-auth needs -x".to_owned()),
            (None, _) => {}
        }
        options.tls.check()?;
        Ok(options)
    }

    fn set(&mut self, option: &str, args: &mut Args) -> Result<(), String> {
        match option {
            "-X" => self.method = Some(args.parse()?),
            "-H" => self.add_header(&args.value()?)?,
            "-d" => {
                let mut data = args.value()?;
                if let Some(Source::Data(before)) = &self.content {
                    data = format!("{before}&{data}");
                }
                self.content = Some(Source::Data(data));
            }
            "--data-file" => {
                self.content = Some(match args.value()? {
                    path if path == "-" => Source::Stdin,
                    path => Source::File(path),
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
            "-x" => {
                let url = args.value()?;
                // The URL is not repeated: it may have a password.
                self.proxy = Some(url.parse().map_err(|error| format!("-x: {}", args::with_causes(&error)))?);
            }
            "--cacert" => self.tls.ca = Some(args.value()?),
            "--cert" => self.tls.cert = Some(args.value()?),
            "--key" => self.tls.key = Some(args.value()?),
            "--insecure" => self.tls.insecure = true,
            "--cookies" if cfg!(feature = "cookies") => self.cookies = Some(args.value()?),
            "--cookies" => return Err(format!("{option} needs the feature cookies")),
            "--compressed" if cfg!(feature = "gzip") => self.compressed = true,
            "--compressed" => return Err(format!("{option} needs the feature gzip")),
            "--help" => args::help(USAGE),
            _ => return Err(format!("there is no option {option}; fetch --help has them all")),
        }
        Ok(())
    }

    fn add_header(&mut self, line: &str) -> Result<(), String> {
        let (name, value) =
            line.split_once(':').ok_or_else(|| format!("-H '{line}': 'NAME: VALUE' is needed"))?;
        self.headers.append(name, value.trim()).map_err(|error| format!("-H '{line}': {error}"))
    }

    /// The first request for a URL.
    fn request(&self, uri: &Uri) -> Request {
        let implied = if self.content.is_some() { Method::POST } else { Method::GET };
        let mut request = Request::new(self.method.clone().unwrap_or(implied), uri.request_target());
        *request.headers_mut() = self.headers.clone();
        if matches!(self.content, Some(Source::Data(_))) && request.content_type().is_none() {
            request.set_content_type("application/x-www-form-urlencoded");
        }
        request
    }

    fn content(&self) -> Result<Content> {
        match &self.content {
            None => Ok(Content::empty()),
            Some(Source::Data(data)) => Ok(Content::from(data.as_str())),
            Some(Source::Stdin) => Ok(Content::from_reader(io::stdin())),
            Some(Source::File(path)) => Content::from_file(path),
        }
    }

    /// What fetches in the way that the options say.
    fn agent(&self) -> Result<UserAgent> {
        let redirects = if self.follow { RedirectPolicy::limited(20) } else { RedirectPolicy::none() };
        let mut agent =
            UserAgent::builder().user_agent("sessile-fetch").timeouts(self.timeouts).redirects(redirects);
        if let Some(proxy) = &self.proxy {
            agent = agent.proxy(proxy.clone());
        }
        #[cfg(any(feature = "tls", feature = "tls-aws-lc-rs"))]
        {
            agent = self.tls.apply(agent)?;
        }
        #[cfg(feature = "gzip")]
        {
            agent = agent.gzip(self.compressed);
        }
        #[cfg(feature = "cookies")]
        if let Some(path) = &self.cookies {
            let jar = CookieJar::new();
            match jar.load(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => agent = agent.cookies(jar),
            }
        }
        agent.build()
    }

    #[cfg(feature = "cookies")]
    fn save_cookies(&self, agent: &UserAgent) -> Result<()> {
        match (&self.cookies, agent.cookie_jar()) {
            (Some(path), Some(jar)) => jar.save(path),
            _ => Ok(()),
        }
    }

    #[cfg(not(feature = "cookies"))]
    fn save_cookies(&self, _: &UserAgent) -> Result<()> {
        Ok(())
    }
}

/// Who is meant by `-u` and `--auth`.
fn authentication(user: &str, scheme: Option<&str>) -> Result<Authentication, String> {
    let (name, password) = user.split_once(':').ok_or("-u: USER:PASSWORD is needed")?;
    match scheme {
        None => Ok(Authentication::new(name, password).in_the_clear(true)),
        Some("basic") => Ok(Authentication::basic(name, password)),
        #[cfg(feature = "digest")]
        Some("digest") => Ok(Authentication::digest(name, password)),
        #[cfg(feature = "ntlm")]
        Some("ntlm") => Ok(Authentication::ntlm(name, password)),
        Some(scheme) if ["digest", "ntlm"].contains(&scheme) => {
            Err(format!("--auth {scheme} needs the feature {scheme}"))
        }
        Some(scheme) => Err(format!("--auth {scheme}: basic, digest or ntlm is needed")),
    }
}

fn proxy_authentication(scheme: &str) -> Result<ProxyAuthentication, String> {
    match scheme {
        "basic" => Ok(ProxyAuthentication::Basic),
        "digest" if cfg!(feature = "digest") => Ok(ProxyAuthentication::Digest),
        "ntlm" if cfg!(feature = "ntlm") => Ok(ProxyAuthentication::Ntlm),
        "digest" | "ntlm" => Err(format!("--proxy-auth {scheme} needs the feature {scheme}")),
        scheme => Err(format!("--proxy-auth {scheme}: basic, digest or ntlm is needed")),
    }
}
