//! The web sessions of `serve`: the page for people, and the endpoints below `/session`.

use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sessile::message::{Form, StatusCode};
use sessile::server::{ServerRequest, ServerResponse};
#[cfg(feature = "redis")]
use sessile::web::RedisStore;
use sessile::web::{FileStore, MemoryStore, Value, Visitor, WebSession, WebSessionManager, WhenFull};
use sessile::{Error, ErrorKind, Result};

/// Answers a visitor.
pub(crate) type Answer = fn(&mut ServerRequest<'_>, &mut ServerResponse<'_>, &Visitor<'_>) -> Result<()>;

/// The same, about an attribute of this name.
pub(crate) type AttributeAnswer =
    fn(&str, &mut ServerRequest<'_>, &mut ServerResponse<'_>, &Visitor<'_>) -> Result<()>;

/// The sessions of the site, in the store that a URL names.
pub(crate) fn manager(store: &str, timeout: Option<Duration>) -> Result<WebSessionManager> {
    let builder = match store.split_once(':') {
        Some(("memory", _)) => WebSessionManager::builder(MemoryStore::new()),
        Some(("file", folder)) => WebSessionManager::builder(FileStore::open(folder)?),
        #[cfg(feature = "redis")]
        Some(("redis" | "rediss", _)) => WebSessionManager::builder(RedisStore::open(store)?),
        _ => return Err(Error::new(ErrorKind::InvalidArgument, format!("{store} is no store"))),
    };
    Ok(builder
        .timeout(timeout)
        .sweep_every(Some(Duration::from_secs(3)))
        .max_sessions(MOST_SESSIONS, WhenFull::Evict)
        .build())
}

/// So many may be in memory, some hundred megabytes. Who asks without a cookie, again and again, ends
/// his own for the next one.
const MOST_SESSIONS: usize = 1_000_000;

/// The session as JSON. There is one from then on.
pub(crate) fn show(
    request: &mut ServerRequest<'_>,
    response: &mut ServerResponse<'_>,
    visitor: &Visitor<'_>,
) -> Result<()> {
    send(&visitor.session(request)?, response)
}

/// Sets what a form says.
pub(crate) fn set_attributes(
    request: &mut ServerRequest<'_>,
    response: &mut ServerResponse<'_>,
    visitor: &Visitor<'_>,
) -> Result<()> {
    let form = form(request)?;
    let session = visitor.session(request)?;
    for (name, value) in form.iter() {
        session.set(name, value)?;
    }
    send(&session, response)
}

/// Another id, as after a login.
pub(crate) fn rotate(
    request: &mut ServerRequest<'_>,
    response: &mut ServerResponse<'_>,
    visitor: &Visitor<'_>,
) -> Result<()> {
    let session = visitor.session(request)?;
    session.rotate_id()?;
    send(&session, response)
}

pub(crate) fn end(
    request: &mut ServerRequest<'_>,
    response: &mut ServerResponse<'_>,
    visitor: &Visitor<'_>,
) -> Result<()> {
    if let Some(session) = visitor.find(request)? {
        session.invalidate()?;
    }
    nothing(response)
}

pub(crate) fn remove_attribute(
    name: &str,
    request: &mut ServerRequest<'_>,
    response: &mut ServerResponse<'_>,
    visitor: &Visitor<'_>,
) -> Result<()> {
    if let Some(session) = visitor.find(request)? {
        session.remove_attribute(name)?;
    }
    nothing(response)
}

fn form(request: &mut ServerRequest<'_>) -> Result<Form> {
    let head = request.head();
    let mut form = Form::new();
    form.load(head, request)?;
    Ok(form)
}

fn nothing(response: &mut ServerResponse<'_>) -> Result<()> {
    response.set_status_and_reason(StatusCode::NO_CONTENT);
    response.send_buffer(b"")
}

fn send(session: &WebSession, response: &mut ServerResponse<'_>) -> Result<()> {
    let mut attributes = String::new();
    for (name, value) in session.iter()? {
        let comma = if attributes.is_empty() { "" } else { "," };
        let _ = write!(attributes, "{comma}{}:{}", super::json(name.as_bytes()), json_value(&value));
    }
    let text = format!(
        r#"{{"id":"{}","is_new":{},"created":{},"last_accessed":{},"max_inactive_interval":{},"attributes":{{{attributes}}}}}"#,
        session.id(),
        session.is_new()?,
        millis(session.created()),
        millis(session.last_accessed()),
        session.max_inactive_interval(),
    );
    response.set_content_type("application/json");
    response.send_buffer(text.as_bytes())
}

fn json_value(value: &Value) -> String {
    match (value.as_str(), value.as_i64()) {
        (Some(text), _) => super::json(text.as_bytes()),
        (None, Some(number)) => number.to_string(),
        (None, None) => "null".to_owned(),
    }
}

fn millis(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis())
}

/// Ends the visitor's session, if the page asked for it that it was shown.
pub(crate) fn sign_out(
    request: &mut ServerRequest<'_>,
    response: &mut ServerResponse<'_>,
    visitor: &Visitor<'_>,
) -> Result<()> {
    let form = form(request)?;
    if let Some(session) = visitor.find(request)? {
        if !session.verify_csrf(form.get_or("token", "")) {
            return super::text(response, StatusCode::FORBIDDEN, "this is not a form of ours\n");
        }
        session.invalidate()?;
    }
    response.redirect_with("/", StatusCode::SEE_OTHER)
}

/// The page for people.
pub(crate) fn page(
    request: &mut ServerRequest<'_>,
    response: &mut ServerResponse<'_>,
    visitor: &Visitor<'_>,
) -> Result<()> {
    let session = visitor.session(request)?;
    let visits = session.update("visits", |visits: Option<i64>| Some(visits.unwrap_or(0) + 1))?.unwrap_or(1);
    let text = PAGE
        .replace("{visits}", &visits.to_string())
        .replace("{times}", if visits == 1 { "time" } else { "times" })
        .replace("{id}", &session.id().to_string())
        .replace("{token}", &session.csrf_token()?)
        .replace("{chat}", CHAT);
    response.set_content_type("text/html; charset=utf-8");
    response.headers_mut().set("Cache-Control", "no-store")?;
    response.send_buffer(text.as_bytes())
}

#[cfg(feature = "websocket")]
use super::web_socket::CHAT;
#[cfg(not(feature = "websocket"))]
const CHAT: &str = "";

const PAGE: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>sessile</title>
<style>
  :root { color-scheme: light dark; --ink: #1d2433; --soft: #5b6475; --line: #d9dee7; --paper: #f6f7f9; --card: #fff; --link: #0b62c4; }
  @media (prefers-color-scheme: dark) {
    :root { --ink: #e8ebf1; --soft: #9aa4b5; --line: #333b4a; --paper: #141820; --card: #1c222d; --link: #7db4f5; }
  }
  body { margin: 0; background: var(--paper); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
  main { max-width: 42rem; margin: 3rem auto; padding: 0 1rem; }
  h1 { margin: 0 0 .25rem; font-weight: 650; letter-spacing: -.01em; }
  p { margin: 0 0 1.5rem; color: var(--soft); }
  section { background: var(--card); border: 1px solid var(--line); border-radius: .75rem; padding: 1rem 1.25rem; margin-bottom: 1.5rem; }
  section p { margin: .25rem 0; overflow-wrap: anywhere; }
  strong { color: var(--ink); }
  code, dt { font-family: ui-monospace, monospace; font-size: .9em; }
  dl { display: grid; grid-template-columns: max-content 1fr; gap: .5rem 1.25rem; margin: 0; }
  dd { margin: 0; color: var(--soft); }
  a { color: var(--link); }
  button { margin-top: .75rem; padding: .4rem .9rem; font: inherit; color: inherit; background: none; border: 1px solid var(--line); border-radius: .5rem; cursor: pointer; }
  button:hover { border-color: var(--link); }
  input { padding: .4rem .6rem; font: inherit; color: inherit; background: none; border: 1px solid var(--line); border-radius: .5rem; }
  #log { margin: .75rem 0 0; padding-left: 1.25rem; overflow-wrap: anywhere; }
  @media (max-width: 32rem) { dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .5rem; } }
</style>
<main>
  <h1>sessile</h1>
  <p>This server shows what the library does.</p>
  <section>
    <p>You were here <strong id="visits">{visits}</strong> {times} in this session.</p>
    <p>Its id is <code id="id">{id}</code>.</p>
    <form method="post" action="/sign-out">
      <input type="hidden" name="token" value="{token}">
      <button>Sign out</button>
    </form>
  </section>
  <section>
    <dl>
      <dt><a href="/session">/session</a></dt><dd>your web session, as JSON</dd>
      <dt><a href="/hello">/hello</a></dt><dd>thirteen bytes</dd>
      <dt><a href="/inspect?a=b">/inspect</a></dt><dd>your request as it was parsed, whatever its method</dd>
      <dt>/echo</dt><dd>your content, sent back as it comes</dd>
      <dt>/upload</dt><dd>what the parts of your form were</dd>
      <dt>/file/PATH</dt><dd>a file of the folder that is served</dd>
      <dt>/ws</dt><dd>a WebSocket that sends every message back</dd>
      <dt><a href="/bytes/1000">/bytes/N</a></dt><dd>so many bytes, with a length</dd>
      <dt><a href="/chunked/1000">/chunked/N</a></dt><dd>the same in chunks</dd>
      <dt><a href="/sleep/1000">/sleep/MS</a></dt><dd>an answer after so many milliseconds</dd>
      <dt><a href="/redirect/3">/redirect/N</a></dt><dd>so many redirects, and then a greeting</dd>
      <dt><a href="/status/418">/status/CODE</a></dt><dd>an empty response of that status</dd>
    </dl>
  </section>
{chat}</main>
"#;
