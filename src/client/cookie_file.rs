//! Cookies in a file, in the format that Netscape began with and curl reads and writes.
//!
//! A line for each cookie, seven fields with tabs between: domain, whether hosts in it get the
//! cookie, path, whether TLS is needed, when it ends (seconds since 1970, 0 for never said), name,
//! value. `#HttpOnly_` before the domain is no comment.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::cookie_jar::{CookieJar, FromFile, Kept};
use crate::message::field;
use crate::{Error, ErrorKind, Result, random};

const HEADING: &str = "# Netscape HTTP Cookie File\n\
    # https://curl.se/docs/http-cookies.html\n\
    # Written by sessile. Edit at your own risk.\n\n";

const HTTP_ONLY: &str = "#HttpOnly_";

/// The longest line that is read; no cookie that is kept needs more.
const MOST_LINE: u64 = 16 * 1024;

impl CookieJar {
    /// Reads cookies from a file as curl's `--cookie-jar` writes it, and adds them. Lines that can't
    /// be read, or whose cookie no server could have set, are passed over. Fails with
    /// [`NotFound`](ErrorKind::NotFound) where there is no such file.
    ///
    /// ```
    /// use sessile::client::CookieJar;
    ///
    /// let jar = CookieJar::new();
    /// jar.read_from(&b".example.com\tTRUE\t/\tFALSE\t0\tlang\ten\n"[..])?;
    /// assert_eq!(jar.get(&"http://www.example.com/".parse()?, "lang").as_deref(), Some("en"));
    /// # Ok::<(), sessile::Error>(())
    /// ```
    pub fn load(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|error| {
            let kind = match error.kind() {
                io::ErrorKind::NotFound => ErrorKind::NotFound,
                _ => ErrorKind::Io,
            };
            Error::new(kind, format!("the cookies in {} can't be read", path.display())).with_source(error)
        })?;
        self.read_from(BufReader::new(file))
    }

    /// The same from anything that is read.
    pub fn read_from(&self, mut source: impl BufRead) -> Result<()> {
        let now = SystemTime::now();
        let mut line = Vec::new();
        loop {
            line.clear();
            if (&mut source).take(MOST_LINE).read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            let whole = line.ends_with(b"\n") || (line.len() as u64) < MOST_LINE;
            if !whole {
                skip_line(&mut source)?;
                continue;
            }
            if let Some(cookie) = std::str::from_utf8(&line).ok().and_then(parse) {
                self.lock().take_from_file(cookie, now);
            }
        }
    }

    /// Writes all cookies to a file that curl reads too; those without an end are in it, as in curl's. The
    /// file is replaced as a whole, and nobody but its owner may read it (mode 0600).
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        self.save_to(path).map_err(|error| {
            Error::new(ErrorKind::Io, format!("the cookies can't be written to {}", path.display()))
                .with_source(error)
        })
    }

    fn save_to(&self, path: &Path) -> io::Result<()> {
        // What a link leads to is replaced, not the link; what is no file is written to.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if fs::metadata(&path).is_ok_and(|metadata| !metadata.is_file()) {
            return self.write_to(OpenOptions::new().write(true).open(&path)?);
        }
        let beside = beside(&path)?;
        let written = private_file(&beside).and_then(|file| {
            let mut out = BufWriter::new(file);
            self.write_to(&mut out)?;
            out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
            fs::rename(&beside, &path)
        });
        if written.is_err() {
            let _ = fs::remove_file(&beside);
        }
        written
    }

    /// Writes all cookies as they stand in a file.
    pub fn write_to(&self, mut out: impl Write) -> io::Result<()> {
        let mut text = HEADING.to_owned();
        for (domain, kept) in self.lock().all(SystemTime::now()) {
            push_line(&mut text, domain, kept);
        }
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}

fn push_line(text: &mut String, domain: &str, kept: &Kept) {
    let flag = |on: bool| if on { "TRUE" } else { "FALSE" };
    let dot = if kept.host_only { "" } else { "." };
    let ends =
        kept.expires.and_then(|end| end.duration_since(UNIX_EPOCH).ok()).map_or(0, |end| end.as_secs());
    text.extend([if kept.http_only { HTTP_ONLY } else { "" }, dot, domain, "\t", flag(!kept.host_only)]);
    text.extend(["\t", &kept.path, "\t", flag(kept.secure), "\t", &ends.to_string()]);
    text.extend(["\t", &kept.name, "\t", &kept.value, "\n"]);
}

fn parse(line: &str) -> Option<FromFile> {
    let line = line.strip_suffix('\n').unwrap_or(line);
    let line = line.strip_suffix('\r').unwrap_or(line);
    let (line, http_only) = match line.strip_prefix(HTTP_ONLY) {
        Some(rest) => (rest, true),
        None => (line, false),
    };
    if line.starts_with('#') {
        return None;
    }
    let mut fields = line.split('\t');
    let mut next = || fields.next();
    let (domain, tail, path, secure, ends, name) = (next()?, next()?, next()?, next()?, next()?, next()?);
    // A cookie without a value may end with its name.
    let value = next().unwrap_or("");
    if next().is_some() {
        return None;
    }
    let ends = field::parse_decimal(ends.as_bytes())?;
    let mut kept = Kept::new(name, value, path);
    kept.host_only = !tail.eq_ignore_ascii_case("TRUE");
    kept.secure = secure.eq_ignore_ascii_case("TRUE");
    kept.http_only = http_only;
    // Ends that no clock reaches are as good as the last one that a file can hold.
    kept.expires = match ends {
        0 => None,
        ends => Some(UNIX_EPOCH + Duration::from_secs(ends.min(FAR_FUTURE))),
    };
    let domain = domain.strip_prefix('.').unwrap_or(domain).to_ascii_lowercase();
    Some(FromFile { domain, kept })
}

/// The last second of the year 9999.
const FAR_FUTURE: u64 = 253_402_300_799;

fn skip_line(source: &mut impl BufRead) -> io::Result<()> {
    loop {
        let block = source.fill_buf()?;
        let (n, found) = match memchr::memchr(b'\n', block) {
            Some(at) => (at + 1, true),
            None => (block.len(), block.is_empty()),
        };
        source.consume(n);
        if found {
            return Ok(());
        }
    }
}

/// A name beside the file, which nobody knows beforehand.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let mut bytes = [0; 8];
    random::fill(&mut bytes)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{:016x}", u64::from_be_bytes(bytes)));
    Ok(path.with_file_name(name))
}

/// A new file that is its owner's alone from the start.
fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Cookie, Uri};

    fn uri(text: &str) -> Uri {
        text.parse().unwrap()
    }

    fn read(text: &str) -> CookieJar {
        let jar = CookieJar::new();
        jar.read_from(text.as_bytes()).unwrap();
        jar
    }

    fn written(jar: &CookieJar) -> String {
        let mut out = Vec::new();
        jar.write_to(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn folder() -> PathBuf {
        let folder = std::env::temp_dir().join(format!(
            "sessile-cookies-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn what_is_written_is_read_again() {
        let jar = CookieJar::new();
        for (at, cookie) in [
            (
                "https://a.example.com/x/y",
                "one=1; Domain=example.com; Path=/; Secure; HttpOnly; Max-Age=1000",
            ),
            ("http://a.example.com/x/y", "two="),
            ("http://127.0.0.1:81/", "three=\"3 3\"; Path=/deep"),
        ] {
            assert!(jar.store(&uri(at), &Cookie::parse(cookie).unwrap()));
        }
        let text = written(&jar);
        let again = read(&text);
        assert_eq!((again.len(), written(&again)), (3, text));
        assert_eq!(again.cookies(&uri("http://127.0.0.1/deep")), [("three".into(), "\"3 3\"".into())]);
        assert_eq!(again.cookies(&uri("http://a.example.com/x/")), [("two".into(), String::new())]);
        assert_eq!(again.get(&uri("https://b.example.com/"), "one").as_deref(), Some("1"));
    }

    #[test]
    fn lines_are_as_curl_has_them() {
        let jar = CookieJar::new();
        jar.store(
            &uri("https://www.example.com/"),
            &Cookie::parse("a=1; Domain=example.com; HttpOnly").unwrap(),
        );
        jar.store(&uri("http://h/p/q"), &Cookie::parse("b=2").unwrap());
        let text = written(&jar);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "# Netscape HTTP Cookie File");
        assert_eq!(
            lines[4..],
            ["#HttpOnly_.example.com\tTRUE\t/\tFALSE\t0\ta\t1", "h\tFALSE\t/p\tFALSE\t0\tb\t2"]
        );
    }

    #[test]
    fn what_is_no_cookie_is_passed_over() {
        let long = format!("h\tFALSE\t/\tFALSE\t0\tlong\t{}", "x".repeat(20_000));
        let text = format!(
            "# comment\n\nno tabs\nh\tFALSE\t/\tFALSE\tsoon\ta\t1\nh\tFALSE\t/\tFALSE\t+5\ta\t1\n\
             h\tFALSE\t/\tFALSE\t0\ta\t1\t2\n.com\tTRUE\t/\tFALSE\t0\ta\t1\n.127.0.0.1\tTRUE\t/\tFALSE\t0\ta\t1\n\
             h\tFALSE\t/\tFALSE\t1000\told\t1\nh\tFALSE\tx\tFALSE\t0\ta\t1\nh\tFALSE\t/\tFALSE\t0\ta;b\t1\n{long}\n\
             h\tFALSE\t/\tFALSE\t0\tkept\t1\r\nh\tFALSE\t/\tFALSE\t99999999999999\tlast\t1"
        );
        let jar = read(&text);
        assert_eq!(
            jar.cookies(&uri("http://h/")),
            [("kept".into(), "1".into()), ("last".into(), "1".into())]
        );
        assert_eq!(jar.len(), 2);
        let invalid = CookieJar::new();
        invalid.read_from(&b"h\tFALSE\t/\tFALSE\t0\ta\t\xff\nh\tFALSE\t/\tFALSE\t0\tb\t1\n"[..]).unwrap();
        assert_eq!(invalid.len(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_is_its_owner_s_alone_and_replaced_as_a_whole() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = folder();
        let (path, link) = (folder.join("jar"), folder.join("link"));
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        symlink(&path, &link).unwrap();
        let jar = read("h\tFALSE\t/\tFALSE\t0\ta\t1\n");
        jar.save(&link).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = CookieJar::new();
        again.load(&path).unwrap();
        assert_eq!(again.len(), 1);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "nothing is left beside it");
        assert_eq!(jar.load(folder.join("none")).unwrap_err().kind(), ErrorKind::NotFound);
        assert!(jar.save(folder.join("none/jar")).is_err());
        jar.save("/dev/null").unwrap();
        fs::remove_dir_all(&folder).unwrap();
    }
}
