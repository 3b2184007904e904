//! A folder of files, and no way out of it.
//!
//! A path on the wire becomes names, one by one, each decoded once; a name is a name and never a
//! direction. Whatever file the names lead to is opened, and then it is looked at where it
//! really is: symbolic links may point around inside of the folder, but not out of it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::extension::media_type;
use super::file::{not_found, open};
use super::{RequestHandler, ServerRequest, ServerResponse};
use crate::message::{Method, StatusCode, field};
use crate::{Error, ErrorKind, Result};

/// Serves the files below a folder: as a handler of its own, or asked by another one.
///
/// `GET` and `HEAD`, with all that [`ServerResponse::send_file`] does; other methods are answered with 405. A folder
/// is answered with its `index.html`, and with 404 where there is none: nothing is ever listed.
///
/// No path gets out: `..`, in whatever encoding, encoded slashes and backslashes, NUL, absolute paths, and symbolic
/// links that lead elsewhere are all 404, as are pipes, devices and everything else that is not a file.
///
/// ```
/// use sessile::server::{FileService, HttpServer};
///
/// let files = FileService::new(std::env::temp_dir())?;
/// let server = HttpServer::bind("127.0.0.1:0", move |request, response| {
///     match request.path().strip_prefix("/file/") {
///         Some(path) => files.serve(path, request, response),
///         None => response.redirect("/file/"),
///     }
/// })?;
/// # let _ = server;
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct FileService {
    /// As the system knows it: absolute and without links.
    root: PathBuf,
    prefix: String,
    index: Option<String>,
}

impl FileService {
    /// For the files below this folder. An error that names it, if there is none.
    pub fn new(root: impl AsRef<Path>) -> Result<FileService> {
        let path = root.as_ref();
        let no_folder = |error: io::Error| {
            Error::new(ErrorKind::Io, format!("{} can't be served", path.display())).with_source(error)
        };
        let root = path.canonicalize().map_err(no_folder)?;
        if !root.is_dir() {
            return Err(no_folder(io::Error::new(io::ErrorKind::NotADirectory, "it is no folder")));
        }
        Ok(FileService { root, prefix: String::from("/"), index: Some(String::from("index.html")) })
    }

    /// As a handler of its own, it serves the paths that begin with this, and looks for what is behind it. `/`
    /// unless set.
    #[must_use]
    pub fn with_prefix(self, prefix: impl Into<String>) -> Self {
        FileService { prefix: prefix.into(), ..self }
    }

    /// What a folder is answered with: `index.html` unless set, `None` for nothing.
    #[must_use]
    pub fn with_index(self, name: Option<&str>) -> Self {
        FileService { index: name.map(str::to_owned), ..self }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Answers with the file at `path`, which is relative to the folder and encoded as it is in the request.
    pub fn serve(
        &self,
        path: &str,
        request: &ServerRequest<'_>,
        response: &mut ServerResponse<'_>,
    ) -> Result<()> {
        if *request.method() != Method::GET && *request.method() != Method::HEAD {
            response.headers_mut().set("Allow", "GET, HEAD")?;
            return self.refuse(StatusCode::METHOD_NOT_ALLOWED, response);
        }
        let found = match self.find(path) {
            Ok(found) => found,
            Err(error) => {
                let status = error.status_hint().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                log::debug!("a file can't be served: {error}");
                return self.refuse(status, response);
            }
        };
        match found {
            Found::File(file, path) => {
                if response.content_type().is_none() {
                    response.set_content_type(media_type(&path));
                }
                response.send_open_file(&file)
            }
            // Links of a page in a folder are relative to the folder.
            Found::Folder => {
                let query = request.query().map_or(String::new(), |query| format!("?{query}"));
                let location = format!("{}/{query}", request.path());
                response.redirect_with(&location, StatusCode::MOVED_PERMANENTLY)
            }
        }
    }

    fn refuse(&self, status: StatusCode, response: &mut ServerResponse<'_>) -> Result<()> {
        response.set_status(status).set_content_type("text/plain; charset=utf-8");
        response.send_buffer(format!("{status} {}\n", status.reason()).as_bytes())
    }

    fn find(&self, path: &str) -> Result<Found> {
        let (names, is_folder) = names(path)?;
        let wanted: PathBuf = names.iter().map(String::as_str).collect();
        let mut place = self.inside(&self.root.join(wanted))?;
        if std::fs::metadata(&place).is_ok_and(|meta| meta.is_dir()) {
            let Some(index) = &self.index else { return Err(not_found()) };
            let page = self.inside(&place.join(index))?;
            if !is_folder {
                return Ok(Found::Folder);
            }
            place = page;
        } else if is_folder {
            return Err(not_found());
        }
        let file = open(&place)?;
        self.check(&file, &place)?;
        Ok(Found::File(file, place))
    }

    /// Where this really is, if that is in the folder.
    fn inside(&self, path: &Path) -> Result<PathBuf> {
        let real = path.canonicalize().map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => not_found().with_status(StatusCode::FORBIDDEN),
            _ => not_found(),
        })?;
        if real.starts_with(&self.root) { Ok(real) } else { Err(not_found()) }
    }

    /// What was opened is what was looked for, even if somebody puts links in its place meanwhile.
    fn check(&self, file: &File, place: &Path) -> Result<()> {
        let opened = really_at(file).or_else(|| place.canonicalize().ok());
        if opened.is_some_and(|opened| opened.starts_with(&self.root)) { Ok(()) } else { Err(not_found()) }
    }
}

impl RequestHandler for FileService {
    fn handle_request(
        &self,
        request: &mut ServerRequest<'_>,
        response: &mut ServerResponse<'_>,
    ) -> Result<()> {
        match request.head().path().strip_prefix(self.prefix.as_str()) {
            Some(path) => self.serve(path, request, response),
            None => self.refuse(StatusCode::NOT_FOUND, response),
        }
    }
}

enum Found {
    File(File, PathBuf),
    /// A folder with a page, asked for without the slash behind its name.
    Folder,
}

/// The names that a path on the wire is made of, and whether it ends with a slash. Each is decoded once.
fn names(path: &str) -> Result<(Vec<String>, bool)> {
    if path.is_empty() {
        return Ok((Vec::new(), true));
    }
    let (path, is_folder) = path.strip_suffix('/').map_or((path, false), |path| (path, true));
    let names: Option<Vec<String>> = path.split('/').map(name).collect();
    names.map(|names| (names, is_folder)).ok_or_else(not_found)
}

/// One name: never empty, never a direction, and without what separates names on any system.
fn name(part: &str) -> Option<String> {
    let name = field::percent_decode(part)?;
    let is_name = !name.is_empty()
        && name != "."
        && name != ".."
        && !name.contains(['/', '\\', '\0'])
        && !(cfg!(windows) && (name.contains(':') || name.ends_with(['.', ' '])));
    is_name.then(|| name.into_owned())
}

/// The path of an open file, as the system says.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn really_at(file: &File) -> Option<PathBuf> {
    use std::os::fd::AsRawFd;
    std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn really_at(_file: &File) -> Option<PathBuf> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_decoded_once_and_stay_names() {
        assert_eq!(names("a/b%20c/d%2525").unwrap(), (vec!["a".into(), "b c".into(), "d%25".into()], false));
        assert_eq!(names("").unwrap(), (vec![], true));
        assert_eq!(names("a/").unwrap(), (vec!["a".into()], true));
        assert_eq!(names("%C3%A4").unwrap(), (vec!["ä".into()], false));
        assert_eq!(names("...").unwrap(), (vec!["...".into()], false));
    }

    #[test]
    fn directions_separators_and_nonsense_are_no_names() {
        for path in [
            "..",
            ".",
            "a/../b",
            "../a",
            "a/..",
            "%2e%2e",
            "%2E%2E/a",
            ".%2e",
            "a//b",
            "/",
            "//",
            "/etc/passwd",
            "a%2fb",
            "..%2fa",
            "a%5cb",
            "..\\a",
            "%00",
            "a%00.html",
            "%ff",
            "%c0%ae%c0%ae",
            "%",
            "%2",
            "%zz",
        ] {
            assert!(names(path).is_err(), "{path}");
        }
    }
}
