//! What RFC 6455 asks of an endpoint, in the order of the Autobahn test suite, over streams
//! in memory.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use super::frame::{Head, apply_mask};
use super::*;
use crate::web::multipart::testing::Random;
use crate::{Error, ErrorKind, Result};

/// What was written, for the test to look at.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Written {
    /// The frames written so far: first byte, whether masked, payload.
    fn frames(&self) -> Vec<(u8, bool, Vec<u8>)> {
        let bytes = self.0.lock().unwrap();
        let mut rest = &bytes[..];
        let mut frames = Vec::new();
        while !rest.is_empty() {
            let head = Head::parse(rest).unwrap().unwrap();
            let end = head.length + head.payload as usize;
            let mut payload = rest[head.length..end].to_vec();
            if let Some(mask) = head.mask {
                apply_mask(&mut payload, mask, 0);
            }
            frames.push((rest[0], head.mask.is_some(), payload));
            rest = &rest[end..];
        }
        frames
    }

    /// The code of the close frame that was written last.
    fn close_code(&self) -> Option<u16> {
        match self.frames().pop()? {
            (0x88, _, payload) if payload.len() >= 2 => Some(u16::from_be_bytes([payload[0], payload[1]])),
            _ => None,
        }
    }
}

/// Gives so many bytes a read.
struct Dribble(io::Cursor<Vec<u8>>, usize);

impl Read for Dribble {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = into.len().min(self.1);
        self.0.read(&mut into[..count])
    }
}

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A frame as a client sends it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    // `Head::write` leaves out reserved bits and does not know reserved opcodes.
    Head::write(FrameFlags::from_bits(0x82), Some(MASK), payload.len() as u64, &mut bytes).unwrap();
    bytes[0] = first;
    let start = bytes.len();
    bytes.extend_from_slice(payload);
    apply_mask(&mut bytes[start..], MASK, 0);
    bytes
}

/// A server that receives these bytes.
fn server(bytes: impl Into<Vec<u8>>) -> (WebSocket, Written) {
    dribbling_server(bytes, usize::MAX)
}

fn dribbling_server(bytes: impl Into<Vec<u8>>, size: usize) -> (WebSocket, Written) {
    let written = Written::default();
    let reader = Dribble(io::Cursor::new(bytes.into()), size);
    (WebSocket::from_halves(reader, written.clone(), Mode::Server), written)
}

fn receive_all(socket: &mut WebSocket) -> Result<Vec<Message>> {
    let mut messages = Vec::new();
    while let Some(message) = socket.receive_message()? {
        messages.push(message);
    }
    Ok(messages)
}

/// Asserts that these frames are refused with this close code, however they come.
fn refused(frames: &[Vec<u8>], code: u16) {
    for size in [1, 2, 3, 1000] {
        let (mut socket, written) = dribbling_server(frames.concat(), size);
        let error = receive_all(&mut socket).unwrap_err();
        let kind = WebSocketErrorKind::of(&error).unwrap();
        assert!(
            matches!(kind, WebSocketErrorKind::Violation(_) | WebSocketErrorKind::PayloadTooBig),
            "{kind:?}"
        );
        assert_eq!(written.close_code(), Some(code), "{frames:x?}");
        let again = socket.receive_message().unwrap_err();
        assert_eq!(WebSocketErrorKind::of(&again), Some(kind), "and stays so");
        assert!(socket.send_text("x").is_err(), "nothing follows a close frame");
    }
}

/// Asserts that these frames, with a close frame behind them, are these messages.
fn taken(frames: &[Vec<u8>], messages: &[Message]) {
    let bytes = [frames.concat(), frame(0x88, &[3, 232])].concat();
    for size in [1, 2, 5, 1 << 20] {
        let (mut socket, written) = dribbling_server(&bytes[..], size);
        assert_eq!(receive_all(&mut socket).unwrap(), messages);
        assert_eq!(written.close_code(), Some(1000));
        assert_eq!(socket.receive_message().unwrap(), None, "and stays so");
    }
}

fn text(text: &str) -> Message {
    Message::Text(text.into())
}

// 1: framing

#[test]
fn messages_of_every_length_format_come_whole_both_ways() {
    let mut random = Random::new(3);
    for length in [0, 1, 125, 126, 127, 128, 4095, 4096, 65535, 65536, 65537, 1 << 20] {
        let bytes = random.bytes(length);
        let (mut socket, written) = server(frame(0x82, &bytes));
        assert_eq!(socket.receive_message().unwrap(), Some(Message::Binary(bytes.clone())), "{length}");
        socket.send_binary(&bytes).unwrap();
        assert_eq!(written.frames(), [(0x82, false, bytes.clone())]);

        let sent = Written::default();
        let client = WebSocket::from_halves(io::empty(), sent.clone(), Mode::Client);
        client.send_binary(&bytes).unwrap();
        assert_eq!(sent.frames(), [(0x82, true, bytes)], "{length}");
    }
}

#[test]
fn text_comes_in_any_pieces_of_the_stream() {
    taken(
        &[frame(0x81, b""), frame(0x81, b"Hello"), frame(0x81, "κόσμε".as_bytes())],
        &[text(""), text("Hello"), text("κόσμε")],
    );
}

#[test]
fn every_frame_has_another_mask() {
    let sent = Written::default();
    let client = WebSocket::from_halves(io::empty(), sent.clone(), Mode::Client);
    for _ in 0..200 {
        client.send_text("").unwrap();
    }
    let bytes = sent.0.lock().unwrap();
    let masks: std::collections::HashSet<_> = bytes.chunks(6).map(|frame| frame[2..].to_vec()).collect();
    assert!(masks.len() > 190);
}

// 2: pings and pongs

#[test]
fn pings_are_answered_with_their_payload() {
    let bytes =
        [frame(0x89, b""), frame(0x89, b"x"), frame(0x89, &[0xff; 125]), frame(0x81, b"end")].concat();
    let (mut socket, written) = dribbling_server(bytes, 7);
    assert_eq!(socket.receive_message().unwrap(), Some(text("end")));
    let pongs: Vec<_> =
        written.frames().into_iter().map(|(first, _, payload)| (first, payload.len())).collect();
    assert_eq!(pongs, [(0x8a, 0), (0x8a, 1), (0x8a, 125)]);
}

#[test]
fn pings_are_given_and_not_answered_if_so_wanted() {
    let (mut socket, written) = server(frame(0x89, b"ping"));
    socket.set_answer_pings(false);
    let mut buffer = [0; 16];
    let got = socket.receive_frame(&mut buffer).unwrap().unwrap();
    assert_eq!((got.opcode(), &buffer[..got.length]), (Opcode::Ping, &b"ping"[..]));
    assert!(written.frames().is_empty());
}

#[test]
fn pongs_nobody_asked_for_are_passed_over() {
    taken(&[frame(0x8a, b"unsolicited"), frame(0x81, b"a"), frame(0x8a, b"")], &[text("a")]);
}

#[test]
fn a_control_frame_with_126_bytes_is_refused() {
    for first in [0x88, 0x89, 0x8a] {
        refused(&[frame(first, &[0; 126])], 1002);
    }
}

// 3 and 4: reserved bits and opcodes, masks

#[test]
fn reserved_bits_and_opcodes_are_refused() {
    for bit in [0x40, 0x20, 0x10, 0x70] {
        for opcode in [0x81, 0x82, 0x89, 0x88] {
            refused(&[frame(bit | opcode, b"")], 1002);
        }
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        refused(&[frame(0x80 | opcode, b"")], 1002);
        refused(&[frame(0x81, b"ok"), frame(0x80 | opcode, b"x")], 1002);
    }
}

#[test]
fn masks_are_demanded_from_clients_and_refused_from_servers() {
    refused(&[vec![0x81, 0x01, b'a']], 1002);
    let written = Written::default();
    let mut client =
        WebSocket::from_halves(io::Cursor::new(frame(0x81, b"a")), written.clone(), Mode::Client);
    assert!(client.receive_message().is_err());
    assert_eq!(written.close_code(), Some(1002));
    let mut client = WebSocket::from_halves(&b"\x81\x01a"[..], io::sink(), Mode::Client);
    assert_eq!(client.receive_message().unwrap(), Some(text("a")));
}

// 5: fragmentation

#[test]
fn fragments_make_a_message_with_pings_between_them() {
    let bytes =
        [frame(0x01, b"one "), frame(0x89, b"1"), frame(0x00, b""), frame(0x89, b"2"), frame(0x80, b"two")]
            .concat();
    let (mut socket, written) = dribbling_server(bytes, 3);
    assert_eq!(socket.receive_message().unwrap(), Some(text("one two")));
    assert_eq!(written.frames().len(), 2);
    taken(&[frame(0x02, b"\xff"), frame(0x80, b"\0")], &[Message::Binary(b"\xff\0".to_vec())]);
}

#[test]
fn fragments_out_of_order_are_refused() {
    refused(&[frame(0x80, b"alone")], 1002);
    refused(&[frame(0x00, b"alone"), frame(0x80, b"x")], 1002);
    refused(&[frame(0x01, b"first"), frame(0x81, b"second")], 1002);
    refused(&[frame(0x02, b"first"), frame(0x01, b"second")], 1002);
    refused(&[frame(0x81, b"whole"), frame(0x80, b"more")], 1002);
    for first in [0x08, 0x09, 0x0a] {
        refused(&[frame(first, b"")], 1002);
    }
}

#[test]
fn frames_are_given_one_by_one_as_poco_does() {
    let (mut socket, _) = server([frame(0x01, b"one"), frame(0x80, b"two"), frame(0x88, &[3, 232])].concat());
    let mut all = Vec::new();
    let first = socket.receive_frame_vec(&mut all).unwrap().unwrap();
    assert_eq!((first.opcode(), first.is_final(), first.length), (Opcode::Text, false, 3));
    let second = socket.receive_frame_vec(&mut all).unwrap().unwrap();
    assert_eq!((second.opcode(), second.is_final()), (Opcode::Continuation, true));
    assert_eq!(all, b"onetwo");
    let close = socket.receive_frame_vec(&mut all).unwrap().unwrap();
    assert_eq!((close.opcode(), &all[6..]), (Opcode::Close, &[3, 232][..]));
    assert_eq!(socket.receive_frame_vec(&mut all).unwrap(), None);
}

#[test]
fn two_frames_in_one_segment_are_two_frames_at_once() {
    // The case in which Poco waits for 14 more bytes.
    let (mine, mut peer) = UnixStream::pair().unwrap();
    peer.write_all(&[frame(0x81, b"a"), frame(0x81, b"b")].concat()).unwrap();
    mine.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut socket = WebSocket::from_halves(mine, io::sink(), Mode::Server);
    assert_eq!(socket.receive_message().unwrap(), Some(text("a")));
    assert_eq!(socket.receive_message().unwrap(), Some(text("b")));
}

// 6: UTF-8

#[test]
fn text_that_is_not_utf_8_is_refused_also_across_fragments() {
    for bad in [
        &b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80"[..],
        b"\xff",
        b"\xc0\x80",
        b"\xf4\x90\x80\x80",
    ] {
        refused(&[frame(0x81, bad)], 1007);
        for at in 0..bad.len() {
            refused(&[frame(0x01, &bad[..at]), frame(0x80, &bad[at..])], 1007);
        }
    }
    refused(&[frame(0x01, "κ".as_bytes()), frame(0x80, b"\xce")], 1007);
}

#[test]
fn a_character_may_be_split_between_fragments() {
    let whole = "κόσμε\u{10ffff}";
    let fragments: Vec<_> = whole.bytes().map(|byte| frame(0x00, &[byte])).collect();
    taken(&[vec![frame(0x01, b"")], fragments, vec![frame(0x80, b"")]].concat(), &[text(whole)]);
}

// 7: closing

#[test]
fn a_close_frame_is_confirmed_with_its_code() {
    for code in
        [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999_u16]
    {
        let payload = [&code.to_be_bytes(), &b"why"[..]].concat();
        let (mut socket, written) = server(frame(0x88, &payload));
        assert_eq!(socket.receive_message().unwrap(), None);
        let close = CloseFrame { code: code.into(), reason: "why".into() };
        assert_eq!(socket.close_frame(), Some(&close));
        assert_eq!(written.frames(), [(0x88, false, payload)]);
    }
    let (mut socket, written) = server(frame(0x88, b""));
    assert_eq!(socket.receive_message().unwrap(), None);
    assert_eq!(socket.close_frame().unwrap().code, CloseCode::NO_STATUS);
    assert_eq!(written.frames(), [(0x88, false, vec![])]);
}

#[test]
fn close_frames_that_are_none_are_refused() {
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535_u16] {
        refused(&[frame(0x88, &code.to_be_bytes())], 1002);
    }
    refused(&[frame(0x88, b"\x03")], 1002);
    refused(&[frame(0x88, b"\x03\xe8\xff")], 1007);
}

#[test]
fn what_comes_behind_a_close_frame_is_not_read() {
    let (mut socket, written) =
        server([frame(0x88, &[3, 232]), frame(0x81, b"late"), frame(0x89, b"")].concat());
    assert_eq!(socket.receive_message().unwrap(), None);
    assert_eq!(socket.receive_message().unwrap(), None);
    assert_eq!(written.frames().len(), 1);
}

#[test]
fn a_stream_that_ends_without_a_close_frame_is_incomplete() {
    let whole = frame(0x81, b"Hello");
    for cut in 0..whole.len() {
        let (mut socket, written) = server(&whole[..cut]);
        let error = socket.receive_message().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Incomplete);
        let kind = WebSocketErrorKind::of(&error).unwrap();
        assert_eq!(
            kind,
            if cut == 0 { WebSocketErrorKind::NotClosed } else { WebSocketErrorKind::IncompleteFrame }
        );
        assert!(written.frames().is_empty(), "there is nobody to tell");
        assert!(socket.receive_message().is_err(), "and no endless loop");
    }
}

#[test]
fn nothing_is_sent_behind_a_close_frame() {
    let (socket, written) = server(vec![]);
    socket.shutdown_with(CloseCode::GOING_AWAY, "lunch").unwrap();
    assert!(socket.send_text("more").is_err());
    assert!(socket.send_ping(b"").is_err());
    assert!(socket.shutdown().is_err());
    assert_eq!(written.frames(), [(0x88, false, b"\x03\xe9lunch".to_vec())]);
}

#[test]
fn codes_that_are_never_sent_and_long_reasons_are_refused() {
    let (socket, written) = server(vec![]);
    for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
        assert_eq!(socket.shutdown_with(code.into(), "").unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
    assert!(socket.shutdown_with(CloseCode::NORMAL, &"x".repeat(124)).is_err());
    assert!(written.frames().is_empty());
    socket.shutdown_with(CloseCode::NORMAL, &"x".repeat(123)).unwrap();
}

#[test]
fn the_close_handshake_drops_messages_and_ends_with_the_peer_s_close() {
    let (mut socket, written) =
        server([frame(0x81, b"still"), frame(0x01, b"more"), frame(0x88, &[3, 232])].concat());
    socket.close_handshake(Duration::from_secs(10)).unwrap();
    assert_eq!(written.frames().len(), 1);
    assert_eq!(socket.close_frame().unwrap().code, CloseCode::NORMAL);
    socket.close_handshake(Duration::from_secs(10)).unwrap();
}

#[test]
fn the_close_handshake_does_not_wait_for_ever() {
    let (mine, peer) = UnixStream::pair().unwrap();
    mine.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut socket = WebSocket::from_halves(mine.try_clone().unwrap(), mine, Mode::Server);
    let start = Instant::now();
    let error = socket.close_handshake(Duration::from_millis(100)).unwrap_err();
    assert!(error.is_timeout());
    assert!((100..5000).contains(&start.elapsed().as_millis()));
    (&peer).read_exact(&mut [0; 4]).unwrap();
    drop(peer);
    socket.close_handshake(Duration::from_secs(10)).unwrap();
}

// 9 and 10: limits, large messages

#[test]
fn frames_and_messages_beyond_the_limit_are_refused_with_1009() {
    let (mut socket, written) = server(frame(0x82, &[0; 101]));
    assert_eq!(socket.max_payload_size(), 16 << 20);
    socket.set_max_payload_size(100);
    let error = socket.receive_message().unwrap_err();
    assert_eq!(
        (error.kind(), WebSocketErrorKind::of(&error).unwrap().code()),
        (ErrorKind::TooLarge, Some(10))
    );
    assert_eq!(written.close_code(), Some(1009));

    let (mut socket, written) =
        server([frame(0x02, &[0; 60]), frame(0x00, &[0; 40]), frame(0x80, &[0])].concat());
    socket.set_max_payload_size(100);
    assert_eq!(socket.receive_message().unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(written.close_code(), Some(1009));

    let (mut socket, _) = server([frame(0x02, &[0; 60]), frame(0x80, &[0; 40])].concat());
    socket.set_max_payload_size(100);
    assert_eq!(socket.receive_message().unwrap().unwrap().as_bytes().len(), 100);
}

#[test]
fn a_length_that_is_only_named_allocates_nothing() {
    let head = [&[0x82, 0xff][..], &(16_u64 << 20).to_be_bytes(), &MASK, b"few"].concat();
    let (mut socket, _) = server(head);
    assert_eq!(socket.receive_message().unwrap_err().kind(), ErrorKind::Incomplete);
    assert!(socket.incoming_capacity() <= 8192);
}

#[test]
fn a_frame_that_does_not_fit_stays_for_a_larger_buffer() {
    let (mut socket, written) = server([frame(0x81, b"Hello"), frame(0x81, b"x")].concat());
    let mut small = [0; 4];
    for _ in 0..2 {
        let error = socket.receive_frame(&mut small).unwrap_err();
        assert_eq!(WebSocketErrorKind::of(&error).unwrap().code(), Some(10));
    }
    let mut large = [0; 9];
    assert_eq!(socket.receive_frame(&mut large).unwrap().unwrap().length, 5);
    assert_eq!(&large[..5], b"Hello");
    assert_eq!(socket.receive_message().unwrap(), Some(text("x")));
    assert!(written.frames().is_empty());
}

#[test]
fn bytes_behind_the_handshake_come_first() {
    let bytes = [frame(0x81, b"early"), frame(0x81, b"late")].concat();
    for at in 0..=bytes.len() {
        let (socket, _) = server(&bytes[at..]);
        let mut socket = socket.with_buffered(bytes[..at].to_vec());
        assert_eq!(socket.receive_message().unwrap(), Some(text("early")));
        assert_eq!(socket.receive_message().unwrap(), Some(text("late")));
    }
}

#[test]
fn many_messages_of_random_sizes_come_through_a_dribbling_stream() {
    let mut random = Random::new(5);
    for _ in 0..20 {
        let mut frames = Vec::new();
        let mut messages = Vec::new();
        for _ in 0..random.below(30) {
            let length = [0, 3, 120, 200, 5000, 70_000][random.below(6)];
            let payload = random.bytes(length);
            let mut rest = &payload[..];
            let mut first = 0x02;
            while rest.len() > 10 && random.below(3) > 0 {
                let (piece, behind) = rest.split_at(random.below(rest.len()));
                frames.push(frame(first, piece));
                (first, rest) = (0x00, behind);
            }
            frames.push(frame(0x80 | first, rest));
            messages.push(Message::Binary(payload));
        }
        frames.push(frame(0x88, b""));
        let (mut socket, _) = dribbling_server(frames.concat(), 1 + random.below(9000));
        assert_eq!(receive_all(&mut socket).unwrap(), messages);
    }
}

// Sending

#[test]
fn fragments_are_sent_in_order_or_not_at_all() {
    let (socket, written) = server(vec![]);
    let state = |result: Result<()>| result.unwrap_err().kind();
    assert_eq!(state(socket.send_frame(b"", FrameFlags::LAST)), ErrorKind::IllegalState);
    socket.send_frame("é".as_bytes().split_at(1).0, Opcode::Text.into()).unwrap();
    socket.send_ping(b"between").unwrap();
    assert_eq!(state(socket.send_text("no")), ErrorKind::IllegalState);
    assert_eq!(state(socket.send_frame(b"x", FrameFlags::LAST)), ErrorKind::InvalidArgument);
    socket.send_frame("é".as_bytes().split_at(1).1, FrameFlags::LAST).unwrap();
    assert_eq!(state(socket.send_frame(b"", FrameFlags::from_bits(0xc1))), ErrorKind::InvalidArgument);
    assert_eq!(state(socket.send_frame(b"", FrameFlags::from_bits(0x83))), ErrorKind::InvalidArgument);
    assert_eq!(state(socket.send_frame(b"", Opcode::Ping.into())), ErrorKind::InvalidArgument);
    assert_eq!(state(socket.send_ping(&[0; 126])), ErrorKind::InvalidArgument);
    assert_eq!(state(socket.send_frame(b"\xff", FrameFlags::TEXT)), ErrorKind::InvalidArgument);
    let firsts: Vec<_> = written.frames().into_iter().map(|frame| frame.0).collect();
    assert_eq!(firsts, [0x01, 0x89, 0x80]);
}

/// Takes so many bytes and fails then.
struct Failing(usize);

impl Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let count = bytes.len().min(self.0);
        self.0 -= count;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn nothing_follows_half_a_frame() {
    let socket = WebSocket::from_halves(io::empty(), Failing(10), Mode::Server);
    socket.send_text("1234").unwrap();
    assert!(socket.send_text("5678").unwrap_err().is_timeout());
    assert_eq!(socket.send_text("9").unwrap_err().kind(), ErrorKind::IllegalState);
}

#[test]
fn a_time_out_inside_of_a_frame_loses_nothing() {
    struct Stutter(io::Cursor<Vec<u8>>, bool);
    impl Read for Stutter {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 { Err(io::ErrorKind::WouldBlock.into()) } else { self.0.read(&mut into[..1]) }
        }
    }
    let bytes = [frame(0x01, b"Hel"), frame(0x89, b"!"), frame(0x80, b"lo"), frame(0x88, b"")].concat();
    let mut socket = WebSocket::from_halves(Stutter(io::Cursor::new(bytes), false), io::sink(), Mode::Server);
    let mut messages = Vec::new();
    loop {
        match socket.receive_message() {
            Ok(None) => break,
            Ok(Some(message)) => messages.push(message),
            Err(error) => assert!(error.is_timeout()),
        }
    }
    assert_eq!(messages, [text("Hello")]);
}

// Two threads

#[test]
fn one_thread_sends_while_another_is_blocked_in_reading() {
    let (mine, peer) = UnixStream::pair().unwrap();
    let mut socket = WebSocket::from_halves(mine.try_clone().unwrap(), mine, Mode::Server);
    let mut client = WebSocket::from_halves(peer.try_clone().unwrap(), peer, Mode::Client);
    let sender = socket.sender();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            assert_eq!(socket.receive_message().unwrap(), Some(text("answer")));
            assert_eq!(socket.receive_message().unwrap(), None);
        });
        sender.send_text("question").unwrap();
        assert_eq!(client.receive_message().unwrap(), Some(text("question")));
        client.send_text("answer").unwrap();
        client.close_handshake(Duration::from_secs(10)).unwrap();
    });
}

#[test]
fn frames_of_many_senders_do_not_mix() {
    let (mine, peer) = UnixStream::pair().unwrap();
    let server = WebSocket::from_halves(io::empty(), mine, Mode::Server);
    let mut client = WebSocket::from_halves(peer, io::sink(), Mode::Client);
    std::thread::scope(|scope| {
        for number in 0..4_u8 {
            let sender = server.sender();
            scope.spawn(move || {
                for length in 0..200 {
                    sender.send_binary(&vec![number; length * 97]).unwrap();
                }
            });
        }
        for _ in 0..800 {
            let message = client.receive_message().unwrap().unwrap();
            let bytes = message.as_bytes();
            assert!(bytes.iter().all(|byte| *byte == bytes[0]));
        }
    });
}

/// Says that it was called, and waits until it may go on.
struct Gate(mpsc::Sender<()>, mpsc::Receiver<()>, Written);

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(()).unwrap();
        self.1.recv().unwrap();
        self.2.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_ping_is_read_past_while_another_thread_is_stuck_in_sending_and_answered_then() {
    let (called, calls) = mpsc::channel();
    let (go, gate) = mpsc::channel();
    let written = Written::default();
    let bytes = [frame(0x89, b"1"), frame(0x89, b"2"), frame(0x81, b"go on")].concat();
    let writer = Gate(called, gate, written.clone());
    let mut socket = WebSocket::from_halves(io::Cursor::new(bytes), writer, Mode::Server);
    let sender = socket.sender();
    std::thread::scope(|scope| {
        scope.spawn(move || sender.send_text("stuck").unwrap());
        calls.recv().unwrap();
        assert_eq!(socket.receive_message().unwrap(), Some(text("go on")));
        go.send(()).unwrap();
        calls.recv().unwrap();
        go.send(()).unwrap();
    });
    // RFC 6455, 5.5.3: the latest ping may be answered alone.
    assert_eq!(written.frames(), [(0x81, false, b"stuck".to_vec()), (0x8a, false, b"2".to_vec())]);
}

#[test]
fn a_close_or_a_violation_is_read_while_another_thread_is_stuck_in_sending_and_answered_then() {
    for (peer, code) in [(frame(0x88, b"\x0f\xa1"), 4001), (frame(0x83, b""), 1002)] {
        let (called, calls) = mpsc::channel();
        let (go, gate) = mpsc::channel();
        let written = Written::default();
        let writer = Gate(called, gate, written.clone());
        let mut socket = WebSocket::from_halves(io::Cursor::new(peer), writer, Mode::Server);
        let sender = socket.sender();
        std::thread::scope(|scope| {
            scope.spawn(move || sender.send_text("stuck").unwrap());
            calls.recv().unwrap();
            match code {
                1002 => assert!(WebSocketErrorKind::of(&socket.receive_message().unwrap_err()).is_some()),
                _ => assert_eq!(socket.receive_message().unwrap(), None),
            }
            go.send(()).unwrap();
            calls.recv().unwrap();
            go.send(()).unwrap();
        });
        assert_eq!(written.frames().len(), 2);
        assert_eq!(written.close_code(), Some(code));
    }
}

#[test]
fn the_close_handshake_waits_no_longer_for_a_thread_that_is_stuck_in_sending() {
    let (called, calls) = mpsc::channel();
    let (go, gate) = mpsc::channel();
    let written = Written::default();
    let mut socket = WebSocket::from_halves(io::empty(), Gate(called, gate, written.clone()), Mode::Server);
    let sender = socket.sender();
    std::thread::scope(|scope| {
        scope.spawn(move || sender.send_text("stuck").unwrap());
        calls.recv().unwrap();
        let start = Instant::now();
        assert!(socket.close_handshake(Duration::from_millis(50)).unwrap_err().is_timeout());
        let lasted = start.elapsed();
        assert!((50..5000).contains(&lasted.as_millis()), "{lasted:?}");
        go.send(()).unwrap();
    });
    assert_eq!(written.frames(), [(0x81, false, b"stuck".to_vec())]);
}

#[test]
fn a_ping_that_was_not_sent_is_not_waited_for() {
    let (socket, _) = server(b"");
    assert_eq!(socket.send_ping(&[0; 126]).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert!(!socket.awaits_pong());
    socket.send_ping(b"").unwrap();
    assert!(socket.awaits_pong());
}

#[test]
fn a_dropped_web_socket_closes_the_stream_and_ends_its_senders() {
    let (mine, mut peer) = UnixStream::pair().unwrap();
    let socket = WebSocket::from_halves(mine.try_clone().unwrap(), mine, Mode::Server);
    let sender = socket.sender();
    drop(socket);
    assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0);
    assert_eq!(sender.send_text("x").unwrap_err().kind(), ErrorKind::IllegalState);
}

#[test]
fn a_web_socket_that_is_dropped_while_a_thread_sends_is_closed_behind_that() {
    let (called, calls) = mpsc::channel();
    let (go, gate) = mpsc::channel();
    let written = Written::default();
    let socket = WebSocket::from_halves(io::empty(), Gate(called, gate, written.clone()), Mode::Server);
    let sender = socket.sender();
    std::thread::scope(|scope| {
        scope.spawn(move || sender.send_text("last").unwrap());
        calls.recv().unwrap();
        drop(socket);
        go.send(()).unwrap();
        // The writer is dropped, and its end of the channel with it.
        assert!(calls.recv().is_err());
    });
    assert_eq!(written.frames(), [(0x81, false, b"last".to_vec())]);
}

#[test]
fn the_halves_can_go_to_other_threads() {
    fn is_send<T: Send>() {}
    fn is_shared<T: Send + Sync + Clone>() {}
    is_send::<WebSocket>();
    is_shared::<WebSocketSender>();
    is_send::<Error>();
}
