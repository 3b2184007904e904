//! The store in Redis or Valkey, with servers that are started for the test, stopped, killed and
//! started again: `cargo test --features redis --test web_redis_store -- --ignored`.

#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

#[path = "support/redis.rs"]
mod redis;

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use redis::Redis;
use sessile::ErrorKind;
use sessile::message::{Request, Response};
use sessile::web::{RedisStore, SessionId, Visit, WebSession, WebSessionManager};

fn manager(store: RedisStore) -> WebSessionManager {
    WebSessionManager::builder(store).sweep_every(None).build()
}

fn visit(manager: &WebSessionManager, id: &SessionId) -> sessile::Result<Option<WebSession>> {
    let mut request = Request::get("/");
    request.headers_mut().set("Cookie", format!("id={id}")).unwrap();
    manager.find(&Visit::new(&request))
}

fn find(manager: &WebSessionManager, id: &SessionId) -> WebSession {
    visit(manager, id).unwrap().unwrap()
}

#[test]
#[ignore = "needs valkey-server"]
fn all_of_this_holds_with_valkey() {
    // The one that `tests/peers/install.sh` gets is built without TLS.
    redis::again_with_valkey(&["under_tls"]);
}

#[test]
#[ignore = "needs redis-server"]
fn redis_holds_no_id_and_expires_what_is_over() {
    let redis = Redis::start(&[]);
    let manager = manager(redis.store().with_prefix("t:"));
    let session = manager.new_session().unwrap();
    session.set("a", "value").unwrap();
    let key = redis.ask(&["KEYS", "*"]);
    assert!(key.starts_with("t:{") && !key.contains(&session.id().to_string()));
    assert!(!redis.ask(&["HGETALL", &key]).contains(&session.id().to_string()));
    let ttl = || redis.ask(&["PTTL", &key]).parse::<i64>().unwrap();
    // Half an hour, and the minute in which a request could still learn of the end.
    assert!((1_800_000..=1_860_000).contains(&ttl()), "{}", ttl());
    session.set_timeout(Some(Duration::from_secs(60)));
    assert!((60_000..=120_000).contains(&ttl()), "{}", ttl());
    session.set_timeout(None);
    assert_eq!(ttl(), -1);
    session.set_max_lifetime(Some(Duration::from_secs(600)));
    assert!((600_000..=660_000).contains(&ttl()), "{}", ttl());
    // What Redis removed is gone, without an error.
    redis.ask(&["PEXPIRE", &key, "1"]);
    while redis.ask(&["EXISTS", &key]) == "1" {
        thread::yield_now();
    }
    assert!(visit(&manager, &session.id()).unwrap().is_none());
    assert!(!session.is_valid());
    assert_eq!(redis.ask(&["DBSIZE"]), "0");
}

#[test]
#[ignore = "needs redis-server"]
fn sessions_survive_a_server_that_is_killed_and_nothing_is_mixed_up() {
    let mut redis = Redis::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let (here, there) = (manager(redis.store()), manager(redis.store()));
    let ids: Vec<SessionId> = (0..20).map(|_| here.new_session().unwrap().id()).collect();
    for (at, id) in ids.iter().enumerate() {
        find(&here, id).set("at", at).unwrap_or_default();
    }
    for round in 0..3 {
        here.sweep().unwrap();
        let running = find(&there, &ids[0]);
        running.set("late", round).unwrap();
        redis.kill();
        let error = visit(&here, &ids[1]).unwrap_err();
        assert_eq!((error.kind(), error.status_hint().map(|s| s.as_u16())), (ErrorKind::Store, Some(503)));
        assert!(there.finish(&running, &mut Response::new()).is_err());
        redis.run();
        // It may still be loading what it has.
        while visit(&here, &ids[1]).is_err() {
            thread::yield_now();
        }
        there.finish(&running, &mut Response::new()).unwrap();
        for (at, id) in ids.iter().enumerate() {
            assert_eq!(find(&there, id).get::<usize>("at").unwrap(), at);
        }
        assert_eq!(find(&here, &ids[0]).get::<i32>("late").unwrap(), round);
    }
}

#[test]
#[ignore = "needs redis-server"]
fn a_server_that_hangs_costs_its_time_out_and_then_nothing() {
    let redis = Redis::start(&[]);
    let manager = manager(redis.store().with_timeout(Duration::from_millis(400)));
    let id = manager.new_session().unwrap().id();
    redis.signal("STOP");
    let started = Instant::now();
    assert_eq!(visit(&manager, &id).unwrap_err().kind(), ErrorKind::Store);
    let first = started.elapsed();
    assert!(first >= Duration::from_millis(390) && first < Duration::from_secs(5), "{first:?}");
    // A hundred requests do not wait one after the other.
    let started = Instant::now();
    let failed = (0..100).filter(|_| visit(&manager, &id).is_err()).count();
    assert_eq!(failed, 100);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    redis.signal("CONT");
    let started = Instant::now();
    while visit(&manager, &id).is_err() {
        assert!(started.elapsed() < Duration::from_secs(20));
        thread::yield_now();
    }
}

#[test]
#[ignore = "needs redis-server"]
fn a_server_that_is_master_no_more_is_looked_up_again() {
    let (redis, master) = (Redis::start(&[]), Redis::start(&[]));
    let manager = manager(redis.store());
    let session = manager.new_session().unwrap();
    redis.ask(&["REPLICAOF", "127.0.0.1", &master.port.to_string()]);
    let connections = || {
        let stats = redis.ask(&["INFO", "stats"]);
        let line = stats.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    // One of each two is of the one who asks.
    let before = connections();
    for _ in 0..3 {
        assert_eq!(session.set("a", 1).unwrap_err().kind(), ErrorKind::Store);
    }
    assert_eq!(connections() - before, 2 + 1);
    redis.ask(&["REPLICAOF", "NO", "ONE"]);
    drop(master);
}

#[test]
#[ignore = "needs redis-server"]
fn nobody_there_is_an_error_at_once() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let manager = manager(RedisStore::open(&format!("redis://127.0.0.1:{port}")).unwrap());
    let error = manager.new_session().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store);
    assert_eq!(manager.statistics().active, 1, "it is kept for when the server is there");
}

#[test]
#[ignore = "needs redis-server"]
fn passwords_users_databases_and_sockets_of_the_system() {
    let redis = Redis::start(&["--requirepass", "open sesame", "--unixsocket", "FOLDER/redis.sock"]);
    redis.ask(&["-a", "open sesame", "ACL", "SETUSER", "web", "on", ">secret", "~*", "+@all"]);
    let port = redis.port;
    let socket = redis.folder.join("redis.sock");
    let works = |url: &str| manager(RedisStore::open(url).unwrap()).new_session().map(drop);
    works(&format!("redis://:open%20sesame@127.0.0.1:{port}")).unwrap();
    works(&format!("redis://web:secret@localhost:{port}/3")).unwrap();
    works(&format!("redis+unix://{}?pass=open%20sesame&db=2", socket.display())).unwrap();
    for url in [
        format!("redis://127.0.0.1:{port}"),
        format!("redis://:wrong@127.0.0.1:{port}"),
        format!("redis://:open%20sesame@127.0.0.1:{port}/999"),
    ] {
        let error = works(&url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Store);
        assert!(!format!("{error:?}").contains("sesame"));
    }
    let size = |database: &str| redis.ask(&["-a", "open sesame", "-n", database, "DBSIZE"]);
    assert_eq!((size("0").as_str(), size("3").as_str(), size("2").as_str()), ("1", "1", "1"));
}

#[cfg(feature = "tls")]
#[test]
#[ignore = "needs redis-server"]
fn under_tls_a_server_that_nobody_vouches_for_is_refused() {
    use sessile::tls::TlsContext;

    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut redis = Redis::start(&[]);
    redis.kill();
    let certificate = redis.folder.join("certificate.pem");
    let key = redis.folder.join("key.pem");
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let tls_port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let path = |path: &PathBuf| path.to_string_lossy().into_owned();
    redis.options = ["--tls-port", &tls_port.to_string(), "--tls-auth-clients", "no", "--tls-cert-file"]
        .into_iter()
        .map(str::to_owned)
        .chain([path(&certificate), "--tls-key-file".to_owned(), path(&key)])
        .collect();
    redis.run();
    let open = || RedisStore::open(&format!("rediss://localhost:{tls_port}")).unwrap();
    assert_eq!(manager(open()).new_session().unwrap_err().kind(), ErrorKind::Store);
    let context = TlsContext::client().only_added_cas().add_ca_pem(made.cert.pem()).build().unwrap();
    let manager = manager(open().with_tls(context));
    let session = manager.new_session().unwrap();
    for round in 0..50 {
        session.set("a", "x".repeat(1000 * round)).unwrap();
    }
    assert_eq!(find(&manager, &session.id()).get::<String>("a").unwrap().len(), 49_000);
    assert_eq!(redis.ask(&["DBSIZE"]), "1");
}

#[test]
#[ignore = "needs redis-server"]
fn a_request_costs_one_script_to_open_and_one_to_save() {
    let redis = Redis::start(&[]);
    let manager = manager(redis.store());
    let id = manager.new_session().unwrap().id();
    let request = |value: i32| {
        let session = find(&manager, &id);
        session.set("a", value).unwrap();
        session.set("b", value).unwrap();
        manager.finish(&session, &mut Response::new()).unwrap();
    };
    // From now on Redis knows the scripts.
    request(1);
    redis.ask(&["CONFIG", "RESETSTAT"]);
    (2..12).for_each(request);
    let asked = redis.ask(&["INFO", "commandstats"]);
    assert!(asked.contains("cmdstat_evalsha:calls=20,"), "{asked}");
    // What the scripts call is counted too; they don't call these.
    assert!(!asked.contains("cmdstat_eval:") && !asked.contains("cmdstat_hget:"), "{asked}");
    assert!(!asked.contains("cmdstat_ping:") && !asked.contains("cmdstat_script"), "{asked}");
}

#[test]
#[ignore = "needs redis-server"]
fn few_connections_serve_many_threads() {
    let redis = Redis::start(&[]);
    let manager = manager(redis.store().with_max_connections(2));
    let id = manager.new_session().unwrap().id();
    let most = Mutex::new(0);
    thread::scope(|scope| {
        for number in 0..16 {
            let (manager, most, redis) = (&manager, &most, &redis);
            scope.spawn(move || {
                for round in 0..20 {
                    let session = find(manager, &id);
                    session.set(&format!("{number} {round}"), round).unwrap();
                    manager.finish(&session, &mut Response::new()).unwrap();
                }
                let clients =
                    redis.ask(&["CLIENT", "LIST"]).lines().filter(|line| !line.contains("redis-cli")).count();
                let mut most = most.lock().unwrap();
                *most = clients.max(*most);
            });
        }
    });
    assert_eq!(find(&manager, &id).attribute_names().unwrap().len(), 320);
    // Those who asked are clients too.
    assert!(*most.lock().unwrap() <= 2 + 16);
}

#[test]
#[ignore = "needs redis-server"]
fn scripts_and_sessions_that_redis_forgets() {
    let redis = Redis::start(&[]);
    let manager = manager(redis.store());
    let session = manager.new_session().unwrap();
    let reason = Arc::new(Mutex::new(None));
    let seen = reason.clone();
    session.on_session_ends(move |ended| *seen.lock().unwrap() = Some(ended.reason())).unwrap().keep();
    redis.ask(&["SCRIPT", "FLUSH"]);
    session.set("a", 1).unwrap();
    redis.ask(&["FLUSHALL"]);
    assert_eq!(session.set("a", 2).unwrap_err().kind(), ErrorKind::IllegalState);
    assert_eq!(*reason.lock().unwrap(), Some(sessile::web::EndReason::Lost));
    // Something else under a session's key is a lost session.
    let session = manager.new_session().unwrap();
    let key = redis.ask(&["KEYS", "sessile:{*"]);
    redis.ask(&["HDEL", &key, "n"]);
    let other = WebSessionManager::builder(redis.store()).sweep_every(None).build();
    assert!(visit(&other, &session.id()).unwrap().is_none());
    redis.ask(&["HSET", &key, "n", "", "v", "junk"]);
    assert!(visit(&other, &session.id()).unwrap().is_none());
    redis.ask(&["SET", &key, "junk"]);
    assert!(visit(&other, &session.id()).unwrap().is_none());
}

#[test]
#[ignore = "needs redis-server"]
fn an_index_of_a_principal_does_not_grow_without_end() {
    let redis = Redis::start(&[]);
    let manager = manager(redis.store());
    for _ in 0..100 {
        let session = manager.new_session().unwrap();
        session.set_principal(Some("ann")).unwrap();
        session.invalidate().unwrap();
    }
    let index = redis.ask(&["KEYS", "sessile:p:*"]);
    let members = || redis.ask(&["ZCARD", &index]).parse::<usize>().unwrap();
    assert_eq!(members(), 100);
    // As if that were long ago.
    let age =
        "for _, m in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do redis.call('ZADD', KEYS[1], 1, m) end";
    redis.ask(&["EVAL", age, "1", &index]);
    for _ in 0..16 {
        let session = manager.new_session().unwrap();
        session.set_principal(Some("ann")).unwrap();
        session.invalidate().unwrap();
    }
    assert!(members() <= 16, "{}", members());
    let session = manager.new_session().unwrap();
    session.set_principal(Some("ann")).unwrap();
    session.rotate_id().unwrap();
    assert_eq!(manager.end_all_of("ann").unwrap(), 1);
    assert!(manager.sessions_of("ann").unwrap().is_empty());
    // Those that live stay in it, however often it is looked through.
    for round in 1..=3 {
        for _ in 0..100 {
            manager.new_session().unwrap().set_principal(Some("ann")).unwrap();
        }
        redis.ask(&["EVAL", age, "1", &index]);
        assert_eq!(manager.sessions_of("ann").unwrap().len(), 100 * round);
    }
}

#[test]
#[ignore = "needs redis-server"]
fn a_cluster_is_one_store() {
    let nodes: Vec<Redis> = (0..3)
        .map(|_| Redis::start(&["--cluster-enabled", "yes", "--cluster-config-file", "FOLDER/nodes.conf"]))
        .collect();
    let addresses: Vec<String> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
    let made = Command::new("redis-cli")
        .args(["--cluster", "create"])
        .args(&addresses)
        .arg("--cluster-yes")
        .output();
    assert!(made.unwrap().status.success());
    while !nodes.iter().all(|node| node.ask(&["CLUSTER", "INFO"]).contains("cluster_state:ok")) {
        thread::yield_now();
    }
    let urls: Vec<String> = nodes.iter().map(Redis::url).collect();
    let store = || {
        RedisStore::cluster(urls.iter().map(String::as_str)).unwrap().with_timeout(Duration::from_secs(10))
    };
    let (here, there) = (manager(store()), manager(store()));
    let sessions: Vec<WebSession> = (0..60).map(|_| here.new_session().unwrap()).collect();
    for (at, session) in sessions.iter().enumerate() {
        session.set("at", at).unwrap();
        if at % 3 == 0 {
            session.set_principal(Some("ann")).unwrap();
            let old = session.id();
            session.rotate_id_with_grace(Duration::from_secs(60)).unwrap();
            assert_eq!(find(&there, &old).get::<usize>("at").unwrap(), at);
        }
        assert_eq!(find(&there, &session.id()).get::<usize>("at").unwrap(), at);
    }
    let spread: Vec<usize> = nodes.iter().map(|node| node.ask(&["DBSIZE"]).parse().unwrap()).collect();
    assert!(spread.iter().all(|keys| *keys > 5), "{spread:?}");
    assert_eq!(here.count().unwrap(), 60);
    assert_eq!(there.end_all_of("ann").unwrap(), 20);
    assert_eq!(there.count().unwrap(), 40);
    assert!(visit(&here, &sessions[0].id()).unwrap().is_none());
}
