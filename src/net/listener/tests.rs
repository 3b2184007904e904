use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::net::Limit;
use crate::net::testing::{interrupted, lasts};

fn bound(address: &str) -> Listener {
    Listener::bind(address.parse().unwrap()).unwrap()
}

fn client(listener: &Listener) -> TcpStream {
    let mut address = listener.local_addr().unwrap();
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    TcpStream::connect(address).unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn behind_a_shut_door_nobody_new_is_let_in_and_nobody_is_lost() {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let early = TcpStream::connect(address).unwrap();
    listener.stop();
    listener.shut_door();
    let late = TcpStream::connect_timeout(&address, Duration::from_millis(100)).unwrap_err();
    assert_eq!(late.kind(), io::ErrorKind::TimedOut, "neither let in nor reset");
    let (mut stream, peer) = listener.accept_nowait().unwrap().unwrap();
    assert_eq!(peer, Some(early.local_addr().unwrap()));
    assert!(listener.accept_nowait().unwrap().is_none());
    listener.close().unwrap();
    // The connection that was made before works on, with the filter that it has inherited.
    (&early).write_all(b"hello").unwrap();
    let mut bytes = [0; 8];
    assert_eq!(stream.read(&mut bytes, &Limit::stall(Duration::from_secs(5))).unwrap(), 5);
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn what_comes_in_is_ready_for_use() {
    let listener = bound("127.0.0.1:0");
    let client = client(&listener);
    let (stream, peer) = listener.accept().unwrap().unwrap();
    assert_eq!(peer, Some(client.local_addr().unwrap()));
    assert_eq!((stream.local_addr(), stream.peer_addr()), (listener.local_addr(), peer));
    let options = socket2::SockRef::from(stream.socket().unwrap());
    assert!(options.tcp_nodelay().unwrap());
    assert!(!options.nonblocking().unwrap());
    assert_eq!(options.read_timeout().unwrap(), None);
}

#[test]
fn stopping_wakes_an_acceptor_wherever_it_listens() {
    for address in ["127.0.0.1:0", "0.0.0.0:0", "127.0.0.3:0", "[::1]:0", "[::]:0"] {
        let Ok(listener) = Listener::bind(address.parse().unwrap()) else {
            assert!(address.contains(':'), "{address}");
            continue;
        };
        let listener = Arc::new(listener);
        let acceptor = listener.clone();
        let outcome = interrupted(|| listener.stop(), move || acceptor.accept());
        assert!(outcome.unwrap().is_none(), "{address}");
        assert!(listener.is_stopped());
        // Our own connection is not among those that are left.
        assert!(listener.accept_nowait().unwrap().is_none(), "{address}");
    }
}

#[test]
fn who_was_let_in_before_the_stop_is_still_served() {
    let listener = bound("127.0.0.1:0");
    let clients: Vec<_> = (0..5).map(|_| client(&listener)).collect();
    listener.stop();
    assert!(listener.accept().unwrap().is_none());
    for client in &clients {
        let (_, peer) = listener.accept_nowait().unwrap().unwrap();
        assert_eq!(peer, Some(client.local_addr().unwrap()));
    }
    assert!(lasts(Duration::ZERO, || listener.accept_nowait()).unwrap().is_none());
    listener.close().unwrap();
}

#[test]
fn stopping_leaves_an_inherited_socket_as_it_was() {
    let owner = TcpListener::bind("127.0.0.1:0").unwrap();
    owner.set_nonblocking(true).unwrap();
    let listener = Listener::from_tcp(owner.try_clone().unwrap()).unwrap();
    listener.stop();
    while listener.accept_nowait().unwrap().is_some() {}
    listener.close().unwrap();
    let _client = TcpStream::connect(owner.local_addr().unwrap()).unwrap();
    owner.accept().unwrap();
}

#[test]
fn an_address_can_be_taken_again_and_not_taken_twice() {
    let listener = bound("127.0.0.1:0");
    let address = listener.local_addr().unwrap();
    let _client = client(&listener);
    assert_eq!(Listener::bind(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    drop(listener.accept().unwrap());
    drop(listener);
    Listener::bind(address).unwrap();
}

#[test]
fn acceptors_may_be_several() {
    fn all<T: Send + Sync + 'static>() {}
    all::<Listener>();
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::os::unix::net::{UnixListener, UnixStream};

    fn path(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("sessile-listen-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        path
    }

    #[test]
    fn a_unix_socket_serves_and_its_file_goes_with_it() {
        let path = path("serve");
        let listener = Listener::bind_unix(&path).unwrap();
        assert_eq!((listener.local_addr(), listener.path()), (None, Some(path.clone())));
        let client = UnixStream::connect(&path).unwrap();
        let (mut stream, peer) = listener.accept().unwrap().unwrap();
        assert!(peer.is_none() && matches!(stream, Stream::Unix(_)));
        drop(client);
        assert_eq!(stream.read(&mut [0; 8], &Limit::none()).unwrap(), 0);
        listener.close().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn only_a_socket_that_nobody_serves_is_replaced() {
        let path = path("replace");
        drop(UnixListener::bind(&path).unwrap());
        let listener = Listener::bind_unix(&path).unwrap();
        assert_eq!(Listener::bind_unix(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        UnixStream::connect(&path).unwrap();

        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "precious").unwrap();
        assert_eq!(Listener::bind_unix(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        listener.close().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn stopping_wakes_an_acceptor_even_where_the_path_is_gone() {
        for remove in [false, true] {
            let path = path("stop");
            let listener = Arc::new(Listener::bind_unix(&path).unwrap());
            if remove {
                std::fs::remove_file(&path).unwrap();
            }
            let acceptor = listener.clone();
            let outcome = interrupted(
                || listener.stop(),
                move || {
                    // The connection that wakes it can't be told from a client's that says nothing.
                    while let Some((mut stream, _)) = acceptor.accept()? {
                        assert_eq!(stream.read(&mut [0; 8], &Limit::none())?, 0);
                    }
                    Ok::<(), io::Error>(())
                },
            );
            outcome.unwrap();
            Arc::into_inner(listener).unwrap().close().unwrap();
        }
    }

    #[test]
    fn one_that_was_made_elsewhere_is_served_and_left() {
        let path = path("given");
        let given = UnixListener::bind(&path).unwrap();
        let listener = Listener::from_unix(given.try_clone().unwrap()).unwrap();
        let _client = UnixStream::connect(&path).unwrap();
        assert!(matches!(listener.accept().unwrap(), Some((Stream::Unix(_), None))));
        listener.stop();
        listener.close().unwrap();
        assert!(path.exists());
        std::fs::remove_file(&path).unwrap();
    }
}
