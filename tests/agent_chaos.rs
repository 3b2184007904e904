//! A server that does anything at all: whatever happens to one call, no other call sees it.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

#[path = "support/origin.rs"]
mod origin;

use std::collections::HashMap;
use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use origin::{Origin, head, say};
use sessile::client::{AgentResponse, Content, UserAgent};
use sessile::message::Method;
use sessile::net::AbortHandle;
use sessile::session::Timeouts;

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % most
    }
}

/// The content that belongs to a target, and to no other.
fn content_of(target: &str) -> Vec<u8> {
    let length = target.bytes().fold(7, |n, byte| (n * 31 + usize::from(byte)) % 5000) * 7;
    target.bytes().cycle().take(length).collect()
}

/// Another response than the one that was asked for.
const POISON: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";

/// Answers one request somehow. Says whether the connection goes on.
fn answer_somehow(
    asked: &origin::Asked,
    reader: &mut BufReader<TcpStream>,
    stream: &mut TcpStream,
    dice: &mut Dice,
) -> bool {
    let content = content_of(&asked.target);
    let announced: u64 = asked.field("Content-Length").map_or(0, |length| length.parse().unwrap());
    let chunked = asked.field("Transfer-Encoding").is_some();
    let way = dice.below(16);
    if way == 0 {
        return false;
    }
    // Early, before the request is there.
    if way == 1 && (announced > 0 || chunked) {
        let refusal = format!("HTTP/1.1 413 No\r\nContent-Length: {}\r\n\r\n", content.len());
        let _ = stream.write_all(&[refusal.as_bytes(), &content].concat());
        let _ = stream.shutdown(Shutdown::Write);
        let _ = std::io::copy(reader, &mut std::io::sink());
        return false;
    }
    if chunked {
        let mut all = Vec::new();
        let mut byte = [0];
        while !all.ends_with(b"\r\n0\r\n\r\n") && !all.starts_with(b"0\r\n\r\n") {
            if reader.read(&mut byte).unwrap_or(0) == 0 {
                return false;
            }
            all.push(byte[0]);
        }
    } else if reader.take(announced).read_to_end(&mut Vec::new()).is_err() {
        return false;
    }
    if dice.below(4) == 0 {
        say(stream, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n");
    }
    let with_length = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", content.len());
    let whole = match way {
        2 => [b"HTTP/1.1 200 OK\r\n\r\n", &content[..]].concat(),
        3..=6 => {
            let mut bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            let size = 1 + dice.below(3000);
            for chunk in content.chunks(size) {
                write!(bytes, "{:x}\r\n", chunk.len()).unwrap();
                bytes.extend([chunk, b"\r\n"].concat());
            }
            bytes.extend(b"0\r\nX-End: 1\r\n\r\n");
            bytes
        }
        7 => format!("HTTP/1.1 307 Go\r\nContent-Length: 0\r\nLocation: {}&r\r\n\r\n", asked.target)
            .into_bytes(),
        _ => [with_length.as_bytes(), &content].concat(),
    };
    // What nobody asked for comes along with the response: what comes later could be the next one.
    if (10..=12).contains(&way) && whole.len() < 16_000 {
        let more = if way == 12 { "\r\n" } else { POISON };
        return stream.write_all(&[&whole, more.as_bytes()].concat()).is_ok();
    }
    // In pieces, some of them cut.
    let end = if way == 8 { dice.below(whole.len()) } else { whole.len() };
    let mut rest = &whole[..end];
    while !rest.is_empty() {
        let n = (1 + dice.below(4000)).min(rest.len());
        if stream.write_all(&rest[..n]).is_err() {
            return false;
        }
        rest = &rest[n..];
    }
    !matches!(way, 2 | 8 | 9)
}

#[test]
fn whatever_a_server_does_each_call_gets_its_own_content_or_an_error_in_time() {
    const THREADS: usize = 8;
    const CALLS: usize = 150;
    let seen: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
    let counted = seen.clone();
    let port = Origin::raw(move |connection, stream| {
        let mut dice = Dice(connection as u64);
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        for number in 1.. {
            let Some(asked) = head(&mut reader, connection, number) else { return };
            *counted.lock().unwrap().entry(format!("{} {}", asked.method, asked.target)).or_default() += 1;
            if !answer_somehow(&asked, &mut reader, stream, &mut dice) {
                return;
            }
        }
    });
    let agent = UserAgent::builder()
        .timeouts(Timeouts { total: Some(Duration::from_secs(5)), ..Timeouts::all(Duration::from_secs(5)) })
        .build()
        .unwrap();
    let (whole, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (agent, whole, failed) = (agent.clone(), &whole, &failed);
            scope.spawn(move || {
                let mut dice = Dice(1000 + thread as u64);
                for call in 0..CALLS {
                    let method =
                        [Method::GET, Method::PUT, Method::POST, Method::DELETE][dice.below(4)].clone();
                    let mut request =
                        agent.request(method, format!("http://127.0.0.1:{port}/{thread}/{call}?a"));
                    request = match dice.below(5) {
                        0 => request.content(vec![b'x'; 10]),
                        1 => request.content(vec![b'x'; 300_000]),
                        2 => request.content_from(std::io::repeat(b'x').take(50_000)),
                        3 => request.content(Content::from(vec![b'x'; 20_000])).chunked(true),
                        _ => request,
                    };
                    let start = Instant::now();
                    let result = request.send().and_then(|mut response| {
                        let uri = response.uri().clone();
                        match dice.below(5) {
                            // Left where it is.
                            0 => return Ok(()),
                            1 => {
                                let mut some = vec![0; 1 + dice.below(2000)];
                                let n = response.read(&mut some)?;
                                assert!(content_of(uri.request_target()).starts_with(&some[..n]));
                                return Ok(());
                            }
                            _ => {}
                        }
                        let content = response.read_to_vec()?;
                        assert!(
                            content == content_of(uri.request_target()),
                            "{uri}: {} bytes",
                            content.len()
                        );
                        Ok(())
                    });
                    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
                    match result {
                        Ok(()) => whole.fetch_add(1, Ordering::SeqCst),
                        Err(error) => {
                            assert!(!error.is_timeout(), "nothing takes so long: {error:?}");
                            failed.fetch_add(1, Ordering::SeqCst)
                        }
                    };
                }
            });
        }
    });
    for (request, count) in seen.lock().unwrap().iter() {
        let most = if request.starts_with("POST ") { 1 } else { 2 };
        assert!(*count <= most, "{request} was made {count} times");
    }
    let (whole, failed) = (whole.into_inner(), failed.into_inner());
    assert_eq!(whole + failed, THREADS * CALLS);
    assert!(whole > failed && failed > 0, "{whole} whole, {failed} failed");
}

#[test]
fn an_abort_at_any_moment_ends_its_call_and_no_other() {
    const THREADS: usize = 8;
    const CALLS: usize = 100;
    let origin = Origin::serving(|asked, stream| {
        let content = content_of(&asked.target);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", content.len());
        let mut goes_on = say(stream, &head);
        for piece in content.chunks(3000) {
            goes_on = goes_on && stream.write_all(piece).is_ok();
        }
        goes_on
    });
    let agent = UserAgent::new();
    let (aborted, whole) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (agent, origin, aborted, whole) = (agent.clone(), &origin, &aborted, &whole);
            let (aborts, wanted) = mpsc::channel::<(AbortHandle, Duration)>();
            scope.spawn(move || {
                for (abort, after) in wanted {
                    let start = Instant::now();
                    while start.elapsed() < after {
                        std::hint::spin_loop();
                    }
                    abort.abort();
                }
            });
            scope.spawn(move || {
                let mut dice = Dice(thread as u64);
                for call in 0..CALLS {
                    let target = format!("/{thread}/{call}");
                    let mut request =
                        agent.put(origin.url(&target)).content(vec![b'x'; dice.below(3) * 20_000]);
                    let abort = (dice.below(2) == 0).then(AbortHandle::new);
                    if let Some(abort) = &abort {
                        request = request.abort_handle(abort);
                        let after = Duration::from_micros(dice.below(1500) as u64);
                        aborts.send((abort.clone(), after)).unwrap();
                    }
                    match request.send().and_then(AgentResponse::read_to_vec) {
                        Ok(content) => {
                            assert!(content == content_of(&target), "{target}");
                            whole.fetch_add(1, Ordering::SeqCst);
                        }
                        Err(error) => {
                            assert!(abort.is_some() && error.is_aborted(), "{target}: {error:?}");
                            aborted.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                }
            });
        }
    });
    let (whole, aborted) = (whole.into_inner(), aborted.into_inner());
    assert_eq!(whole + aborted, THREADS * CALLS);
    assert!(whole > THREADS * CALLS / 4 && aborted > 0, "{whole} whole, {aborted} aborted");
}
