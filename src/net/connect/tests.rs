use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::*;
use crate::net::testing::{Busy, aborted, dead, lasts, millis};

fn plain(addresses: &[SocketAddr], deadline: Deadline) -> Result<Socket> {
    connect(addresses, &ConnectOptions::default(), deadline, &AbortHandle::new())
}

fn listening() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[track_caller]
fn kind_of_cause(error: &Error) -> io::ErrorKind {
    assert_eq!((error.kind(), error.phase()), (ErrorKind::Connect, Some(Phase::Connect)));
    let source = std::error::Error::source(error).unwrap();
    source.downcast_ref::<io::Error>().unwrap().kind()
}

#[test]
fn a_connection_is_made_at_once_and_small_writes_leave_at_once() {
    let (_listener, address) = listening();
    let socket = lasts(Duration::ZERO, || plain(&[address], Deadline::never())).unwrap();
    assert_eq!(socket.peer_addr(), Some(address));
    let options = socket2::SockRef::from(&socket);
    assert!(options.tcp_nodelay().unwrap());
    assert!(!options.nonblocking().unwrap());
}

#[test]
fn a_refusal_says_so() {
    let error = lasts(Duration::ZERO, || plain(&[dead()], Deadline::never())).unwrap_err();
    assert_eq!(kind_of_cause(&error), io::ErrorKind::ConnectionRefused);
    let error = plain(&[dead(), dead()], Deadline::never()).unwrap_err();
    assert!(error.to_string().contains("any of 2 addresses"), "{error}");
    assert_eq!(kind_of_cause(&error), io::ErrorKind::ConnectionRefused);
    assert_eq!(plain(&[], Deadline::never()).unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn the_second_address_is_tried_as_soon_as_the_first_one_fails() {
    let (_listener, address) = listening();
    let socket = lasts(Duration::ZERO, || plain(&[dead(), dead(), address], Deadline::never())).unwrap();
    assert_eq!(socket.peer_addr(), Some(address));
}

#[test]
fn the_second_address_is_tried_after_a_quarter_of_a_second_and_the_first_does_not_eat_the_budget() {
    let busy = Busy::bind("127.0.0.1:0");
    let (_listener, address) = listening();
    let deadline = Deadline::after(millis(800));
    let socket = lasts(millis(250), || plain(&[busy.address, address], deadline)).unwrap();
    assert_eq!(socket.peer_addr(), Some(address));
}

#[test]
fn a_failure_of_the_second_has_the_third_tried_at_once() {
    let busy = Busy::bind("127.0.0.1:0");
    let (_listener, address) = listening();
    let addresses = [busy.address, dead(), address];
    let socket = lasts(millis(250), || plain(&addresses, Deadline::never())).unwrap();
    assert_eq!(socket.peer_addr(), Some(address));
}

#[test]
fn an_older_attempt_that_is_answered_after_all_wins() {
    let (mut slow, never) = (Busy::bind("127.0.0.1:0"), Busy::bind("127.0.0.1:0"));
    let addresses = [slow.address, never.address];
    let connecting = thread::spawn(move || plain(&addresses, Deadline::after(millis(5000))).unwrap());
    // With room in its backlog the listener answers when the system asks again, after a second.
    thread::sleep(millis(400));
    slow.make_room();
    assert_eq!(connecting.join().unwrap().peer_addr(), Some(slow.address));
}

#[test]
fn nobody_is_waited_for_past_the_deadline() {
    let (one, other) = (Busy::bind("127.0.0.1:0"), Busy::bind("127.0.0.1:0"));
    for (addresses, length) in [(vec![one.address], 150), (vec![one.address, other.address], 400)] {
        let deadline = Deadline::after(millis(length));
        let error = lasts(millis(length), || plain(&addresses, deadline)).unwrap_err();
        assert_eq!((error.kind(), error.phase()), (ErrorKind::Timeout, Some(Phase::Connect)));
    }
    let (_listener, address) = listening();
    let past = Deadline::at(Instant::now());
    assert!(lasts(Duration::ZERO, || plain(&[address], past)).unwrap_err().is_timeout());
}

#[test]
fn an_abort_ends_an_attempt() {
    let (one, other) = (Busy::bind("127.0.0.1:0"), Busy::bind("127.0.0.1:0"));
    for addresses in [vec![one.address], vec![one.address, other.address]] {
        let abort = AbortHandle::new();
        let handle = abort.clone();
        let error = aborted(&abort, move || {
            connect(&addresses, &ConnectOptions::default(), Deadline::never(), &handle).unwrap_err()
        });
        assert_eq!((error.kind(), error.phase()), (ErrorKind::Aborted, Some(Phase::Connect)));
    }
}

#[test]
fn an_abort_ends_a_race() {
    let busy: Vec<_> = (0..3).map(|_| Busy::bind("127.0.0.1:0")).collect();
    let addresses: Vec<_> = busy.iter().map(|busy| busy.address).collect();
    let abort = AbortHandle::new();
    let (tell, told) = std::sync::mpsc::channel();
    let mut options = ConnectOptions::default();
    options.set_hook(move |_| {
        let _ = tell.send(());
        Ok(())
    });
    let handle = abort.clone();
    let racing = thread::spawn(move || {
        let outcome = connect(&addresses, &options, Deadline::never(), &handle);
        (outcome.unwrap_err(), Instant::now())
    });
    (0..3).for_each(|_| told.recv().unwrap());
    let start = Instant::now();
    abort.abort();
    let (error, end) = racing.join().unwrap();
    assert!(error.is_aborted());
    assert!(end.duration_since(start) < millis(100));
}

#[test]
fn an_abort_at_any_moment_is_seen() {
    let busy = Busy::bind("127.0.0.1:0");
    for round in 0..200 {
        let abort = AbortHandle::new();
        let (handle, address) = (abort.clone(), busy.address);
        let connecting = thread::spawn(move || {
            connect(&[address], &ConnectOptions::default(), Deadline::after(millis(2000)), &handle)
                .unwrap_err()
        });
        (0..round * 20).for_each(|_| std::hint::spin_loop());
        abort.abort();
        assert!(connecting.join().unwrap().is_aborted());
    }
}

#[test]
fn families_take_turns_from_the_first_address_on() {
    let parse = |text: &[&str]| text.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
    let given = parse(&["[::1]:1", "[::2]:1", "[::3]:1", "1.0.0.1:1", "1.0.0.2:1"]);
    let order = parse(&["[::1]:1", "1.0.0.1:1", "[::2]:1", "1.0.0.2:1", "[::3]:1"]);
    assert_eq!(interleaved(&given), order);
    let given = parse(&["1.0.0.1:1", "[::1]:1", "[::2]:1", "[::3]:1"]);
    let order = parse(&["1.0.0.1:1", "[::1]:1", "[::2]:1", "[::3]:1"]);
    assert_eq!(interleaved(&given), order);
    assert_eq!(interleaved(&[dead(); 1000]).len(), MOST_ADDRESSES);
}

#[test]
fn the_source_is_chosen_by_the_family_of_the_target() {
    let (_listener, address) = listening();
    let mut options = ConnectOptions::default();
    options.set_source_address("[2001:db8::1]:0".parse().unwrap());
    options.set_source_address("127.0.0.2:0".parse().unwrap());
    let socket = connect(&[address], &options, Deadline::never(), &AbortHandle::new()).unwrap();
    assert_eq!(socket.local_addr().unwrap().ip().to_string(), "127.0.0.2");
    options.clear_source_addresses().set_source_address("203.0.113.1:0".parse().unwrap());
    let error = connect(&[address], &options, Deadline::never(), &AbortHandle::new()).unwrap_err();
    assert_eq!(kind_of_cause(&error), io::ErrorKind::AddrNotAvailable);
}

#[test]
fn the_hook_sees_each_socket_before_it_connects_and_may_refuse_it() {
    let (_listener, address) = listening();
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    let mut options = ConnectOptions::default();
    options.set_hook(move |socket| {
        assert_eq!(socket.peer_addr(), None);
        match count.fetch_add(1, Ordering::Relaxed) {
            0 => Err(io::ErrorKind::PermissionDenied.into()),
            _ => socket2::SockRef::from(socket).set_recv_buffer_size(10_000),
        }
    });
    let socket = connect(&[dead(), address], &options, Deadline::never(), &AbortHandle::new()).unwrap();
    assert_eq!(seen.load(Ordering::Relaxed), 2);
    assert_eq!(socket2::SockRef::from(&socket).recv_buffer_size().unwrap(), 20_000);
}

#[test]
fn a_socket_that_met_itself_is_no_connection() {
    let address = dead();
    let mut options = ConnectOptions::default();
    options.set_source_address(address);
    let error = connect(&[address], &options, Deadline::never(), &AbortHandle::new()).unwrap_err();
    assert_eq!(kind_of_cause(&error), io::ErrorKind::ConnectionRefused);
}

#[test]
fn looking_at_an_attempt_serves_where_nothing_can_wait_for_it() {
    let options = ConnectOptions::default();
    let (_listener, address) = listening();
    let busy = Busy::bind("127.0.0.1:0");
    let abort = AbortHandle::new();
    let limit = Limit::stall(millis(100));

    let socket = begin(address, &options, &abort).unwrap();
    lasts(Duration::ZERO, || socket.watch_connecting(&limit)).unwrap();
    assert_eq!(socket.peer_addr(), Some(address));

    let refused = begin(dead(), &options, &abort).and_then(|socket| socket.watch_connecting(&limit));
    assert_eq!(cause(&refused.unwrap_err()).kind(), io::ErrorKind::ConnectionRefused);

    let socket = begin(busy.address, &options, &abort).unwrap();
    assert!(lasts(millis(100), || socket.watch_connecting(&limit)).unwrap_err().is_timeout());
    let outcome = aborted(&abort, move || socket.watch_connecting(&Limit::none()));
    assert!(outcome.unwrap_err().is_aborted());
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("sessile-connect-{name}-{}", std::process::id()))
    }

    fn plain(path: &Path, deadline: Deadline, abort: &AbortHandle) -> Result<Socket> {
        connect_unix(path, &ConnectOptions::default(), deadline, abort)
    }

    #[test]
    fn a_unix_socket_is_reached_by_its_path() {
        let path = path("reach");
        let listener = UnixListener::bind(&path).unwrap();
        let socket = plain(&path, Deadline::never(), &AbortHandle::new()).unwrap();
        let (far, _) = listener.accept().unwrap();
        drop(far);
        assert_eq!(socket.read(&mut [0; 8], &Limit::none()).unwrap(), 0);
        drop(listener);
        let error = plain(&path, Deadline::never(), &AbortHandle::new()).unwrap_err();
        assert_eq!(kind_of_cause(&error), io::ErrorKind::ConnectionRefused);
        std::fs::remove_file(&path).unwrap();
        let error = plain(&path, Deadline::never(), &AbortHandle::new()).unwrap_err();
        assert_eq!(kind_of_cause(&error), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_busy_unix_socket_is_waited_for_within_limits() {
        let path = path("busy");
        let listener = socket2::Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        listener.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        listener.listen(0).unwrap();
        let first = plain(&path, Deadline::never(), &AbortHandle::new()).unwrap();

        let deadline = Deadline::after(millis(120));
        let error = lasts(millis(120), || plain(&path, deadline, &AbortHandle::new())).unwrap_err();
        assert_eq!((error.kind(), error.phase()), (ErrorKind::Timeout, Some(Phase::Connect)));

        let (abort, there) = (AbortHandle::new(), path.clone());
        let handle = abort.clone();
        let error = aborted(&abort, move || plain(&there, Deadline::never(), &handle)).unwrap_err();
        assert!(error.is_aborted());

        let there = path.clone();
        let waiting = thread::spawn(move || plain(&there, Deadline::never(), &AbortHandle::new()));
        listener.accept().unwrap();
        listener.accept().unwrap();
        waiting.join().unwrap().unwrap();
        drop(first);
        std::fs::remove_file(&path).unwrap();
    }
}
