use std::io::Write;
use std::time::Instant;

use super::*;
use crate::net::Deadline;
use crate::net::testing::{aborted, fill, interrupted, lasts, millis, tcp_pair};

fn set_count(socket: &Socket) -> u64 {
    socket.inner.settings.load(Ordering::Relaxed)
}

fn write_all(socket: &Socket, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let n = socket.write_vectored(&[IoSlice::new(bytes)], &Limit::none()).unwrap();
        bytes = &bytes[n..];
    }
}

fn write_until_error(socket: &Socket) -> Error {
    loop {
        if let Err(error) = socket.write_vectored(&[IoSlice::new(&[0; 1 << 16])], &Limit::none()) {
            return error;
        }
    }
}

fn read_all(socket: &Socket) -> Vec<u8> {
    let (mut all, mut block) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        match socket.read(&mut block, &Limit::stall(millis(5000))).unwrap() {
            0 => return all,
            n => all.extend_from_slice(&block[..n]),
        }
    }
}

fn numbered(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i / 3 + i / 1021) as u8).collect()
}

fn temporary(bytes: &[u8]) -> File {
    let name = format!("sessile-{}-{:?}", std::process::id(), thread::current().id());
    let path = std::env::temp_dir().join(name);
    let mut file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// Reads a little at a time, so that the writer always has to wait, until told to stop.
struct Sipping {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl Sipping {
    fn from(socket: Socket, bytes: usize, pause: Duration) -> Sipping {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let mut block = vec![0; bytes];
            while !stopped.load(Ordering::Relaxed) {
                socket.read(&mut block, &Limit::stall(millis(1000))).unwrap();
                thread::sleep(pause);
            }
        });
        Sipping { stop, thread }
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

#[test]
fn a_read_gives_up_after_its_stall_limit() {
    let (near, _far) = tcp_pair();
    let error = lasts(millis(200), || near.read(&mut [0; 8], &Limit::stall(millis(200)))).unwrap_err();
    assert!(error.is_timeout());
    assert_eq!(error.phase(), None);
}

#[test]
fn a_read_ends_at_its_deadline() {
    let (near, _far) = tcp_pair();
    let limit = Limit::stall(Duration::from_secs(60)).until(Deadline::after(millis(350)));
    assert!(lasts(millis(350), || near.read(&mut [0; 8], &limit)).unwrap_err().is_timeout());
}

#[test]
fn a_deadline_in_the_past_is_a_time_out_at_once_even_where_there_is_something_to_read() {
    let (near, far) = tcp_pair();
    write_all(&far, b"hello");
    let limit = Limit::from(Deadline::at(Instant::now()));
    lasts(Duration::ZERO, || {
        assert!(near.read(&mut [0; 8], &limit).unwrap_err().is_timeout());
        assert!(near.write_vectored(&[IoSlice::new(b"x")], &limit).unwrap_err().is_timeout());
        assert!(near.send_file(&temporary(b"x"), 0, 1, &limit).unwrap_err().is_timeout());
        assert!(near.read(&mut [0; 8], &Limit::stall(Duration::ZERO)).unwrap_err().is_timeout());
    });
    assert_eq!(near.read(&mut [0; 8], &Limit::none()).unwrap(), 5);
}

#[test]
fn a_write_to_a_full_socket_gives_up_after_its_limit() {
    for by_deadline in [false, true] {
        let (near, _far) = tcp_pair();
        fill(&near);
        let limit = match by_deadline {
            false => Limit::stall(millis(80)),
            true => Limit::from(Deadline::after(millis(80))),
        };
        let outcome = lasts(millis(80), || near.write_vectored(&[IoSlice::new(&[0; 1000])], &limit));
        assert!(outcome.unwrap_err().is_timeout());
    }
}

#[test]
fn a_timer_left_over_from_a_short_wait_does_not_end_a_long_one() {
    let (near, far) = tcp_pair();
    assert!(near.read(&mut [0; 8], &Limit::stall(millis(20))).unwrap_err().is_timeout());
    let longer = Limit::stall(millis(220));
    assert!(lasts(millis(220), || near.read(&mut [0; 8], &longer)).unwrap_err().is_timeout());

    assert!(near.read(&mut [0; 8], &Limit::stall(millis(20))).unwrap_err().is_timeout());
    let reader = thread::spawn(move || near.read(&mut [0; 8], &Limit::none()).unwrap());
    thread::sleep(millis(60));
    write_all(&far, b"hello");
    assert_eq!(reader.join().unwrap(), 5);
}

#[test]
fn the_timer_is_set_only_when_it_is_too_long() {
    let (near, far) = tcp_pair();
    write_all(&far, &[b'x'; 10_000]);
    let mut byte = [0];
    let mut sets = |limit: Limit, times: usize| {
        let before = set_count(&near);
        for _ in 0..times {
            assert_eq!(near.read(&mut byte, &limit).unwrap(), 1);
        }
        set_count(&near) - before
    };
    assert_eq!(sets(Limit::none(), 100), 0);
    assert_eq!(sets(Limit::stall(Duration::from_secs(60)), 100), 1);
    assert_eq!(sets(Limit::stall(Duration::from_secs(90)), 100), 0);
    assert_eq!(sets(Limit::none(), 100), 0);
    assert_eq!(sets(Limit::stall(Duration::from_secs(5)), 100), 1);
    let deadline = Limit::from(Deadline::after(Duration::from_secs(4)));
    assert_eq!(sets(deadline, 1000), 1);
    assert_eq!(sets(deadline, 1000), 0);
}

#[test]
fn an_abort_ends_a_read_by_its_flag_and_not_as_an_end() {
    let (near, far) = tcp_pair();
    let abort = near.abort_handle();
    let reader = near.clone();
    let error = aborted(&abort, move || reader.read(&mut [0; 8], &Limit::none())).unwrap_err();
    assert!(error.is_aborted());
    assert!(near.read(&mut [0; 8], &Limit::none()).unwrap_err().is_aborted());
    assert!(near.write_vectored(&[IoSlice::new(b"x")], &Limit::none()).unwrap_err().is_aborted());
    assert!(near.peek_nowait().unwrap_err().is_aborted());
    assert_eq!(far.read(&mut [0; 8], &Limit::stall(millis(1000))).unwrap(), 0);
}

#[test]
fn after_an_abort_not_even_what_has_come_is_read() {
    let (near, far) = tcp_pair();
    write_all(&far, b"hello");
    near.abort_handle().abort();
    assert!(near.read(&mut [0; 8], &Limit::none()).unwrap_err().is_aborted());
}

#[test]
fn an_abort_ends_reading_from_a_peer_that_never_pauses() {
    let (near, far) = tcp_pair();
    let abort = near.abort_handle();
    let writer = thread::spawn(move || {
        while far.write_vectored(&[IoSlice::new(&[0; 1 << 16])], &Limit::stall(millis(1000))).is_ok() {}
    });
    let (tell, told) = std::sync::mpsc::channel();
    let reader = thread::spawn(move || {
        loop {
            if let Err(error) = near.read(&mut [0; 1 << 16], &Limit::none()) {
                return (error, Instant::now());
            }
            let _ = tell.send(());
        }
    });
    told.recv().unwrap();
    let start = Instant::now();
    abort.abort();
    let (error, end) = reader.join().unwrap();
    assert!(error.is_aborted());
    assert!(end - start < millis(100));
    writer.join().unwrap();
}

#[test]
fn an_abort_ends_a_write_to_a_full_socket() {
    let (near, _far) = tcp_pair();
    fill(&near);
    let abort = near.abort_handle();
    let error = aborted(&abort, move || write_until_error(&near));
    assert!(error.is_aborted());
}

#[test]
fn an_abort_ends_the_sending_of_a_file() {
    let (near, _far) = tcp_pair();
    fill(&near);
    let abort = near.abort_handle();
    let file = temporary(&[1; 1 << 20]);
    let outcome = aborted(&abort, move || -> Result<(), Error> {
        loop {
            near.send_file(&file, 0, 1 << 20, &Limit::none())?;
        }
    });
    assert!(outcome.unwrap_err().is_aborted());
}

#[test]
fn shutting_down_a_clone_wakes_a_reader_with_an_end_which_is_no_abort() {
    let (near, _far) = tcp_pair();
    let reader = near.clone();
    let outcome = interrupted(
        || near.shutdown(Shutdown::Read).unwrap(),
        move || reader.read(&mut [0; 8], &Limit::none()),
    );
    assert_eq!(outcome.unwrap(), 0);
}

#[test]
fn another_handle_can_be_attached_and_the_one_before_does_nothing_then() {
    let (mut near, far) = tcp_pair();
    let (before, after) = (near.abort_handle(), AbortHandle::new());
    near.attach_abort(&after).unwrap();
    before.abort();
    write_all(&far, b"x");
    assert_eq!(near.read(&mut [0; 8], &Limit::none()).unwrap(), 1);
    let reader = near.clone();
    assert!(aborted(&after, move || reader.read(&mut [0; 8], &Limit::none())).unwrap_err().is_aborted());

    let used = AbortHandle::new();
    used.abort();
    assert!(tcp_pair().0.attach_abort(&used).unwrap_err().is_aborted());
}

#[test]
fn large_writes_leave_in_pieces_of_at_most_256_kib_and_in_order() {
    let (near, far) = tcp_pair();
    let bytes = numbered(3_000_000);
    let reader = thread::spawn(move || read_all(&far));
    let (a, rest) = bytes.split_at(100_000);
    let (b, c) = rest.split_at(400_000);
    let parts = [a, &[], b, c];
    let mut sent = 0;
    while sent < bytes.len() {
        let mut skip = sent;
        let slices: Vec<_> = parts
            .iter()
            .map(|part| {
                let skipped = skip.min(part.len());
                skip -= skipped;
                IoSlice::new(&part[skipped..])
            })
            .collect();
        let n = near.write_vectored(&slices, &Limit::stall(millis(5000))).unwrap();
        assert!(n <= 256 << 10, "{n}");
        sent += n;
    }
    assert!(near.write_vectored(&[IoSlice::new(&bytes)], &Limit::none()).unwrap() <= 256 << 10);
    near.shutdown(Shutdown::Write).unwrap();
    let come = reader.join().unwrap();
    assert_eq!(come[..bytes.len()], bytes);
}

#[test]
fn a_piece_ends_in_the_middle_of_a_part() {
    let (a, b, c) = (vec![0; 200 << 10], vec![1; 100 << 10], vec![2; 10]);
    let parts = [IoSlice::new(&a), IoSlice::new(&[]), IoSlice::new(&b), IoSlice::new(&c)];
    let mut into = [IoSlice::new(&[]); MOST_PARTS];
    let lengths: Vec<_> = clip(&parts, PIECE, &mut into).iter().map(|part| part.len()).collect();
    assert_eq!(lengths, [200 << 10, 56 << 10]);
    let many = vec![IoSlice::new(b"x"); 100];
    let mut into = [IoSlice::new(&[]); MOST_PARTS];
    assert_eq!(clip(&many, PIECE, &mut into).len(), MOST_PARTS);
}

#[test]
fn a_file_arrives_as_it_is() {
    let (near, far) = tcp_pair();
    let bytes = numbered(5_000_000);
    let file = temporary(&bytes);
    let reader = thread::spawn(move || read_all(&far));
    let mut at = 1234;
    if cfg!(target_os = "linux") {
        // More than is ever copied.
        at += near.send_file(&file, at, u64::MAX, &Limit::none()).unwrap();
        assert!(at > 1234 + FILE_BLOCK as u64);
    }
    loop {
        let n = near.send_file(&file, at, u64::MAX, &Limit::stall(millis(5000))).unwrap();
        if n == 0 {
            break;
        }
        at += n;
    }
    assert_eq!(at, 5_000_000);
    assert_eq!(near.send_file(&file, 100, 50, &Limit::none()).unwrap(), 50);
    assert_eq!(near.send_file(&file, 100, 0, &Limit::none()).unwrap(), 0);
    near.shutdown(Shutdown::Write).unwrap();
    let come = reader.join().unwrap();
    assert_eq!(come.len(), 5_000_000 - 1234 + 50);
    assert_eq!(come[..5_000_000 - 1234], bytes[1234..]);
    assert_eq!(come[5_000_000 - 1234..], bytes[100..150]);
    assert!(!near.inner.os.nonblocking().unwrap());
}

#[test]
fn a_file_that_can_t_be_sent_directly_is_copied() {
    let (near, far) = tcp_pair();
    let Ok(file) = File::open("/proc/version") else { return };
    let expected = std::fs::read("/proc/version").unwrap();
    let n = near.send_file(&file, 0, 1 << 20, &Limit::none()).unwrap();
    assert_eq!(n, expected.len() as u64);
    near.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&far), expected);
}

#[test]
fn a_deadline_holds_while_a_file_goes_to_somebody_who_reads_slowly() {
    let (near, far) = tcp_pair();
    // With small buffers the writer is let on in small steps, as by a peer far away.
    socket2::SockRef::from(&near).set_send_buffer_size(64 << 10).unwrap();
    socket2::SockRef::from(&far).set_recv_buffer_size(16 << 10).unwrap();
    fill(&near);
    let sipping = Sipping::from(far, 2_000, millis(5));
    let file = temporary(&vec![1; 40 << 20]);
    let limit = Limit::stall(Duration::from_secs(60)).until(Deadline::after(millis(300)));
    let error = lasts(millis(300), || {
        loop {
            if let Err(error) = near.send_file(&file, 0, 40 << 20, &limit) {
                return error;
            }
        }
    });
    assert!(error.is_timeout());
    near.abort_handle().abort();
    sipping.end();
}

#[cfg(unix)]
#[test]
fn a_deadline_holds_while_a_unix_socket_is_read_slowly() {
    let (near, far) = crate::net::testing::unix_pair();
    fill(&near);
    let sipping = Sipping::from(far, 2_000, millis(5));
    let limit = Limit::stall(Duration::from_secs(60)).until(Deadline::after(millis(300)));
    let error = lasts(millis(300), || {
        loop {
            if let Err(error) = near.write_vectored(&[IoSlice::new(&[1; 1 << 20])], &limit) {
                return error;
            }
        }
    });
    assert!(error.is_timeout());
    near.abort_handle().abort();
    sipping.end();
}

#[cfg(unix)]
#[test]
fn a_unix_socket_obeys_limits_and_aborts_too() {
    let (near, far) = crate::net::testing::unix_pair();
    let limit = Limit::stall(millis(100));
    assert!(lasts(millis(100), || near.read(&mut [0; 8], &limit)).unwrap_err().is_timeout());
    let reader = near.clone();
    let outcome = aborted(&near.abort_handle(), move || reader.read(&mut [0; 8], &Limit::none()));
    assert!(outcome.unwrap_err().is_aborted());
    assert_eq!((near.local_addr(), near.peer_addr()), (None, None));
    drop(far);

    let (near, _far) = crate::net::testing::unix_pair();
    fill(&near);
    let abort = near.abort_handle();
    assert!(aborted(&abort, move || write_until_error(&near)).is_aborted());
}

#[test]
fn peeking_tells_nothing_from_data_from_the_end_and_takes_nothing() {
    let (near, far) = tcp_pair();
    assert_eq!(near.peek_nowait().unwrap(), Readiness::Nothing);
    write_all(&far, b"ab");
    near.read(&mut [0; 1], &Limit::none()).unwrap();
    assert_eq!(near.peek_nowait().unwrap(), Readiness::Data);
    assert_eq!(near.peek_nowait().unwrap(), Readiness::Data);
    assert_eq!(near.read(&mut [0; 8], &Limit::none()).unwrap(), 1);
    far.shutdown(Shutdown::Write).unwrap();
    assert_eq!(near.read(&mut [0; 8], &Limit::none()).unwrap(), 0);
    assert_eq!(near.peek_nowait().unwrap(), Readiness::End);
}

#[test]
fn a_peer_that_is_gone_is_an_error_and_no_time_out() {
    let (near, far) = tcp_pair();
    write_all(&near, b"unread");
    drop(far);
    let error = loop {
        if let Err(error) = near.write_vectored(&[IoSlice::new(b"x")], &Limit::stall(millis(1000))) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::Io);
    let timed_out_by_tcp = failed(io::ErrorKind::TimedOut.into());
    assert_eq!(timed_out_by_tcp.kind(), ErrorKind::Io);
}

#[test]
fn the_last_clone_closes_and_a_handle_keeps_nothing_open() {
    let (near, far) = tcp_pair();
    let (clone, abort) = (near.clone(), near.abort_handle());
    drop(near);
    assert_eq!(far.peek_nowait().unwrap(), Readiness::Nothing);
    drop(clone);
    assert_eq!(far.read(&mut [0; 8], &Limit::stall(millis(1000))).unwrap(), 0);
    abort.abort();
}

#[test]
fn the_stream_comes_out_without_limits_and_without_an_abort() {
    let (near, far) = tcp_pair();
    near.read(&mut [0; 8], &Limit::stall(millis(10))).unwrap_err();
    let abort = near.abort_handle();
    let clone = near.clone();
    for socket in [near, clone] {
        let stream = socket.into_tcp_stream().unwrap();
        assert_eq!(stream.read_timeout().unwrap(), None);
        assert!(stream.nodelay().unwrap());
        abort.abort();
        (&stream).write_all(b"x").unwrap();
        assert_eq!(far.read(&mut [0; 1], &Limit::none()).unwrap(), 1);
    }
}

#[test]
fn a_stream_that_did_not_block_and_had_a_timer_does_not_disturb() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    stream.set_nonblocking(true).unwrap();
    stream.set_read_timeout(Some(millis(1))).unwrap();
    let socket = Socket::from_tcp(stream).unwrap();
    assert!(
        lasts(millis(100), || socket.read(&mut [0; 8], &Limit::stall(millis(100)))).unwrap_err().is_timeout()
    );
}

#[test]
fn sockets_go_to_any_thread() {
    fn all<T: Clone + Send + Sync + 'static>() {}
    all::<Socket>();
}
