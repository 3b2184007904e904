//! The web application that sessions belong to.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// A web application: a name that keeps its sessions apart from those of others, and where
/// on the server it is.
///
/// Its text form is Poco OSP's: `name@domain/path`, all of which may be left out.
///
/// ```
/// use sessile::web::WebContext;
///
/// let context: WebContext = "shop@example.com/shop".parse()?;
/// assert_eq!(context.name(), "shop");
/// assert_eq!(context.domain(), Some("example.com"));
/// assert_eq!(context.path(), "/shop");
/// assert_eq!(WebContext::new("shop").path(), "/");
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[doc(alias = "ServletContext")]
#[doc(alias = "BundleContext")]
pub struct WebContext {
    name: String,
    domain: Option<String>,
    path: String,
}

impl WebContext {
    /// The application of this name, at the root of its server.
    pub fn new(name: impl Into<String>) -> WebContext {
        WebContext { name: name.into(), domain: None, path: "/".to_owned() }
    }

    /// At this path: the cookies of its sessions are for what is below it. Fails unless it
    /// starts with a slash and can stand in a cookie.
    pub fn with_path(mut self, path: &str) -> Result<WebContext> {
        if !path.starts_with('/') || !is_attribute(path) {
            return Err(Error::invalid_argument(
                "the path of a web application starts with a slash, and is one in a cookie",
            ));
        }
        self.path = path.to_owned();
        Ok(self)
    }

    /// In this domain: the cookies of its sessions go to all its hosts. Without one, they
    /// go to the host that set them, which is safer.
    pub fn with_domain(mut self, domain: &str) -> Result<WebContext> {
        if domain.is_empty() || !is_attribute(domain) {
            return Err(Error::invalid_argument("this is not a domain for cookies"));
        }
        self.domain = Some(domain.to_owned());
        Ok(self)
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The path, `/` unless set.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The domain, if one was set.
    pub fn domain(&self) -> Option<&str> {
        self.domain.as_deref()
    }
}

/// Whether the text can be the value of an attribute of a cookie (RFC 6265, 4.1.1).
fn is_attribute(text: &str) -> bool {
    text.bytes().all(|c| matches!(c, 0x20..=0x7e) && c != b';')
}

impl Default for WebContext {
    /// The application without a name, which is the only one on most servers.
    fn default() -> WebContext {
        WebContext::new("")
    }
}

impl FromStr for WebContext {
    type Err = Error;

    fn from_str(text: &str) -> Result<WebContext> {
        let (rest, path) = match text.find('/') {
            Some(slash) => text.split_at(slash),
            None => (text, "/"),
        };
        let (name, domain) = match rest.split_once('@') {
            Some((name, domain)) => (name, Some(domain)),
            None => (rest, None),
        };
        let context = WebContext::new(name).with_path(path)?;
        match domain {
            Some(domain) => context.with_domain(domain),
            None => Ok(context),
        }
    }
}

impl fmt::Display for WebContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(domain) = &self.domain {
            write!(f, "@{domain}")?;
        }
        f.write_str(&self.path)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_is_read_and_written() {
        for (text, again) in [("", "/"), ("a", "a/"), ("a/b", "a/b"), ("@d", "@d/"), ("a@d/p/q", "a@d/p/q")] {
            let context: WebContext = text.parse().unwrap();
            assert_eq!(context.to_string(), again);
            assert_eq!(again.parse::<WebContext>().unwrap(), context);
        }
        assert!("a@".parse::<WebContext>().is_err());
        assert!("a@d/p;Secure".parse::<WebContext>().is_err());
        assert!("a/p\r\nX: y".parse::<WebContext>().is_err());
    }
}
