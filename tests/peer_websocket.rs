//! WebSockets with Python's `websockets` at the other end, as a client and as a server.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too
#![cfg(feature = "websocket")]

mod programs;
#[path = "support/server.rs"]
mod support;

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use programs::{pattern, python, run};
use sessile::message::{Request, Response};
use sessile::server::HttpServerParams;
use sessile::session::HttpClientSession;
use sessile::websocket::{AcceptOptions, CloseCode, FrameFlags, Message, Opcode, WebSocket};
use support::Running;

/// Sends messages of all lengths and kinds to an echo, in fragments too, and closes.
const CLIENT: &str = "
import asyncio, websockets
async def main():
    options = dict(compression=None, max_size=None, subprotocols=['b', 'echo'])
    async with websockets.connect('ws://127.0.0.1:%s/', **options) as ws:
        assert ws.subprotocol == 'echo'
        for length in [0, 1, 125, 126, 127, 65535, 65536, 1000000]:
            data = bytes(i % 251 for i in range(length))
            await ws.send(data)
            assert await ws.recv() == data, length
            await ws.send('ä' * length)
            assert await ws.recv() == 'ä' * length, length
        await ws.send(['one ', 'two ', '€'])
        assert await ws.recv() == 'one two €'
        await asyncio.wait_for(await ws.ping('there?'), 10)
        await ws.close(4001, 'enough')
        assert ws.close_code == 4001, ws.close_code
asyncio.run(main())
";

#[test]
#[ignore = "needs python3 with websockets"]
fn a_python_client_is_served() {
    let (closed, closes) = mpsc::channel();
    let server = Running::with(HttpServerParams::new(), move |request, response| {
        let mut socket = WebSocket::accept(request, response, &AcceptOptions::new().with_protocol("echo"))?;
        while let Some(message) = socket.receive_message()? {
            match message {
                Message::Text(text) => socket.send_text(&text)?,
                Message::Binary(bytes) => socket.send_binary(&bytes)?,
            }
        }
        closed.send(socket.close_frame().cloned()).unwrap();
        Ok(())
    });
    let port = server.address.port().to_string();
    let output = run(&mut python(&CLIENT.replace("%s", &port)));
    assert!(output.status.success(), "{output:?}");
    let close = closes.recv().unwrap().unwrap();
    assert_eq!((close.code.as_u16(), &close.reason[..]), (4001, "enough"));
}

/// Echoes until it is told to close, and says how it was told.
const SERVER: &str = "
import asyncio, websockets
async def main():
    ended = asyncio.Event()
    async def echo(ws):
        try:
            while True:
                await ws.send(await ws.recv())
        except websockets.exceptions.ConnectionClosed:
            print(ws.close_code, ws.close_reason, flush=True)
        ended.set()
    async with websockets.serve(echo, '127.0.0.1', 0, compression=None, max_size=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await ended.wait()
asyncio.run(main())
";

#[test]
#[ignore = "needs python3 with websockets"]
fn a_python_server_is_spoken_with() {
    let mut child = python(SERVER).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let port = lines.next().unwrap().unwrap().parse().unwrap();
    let mut session = HttpClientSession::new("127.0.0.1", port);
    let mut socket = WebSocket::connect(&mut session, &mut Request::get("/"), &mut Response::new()).unwrap();
    for length in [0, 1, 125, 126, 65535, 65536, 1_000_000] {
        let bytes = pattern(length);
        socket.send_binary(&bytes).unwrap();
        assert!(socket.receive_message().unwrap() == Some(Message::Binary(bytes)), "{length}");
    }
    socket.send_frame(b"one ", Opcode::Text.into()).unwrap();
    socket.send_ping(b"between").unwrap();
    socket.send_frame("€".as_bytes(), FrameFlags::LAST).unwrap();
    assert_eq!(socket.receive_message().unwrap(), Some(Message::Text("one €".into())));
    socket.shutdown_with(CloseCode::from(4002), "done").unwrap();
    socket.close_handshake(Duration::from_secs(10)).unwrap();
    assert_eq!(socket.close_frame().unwrap().code.as_u16(), 4002);
    // It waits for the end of the connection.
    drop(socket);
    assert_eq!(lines.next().unwrap().unwrap(), "4002 done");
    assert!(child.wait().unwrap().success());
}
