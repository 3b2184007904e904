//! A folder of small files, as the store of files sees it: one call for each step whose
//! failure, or the end of the machine before it, makes a difference.
//!
//! The real one is here; the tests have one that fails and stops at every step, and forgets
//! what was not told to stay.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

pub(crate) trait Disk: Send + Sync + fmt::Debug {
    /// The content and the time of a file, unless there is none of the name. More than so
    /// much of it, or something that is no file, is `InvalidData`.
    fn read(&self, name: &str, limit: u64) -> io::Result<Option<(Vec<u8>, SystemTime)>>;

    /// The time of a file, unless there is none of the name.
    fn time(&self, name: &str) -> io::Result<Option<SystemTime>>;

    /// Sets the time of a file, if there is one of the name.
    fn set_time(&self, name: &str, time: SystemTime) -> io::Result<()>;

    /// A new file, in place of one of the name, with this time.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file another name, in place of what has that.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file, and says whether there was one.
    fn remove(&self, name: &str) -> io::Result<bool>;

    /// Makes names that were given and removed stay so.
    fn sync_names(&self) -> io::Result<()>;

    /// The names there are.
    fn names(&self) -> io::Result<Box<dyn Iterator<Item = io::Result<String>> + Send>>;

    /// Waits until no other thread and no other process has this lock, and takes it.
    fn lock(&self, number: u8) -> io::Result<Locked<'_>>;
}

pub(crate) trait DiskFile {
    fn write(&mut self, content: &[u8]) -> io::Result<()>;

    fn set_time(&mut self, time: SystemTime) -> io::Result<()>;

    /// Makes the content stay.
    fn sync(&mut self) -> io::Result<()>;
}

/// Holds a lock, among threads and among processes.
pub(crate) struct Locked<'a> {
    file: MutexGuard<'a, Option<File>>,
}

impl<'a> Locked<'a> {
    /// A lock among the threads only.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn of_threads(lock: &'a Mutex<Option<File>>) -> Locked<'a> {
        Locked { file: lock.lock().unwrap_or_else(PoisonError::into_inner) }
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        if let Some(file) = &*self.file {
            if fs4::FileExt::unlock(file).is_err() {
                // Closing it is the other way to let go.
                *self.file = None;
            }
        }
    }
}

/// A folder of the system's.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    locks: [Mutex<Option<File>>; LOCKS],
    patience: Duration,
}

impl Folder {
    /// The folder at this path, made if there is none, for this user only.
    pub(crate) fn open(path: PathBuf, patience: Duration) -> io::Result<Folder> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path)?;
        let folder = Folder { path, locks: std::array::from_fn(|_| Mutex::new(None)), patience };
        if fs::metadata(&folder.path)?.is_dir() {
            return Ok(folder);
        }
        Err(io::ErrorKind::NotADirectory.into())
    }

    /// Whether others than the user may look into the folder.
    pub(crate) fn is_open_to_others(&self) -> bool {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::metadata(&self.path).is_ok_and(|folder| folder.permissions().mode() & 0o077 != 0)
        }
        #[cfg(not(unix))]
        false
    }

    fn options(&self) -> OpenOptions {
        let mut options = OpenOptions::new();
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options
    }
}

impl Disk for Folder {
    fn read(&self, name: &str, limit: u64) -> io::Result<Option<(Vec<u8>, SystemTime)>> {
        let path = self.path.join(name);
        // Before it is opened: opening a pipe, say, would wait for its other end.
        let Some(found) = existing(fs::symlink_metadata(&path))? else {
            return Ok(None);
        };
        if !found.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "this is no file"));
        }
        let Some(file) = existing(File::open(&path))? else {
            return Ok(None);
        };
        let found = file.metadata()?;
        if found.len() > limit {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is too large"));
        }
        let mut content = Vec::with_capacity(found.len() as usize);
        file.take(limit).read_to_end(&mut content)?;
        Ok(Some((content, found.modified()?)))
    }

    fn time(&self, name: &str) -> io::Result<Option<SystemTime>> {
        existing(fs::symlink_metadata(self.path.join(name)))?.map(|found| found.modified()).transpose()
    }

    fn set_time(&self, name: &str, time: SystemTime) -> io::Result<()> {
        match existing(self.options().write(true).open(self.path.join(name)))? {
            Some(file) => file.set_modified(time),
            None => Ok(()),
        }
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = self.options().write(true).create(true).truncate(true).open(self.path.join(name))?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<bool> {
        Ok(existing(fs::remove_file(self.path.join(name)))?.is_some())
    }

    fn sync_names(&self) -> io::Result<()> {
        // Elsewhere a folder can't be opened, and its names are written with the files.
        #[cfg(unix)]
        File::open(&self.path)?.sync_all()?;
        Ok(())
    }

    fn names(&self) -> io::Result<Box<dyn Iterator<Item = io::Result<String>> + Send>> {
        let names = fs::read_dir(&self.path)?.filter_map(|entry| match entry {
            Ok(entry) => entry.file_name().into_string().ok().map(Ok),
            Err(error) => Some(Err(error)),
        });
        Ok(Box::new(names))
    }

    fn lock(&self, number: u8) -> io::Result<Locked<'_>> {
        let number = usize::from(number) % LOCKS;
        // The wait for other threads counts: they may be waiting for another process, too.
        let started = Instant::now();
        let mut file = self.locks[number].lock().unwrap_or_else(PoisonError::into_inner);
        if file.is_none() {
            let path = self.path.join(format!("{LOCK_NAME}{number:02x}"));
            *file = Some(self.options().write(true).create(true).truncate(false).open(path)?);
        }
        let mut pause = Duration::from_micros(50);
        while let Some(opened) = &*file {
            match fs4::FileExt::try_lock(opened) {
                Ok(()) => break,
                Err(fs4::TryLockError::WouldBlock) if started.elapsed() < self.patience => {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(5));
                }
                Err(fs4::TryLockError::WouldBlock) => {
                    // Whoever has it is stuck. Not taken: it must not be let go.
                    *file = None;
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "another process keeps the lock"));
                }
                Err(fs4::TryLockError::Error(error)) => {
                    *file = None;
                    return Err(error);
                }
            }
        }
        Ok(Locked { file })
    }
}

impl DiskFile for File {
    fn write(&mut self, content: &[u8]) -> io::Result<()> {
        self.write_all(content)
    }

    fn set_time(&mut self, time: SystemTime) -> io::Result<()> {
        self.set_modified(time)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

/// That there is none is no error.
fn existing<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// How the names of lock files begin: they stay, and are not sessions.
const LOCK_NAME: &str = ".lock-";
/// More than threads that write at a time; each lock may keep a file open.
pub(crate) const LOCKS: usize = 32;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn those_who_wait_for_another_process_give_up_together() {
        const PATIENCE: Duration = Duration::from_millis(500);
        let path = std::env::temp_dir().join(format!("sessile-disk-{}", std::process::id()));
        _ = fs::remove_dir_all(&path);
        let (folder, other) =
            (Folder::open(path.clone(), PATIENCE).unwrap(), Folder::open(path.clone(), PATIENCE).unwrap());
        let held = other.lock(7).unwrap();
        let start = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..20 {
                let folder = &folder;
                scope.spawn(move || {
                    assert_eq!(folder.lock(7).err().unwrap().kind(), io::ErrorKind::TimedOut);
                });
            }
        });
        // One after the other, it would be ten seconds.
        assert!((500..5000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
        drop(held);
        assert!(folder.lock(7).is_ok());
        _ = fs::remove_dir_all(path);
    }
}
