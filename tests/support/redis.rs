//! Servers of Redis or Valkey that are started for a test, stopped, killed and started again.

#![allow(dead_code)] // each test file uses its part
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use sessile::web::RedisStore;

/// The name of the server's program, where it is not Redis's own.
const PROGRAM: &str = "SESSILE_TEST_REDIS_PROGRAM";

/// Runs the peer tests of this file again, with Valkey, apart from those with this in their names.
pub(crate) fn again_with_valkey(but: &[&str]) {
    let mut tests = Command::new(std::env::current_exe().unwrap());
    tests.args(["--ignored", "--skip", "valkey"]);
    for name in but {
        tests.args(["--skip", name]);
    }
    assert!(tests.env(PROGRAM, "valkey-server").status().unwrap().success());
}

/// A server of the test's own.
pub(crate) struct Redis {
    pub(crate) port: u16,
    pub(crate) folder: PathBuf,
    pub(crate) options: Vec<String>,
    program: String,
    process: Option<Child>,
}

impl Redis {
    pub(crate) fn start(options: &[&str]) -> Redis {
        let program = std::env::var(PROGRAM);
        Redis::start_program(program.as_deref().unwrap_or("redis-server"), options)
    }

    pub(crate) fn start_program(program: &str, options: &[&str]) -> Redis {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, SeqCst);
        let folder = std::env::temp_dir().join(format!("sessile-redis-{}-{number}", std::process::id()));
        _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let options =
            options.iter().map(|option| option.replace("FOLDER", &folder.to_string_lossy())).collect();
        let mut redis = Redis { port, folder, options, program: program.to_owned(), process: None };
        redis.run();
        redis
    }

    pub(crate) fn run(&mut self) {
        let process = Command::new(&self.program)
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--dir", &self.folder.to_string_lossy()])
            .args(&self.options)
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", self.program));
        self.process = Some(process);
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(20), "it does not start");
            thread::yield_now();
        }
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// `STOP` and `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.process.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// What `redis-cli` says.
    pub(crate) fn ask(&self, command: &[&str]) -> String {
        let output =
            Command::new("redis-cli").args(["-p", &self.port.to_string()]).args(command).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn store(&self) -> RedisStore {
        RedisStore::open(&self.url()).unwrap().with_timeout(Duration::from_secs(10))
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
        _ = fs::remove_dir_all(&self.folder);
    }
}
