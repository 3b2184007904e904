//! The example programs as child processes, for tests that see them from outside.

#![allow(dead_code)] // each test program uses a part of this
#![allow(clippy::unwrap_used, clippy::panic)]

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Where cargo has put an example: `cargo test` builds them beside the tests.
pub(crate) fn example(name: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let program = profile.join("examples").join(name).with_extension(env::consts::EXE_EXTENSION);
    assert!(program.exists(), "{} is missing: `cargo build --examples` makes it", program.display());
    program
}

/// `fetch` with these arguments.
pub(crate) fn fetch(arguments: &[&str]) -> Command {
    let mut command = Command::new(example("fetch"));
    command.args(arguments);
    command
}

/// Runs `fetch` to its end; it must succeed. Returns what it printed.
pub(crate) fn fetched(arguments: &[&str]) -> String {
    let output = run(&mut fetch(arguments));
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a program to its end, without input.
pub(crate) fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Python. Debian's packages of modules belong to Debian's own, whatever comes first in the path.
pub(crate) fn python(program: &str) -> Command {
    let of_debian = Path::new("/usr/bin/python3");
    let mut command = Command::new(if of_debian.exists() { of_debian } else { Path::new("python3") });
    command.args(["-c", program]);
    command
}

/// A running `serve`, on a port of its own; it ends with this.
pub(crate) struct Serve {
    child: Child,
    pub(crate) address: SocketAddr,
    scheme: String,
}

impl Serve {
    pub(crate) fn start(arguments: &[&str]) -> Serve {
        Serve::start_at("127.0.0.1:0", arguments)
    }

    /// On this address, which another one may have had.
    pub(crate) fn start_at(address: &str, arguments: &[&str]) -> Serve {
        Serve::started(Command::new(example("serve")), address, arguments)
    }

    /// On any address of this machine, with no more descriptors than that.
    pub(crate) fn with_descriptors(most: usize, arguments: &[&str]) -> Serve {
        Serve::started(limited(most, &example("serve")), "0.0.0.0:0", arguments)
    }

    fn started(mut command: Command, address: &str, arguments: &[&str]) -> Serve {
        let mut child = command
            .args(["--listen", address])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let listening = line.trim().strip_prefix("listening on ").and_then(|uri| uri.split_once("://"));
        let (scheme, address) = listening.unwrap_or_else(|| panic!("{line:?}"));
        Serve { address: address.parse().unwrap(), scheme: scheme.to_owned(), child }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    pub(crate) fn peak_memory(&self) -> u64 {
        peak_memory(&self.child)
    }

    /// What is resident of its own memory, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        status_of(&self.child, "RssAnon")
    }

    pub(crate) fn threads(&self) -> usize {
        fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap().count()
    }

    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// The processor time that it has used.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // Behind the name, which may hold anything, in hundredths of a second.
        let words: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        Duration::from_millis(10 * (words[11].parse::<u64>().unwrap() + words[12].parse::<u64>().unwrap()))
    }

    /// Sends it a signal (`TERM`, `INT`) and waits for its end.
    pub(crate) fn signal(&mut self, name: &str) -> ExitStatus {
        self.tell(name);
        self.child.wait().unwrap()
    }

    /// Ends it without asking.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends it a signal (`HUP`).
    pub(crate) fn tell(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running nginx, in a folder of its own; it ends with this.
pub(crate) struct Nginx {
    child: Child,
    pub(crate) folder: Folder,
    pub(crate) address: SocketAddr,
}

impl Nginx {
    /// As this configuration says, where `PORT` is the port to listen on.
    pub(crate) fn start(folder: Folder, configuration: &str) -> Nginx {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let configuration = configuration.replace("PORT", &address.port().to_string());
        let configuration = folder.file("nginx.conf", configuration.as_bytes());
        let path = env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
        let child = Command::new("nginx")
            .env("PATH", path)
            .args(["-e", "error.log", "-c", &configuration, "-p"])
            .arg(folder.path())
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for(address);
        Nginx { child, folder, address }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program that may have so many descriptors, where the system allows it.
pub(crate) fn limited(descriptors: usize, program: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n \"$0\" && exec \"$@\"", &descriptors.to_string()]).arg(program);
    command
}

/// The most memory a running process has had resident, in bytes.
pub(crate) fn peak_memory(child: &Child) -> u64 {
    status_of(child, "VmHWM")
}

/// What the system says of a running process, in bytes.
fn status_of(child: &Child, what: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
    let line = line.expect("the process is running").trim().trim_end_matches(" kB");
    line.parse::<u64>().unwrap() * 1024
}

/// A folder that goes with this.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("sessile-{}-{count}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes a file in it; its path as text.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path.into_os_string().into_string().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A port that was free a moment ago, for a program that can't choose one itself.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits until something listens.
pub(crate) fn wait_for(address: SocketAddr) {
    let start = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(start.elapsed() < Duration::from_secs(10), "nothing listens on {address}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The bytes that `/bytes/N` sends.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..251).cycle().take(length).collect()
}
