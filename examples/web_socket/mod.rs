//! `/ws` of serve: a WebSocket that sends every message back, until the client or the server goes.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sessile::Result;
use sessile::server::{ServerRequest, ServerResponse};
use sessile::websocket::{AcceptOptions, CloseCode, Message, WebSocket, WebSocketSender};

pub(crate) fn echo(request: &mut ServerRequest<'_>, response: &mut ServerResponse<'_>) -> Result<()> {
    let mut socket = WebSocket::accept(request, response, &AcceptOptions::new())?;
    let _open = Open::note(socket.sender());
    loop {
        match socket.receive_message() {
            Ok(Some(Message::Text(text))) => socket.send_text(&text)?,
            Ok(Some(Message::Binary(bytes))) => socket.send_binary(&bytes)?,
            Ok(None) => return Ok(()),
            // Who has nothing to say answers a ping; who is gone does not.
            Err(error) if error.is_timeout() && !socket.awaits_pong() => socket.send_ping(b"")?,
            Err(error) => return Err(error),
        }
    }
}

/// Tells all clients that the server goes away. Their answers end the handlers, which would not
/// end by themselves.
pub(crate) fn close_all() {
    let sockets = sockets().take();
    sockets.into_iter().flat_map(BTreeMap::into_values).for_each(close);
}

fn close(sender: WebSocketSender) {
    let _ = sender.shutdown_with(CloseCode::GOING_AWAY, "the server stops");
}

/// A place among the WebSockets that are open.
struct Open(u64);

impl Open {
    fn note(sender: WebSocketSender) -> Open {
        if let Some(sockets) = &mut *sockets() {
            let place = sockets.last_key_value().map_or(0, |(last, _)| last + 1);
            sockets.insert(place, sender);
            return Open(place);
        }
        // It comes too late.
        close(sender);
        Open(0)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(sockets) = &mut *sockets() {
            sockets.remove(&self.0);
        }
    }
}

/// Those that are open; `None` once the server stops.
fn sockets() -> MutexGuard<'static, Option<BTreeMap<u64, WebSocketSender>>> {
    static SOCKETS: Mutex<Option<BTreeMap<u64, WebSocketSender>>> = Mutex::new(Some(BTreeMap::new()));
    SOCKETS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A part of the page for people, to talk to it.
pub(crate) const CHAT: &str = r#"  <section>
    <p>Whatever you say to <code>/ws</code> comes back.</p>
    <form id="chat">
      <input name="text" size="36" autocomplete="off" aria-label="Message">
      <button>Send</button>
    </form>
    <ul id="log" aria-live="polite"></ul>
  </section>
  <script>
    let socket;
    const log = (line) => {
      const item = document.createElement("li");
      item.textContent = line;
      document.getElementById("log").append(item);
    };
    document.getElementById("chat").addEventListener("submit", (event) => {
      event.preventDefault();
      const text = event.target.elements.text.value;
      event.target.reset();
      if (!socket || socket.readyState > WebSocket.OPEN) {
        socket = new WebSocket(location.origin.replace("http", "ws") + "/ws");
        socket.onmessage = (message) => log(message.data);
        socket.onclose = (close) => log(`closed: ${close.code} ${close.reason}`);
      }
      if (socket.readyState === WebSocket.OPEN) socket.send(text);
      else socket.addEventListener("open", (opened) => opened.target.send(text));
    });
  </script>
"#;
