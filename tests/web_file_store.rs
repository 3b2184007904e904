//! The store of files on a real disk: who may look, what damage does, processes that share
//! a folder and processes that are killed.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sessile::message::Request;
use sessile::web::{FileStore, SessionId, Visit, WebSession, WebSessionManager};

/// A folder of its own for a test, gone at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("sessile-files-{name}-{}", std::process::id()));
        _ = fs::remove_dir_all(&path);
        Folder(path)
    }

    fn records(&self) -> Vec<PathBuf> {
        let names = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path());
        names.filter(|path| path.extension().is_some_and(|extension| extension == "session")).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

fn manager(folder: &Path) -> WebSessionManager {
    WebSessionManager::builder(FileStore::open(folder).unwrap()).sweep_every(None).build()
}

fn find(manager: &WebSessionManager, id: &SessionId) -> Option<WebSession> {
    let mut request = Request::get("/");
    request.headers_mut().set("Cookie", format!("id={id}")).unwrap();
    manager.find(&Visit::new(&request)).unwrap()
}

#[cfg(unix)]
#[test]
fn the_folder_and_what_is_in_it_is_for_its_user_only_and_tells_no_id() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("modes");
    let inner = folder.0.join("made/on/the/way");
    let manager = manager(&inner);
    let session = manager.new_session().unwrap();
    session.set("a", 1).unwrap();
    assert_eq!(fs::metadata(&inner).unwrap().permissions().mode() & 0o777, 0o700);
    let id = session.id().to_string();
    for entry in fs::read_dir(&inner).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!path.to_string_lossy().contains(&id));
        let content = fs::read(&path).unwrap();
        assert!(!content.windows(id.len()).any(|window| window == id.as_bytes()));
    }
}

#[test]
fn what_is_no_folder_can_not_be_opened() {
    let folder = Folder::new("none");
    fs::create_dir_all(&folder.0).unwrap();
    fs::write(folder.0.join("file"), "").unwrap();
    assert_eq!(FileStore::open(folder.0.join("file")).unwrap_err().kind(), sessile::ErrorKind::Store);
    assert_eq!(FileStore::open(folder.0.join("file/below")).unwrap_err().kind(), sessile::ErrorKind::Store);
}

#[test]
fn sessions_survive_the_process() {
    let folder = Folder::new("survive");
    let first = manager(&folder.0);
    let session = first.new_session().unwrap();
    session.set("user", "Ann").unwrap();
    let id = session.id();
    drop((session, first));
    assert_eq!(find(&manager(&folder.0), &id).unwrap().get::<String>("user").unwrap(), "Ann");
}

/// Does something to a file.
type Damage = fn(&Path);

#[test]
fn a_file_that_can_not_be_read_is_a_lost_session_and_no_error() {
    let damages: [Damage; 8] = [
        |path| fs::write(path, "").unwrap(),
        |path| fs::write(path, "not a session at all, but long enough to be one, one would think").unwrap(),
        |path| {
            let content = fs::read(path).unwrap();
            fs::write(path, &content[..content.len() / 2]).unwrap();
        },
        |path| {
            let mut content = fs::read(path).unwrap();
            let middle = content.len() / 2;
            content[middle] ^= 1;
            fs::write(path, content).unwrap();
        },
        |path| fs::OpenOptions::new().write(true).open(path).unwrap().set_len(10 << 30).unwrap(),
        |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        },
        |path| {
            fs::remove_file(path).unwrap();
            #[cfg(unix)]
            std::os::unix::fs::symlink("/dev/zero", path).unwrap();
        },
        |path| fs::remove_file(path).unwrap(),
    ];
    for (number, damage) in damages.into_iter().enumerate() {
        let folder = Folder::new("damage");
        let (here, there) = (manager(&folder.0), manager(&folder.0));
        let session = here.new_session().unwrap();
        session.set("a", 1).unwrap();
        let running = find(&there, &session.id()).unwrap();
        damage(&folder.records()[0]);
        assert!(find(&here, &session.id()).is_none(), "{number}");
        // A request that was under way ends as if the session had.
        running.set("b", 1).unwrap();
        there.finish(&running, &mut sessile::message::Response::new()).unwrap();
        assert!(!running.is_valid(), "{number}");
        here.count().unwrap();
        here.sweep().unwrap();
        // The client gets another one.
        let mut request = Request::get("/");
        request.headers_mut().set("Cookie", format!("id={}", session.id())).unwrap();
        let new = here.open(&Visit::new(&request)).unwrap();
        here.finish(&new, &mut sessile::message::Response::new()).unwrap();
        assert!(find(&there, &new.id()).is_some());
    }
}

#[test]
fn damaged_and_foreign_files_are_swept_or_left_alone() {
    let folder = Folder::new("swept");
    let manager = manager(&folder.0);
    let session = manager.new_session().unwrap();
    session.set("a", 1).unwrap();
    let record = folder.records().remove(0);
    fs::write(record.with_extension("tmp"), "left by a process that was killed").unwrap();
    let other = folder.0.join(record.file_name().unwrap().to_string_lossy().replace(['a', 'b'], "c"));
    fs::write(&other, "damaged").unwrap();
    fs::write(folder.0.join("README"), "not ours").unwrap();
    manager.sweep().unwrap();
    assert!(record.exists() && folder.0.join("README").exists());
    assert!(!record.with_extension("tmp").exists());
    assert!(!other.exists() || other == record);
    assert!(session.is_valid());
}

#[test]
fn a_folder_that_is_gone_is_an_error_and_no_panic() {
    let folder = Folder::new("gone");
    let manager = manager(&folder.0);
    let session = manager.new_session().unwrap();
    fs::remove_dir_all(&folder.0).unwrap();
    assert!(find(&manager, &session.id()).is_none());
    assert_eq!(manager.new_session().unwrap_err().kind(), sessile::ErrorKind::Store);
    assert!(manager.sweep().is_err());
}

// Processes.

/// This test again, as a process of its own.
fn child(test: &str, folder: &Path, id: &SessionId) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env("SESSILE_TEST_FOLDER", folder)
        .env("SESSILE_TEST_ID", id.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn from_parent() -> Option<(WebSessionManager, WebSession)> {
    let folder = std::env::var_os("SESSILE_TEST_FOLDER")?;
    let manager = manager(Path::new(&folder));
    let session = find(&manager, &std::env::var("SESSILE_TEST_ID").ok()?.parse().unwrap()).unwrap();
    Some((manager, session))
}

#[test]
#[ignore = "a process of another test"]
fn counts_until_it_is_killed() {
    let Some((manager, session)) = from_parent() else {
        return;
    };
    manager.finish(&session, &mut sessile::message::Response::new()).unwrap();
    loop {
        // Long enough to be written in more than one page.
        let n = session.update("n", |n: Option<u64>| Some(n.unwrap_or(0) + 1)).unwrap().unwrap();
        session.set("ballast", vec![n as u8; 20_000 + n as usize % 1000]).unwrap();
        println!("done {n}");
    }
}

#[test]
fn a_process_that_is_killed_while_it_writes_loses_nothing_it_reported() {
    let folder = Folder::new("killed");
    let id = manager(&folder.0).new_session().unwrap().id();
    let mut last = 0;
    for round in 0u64..15 {
        let mut child = child("counts_until_it_is_killed", &folder.0, &id);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Killed after some of them, in the middle of another one.
        for line in lines.by_ref() {
            if let Some(n) = line.unwrap().strip_prefix("done ") {
                last = n.parse().unwrap();
                if last % 7 == round % 7 {
                    break;
                }
            }
        }
        std::thread::sleep(Duration::from_micros(300 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        // What it still managed to say.
        for line in lines.map_while(std::result::Result::ok) {
            if let Some(n) = line.strip_prefix("done ") {
                last = n.parse().unwrap();
            }
        }
        let session = find(&manager(&folder.0), &id).unwrap();
        let n = session.get::<u64>("n").unwrap();
        assert!(n == last || n == last + 1, "{n} after {last}");
        let ballast: Vec<u8> = session.get("ballast").unwrap();
        assert!(ballast.iter().all(|byte| u64::from(*byte) == n & 255 || u64::from(*byte) == (n - 1) & 255));
        last = n;
    }
    assert_eq!(folder.records().len(), 1);
}

#[test]
#[ignore = "a process of another test"]
fn counts_a_hundred_times() {
    let Some((_manager, session)) = from_parent() else {
        return;
    };
    for _ in 0..100 {
        session.update("n", |n: Option<u64>| Some(n.unwrap_or(0) + 1)).unwrap();
    }
}

#[test]
fn processes_that_share_a_folder_lose_no_update() {
    let folder = Folder::new("share");
    let manager = manager(&folder.0);
    let session = manager.new_session().unwrap();
    let children: Vec<Child> =
        (0..3).map(|_| child("counts_a_hundred_times", &folder.0, &session.id())).collect();
    for _ in 0..100 {
        session.update("n", |n: Option<u64>| Some(n.unwrap_or(0) + 1)).unwrap();
    }
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(find(&manager, &session.id()).unwrap().get::<u64>("n").unwrap(), 400);
}
