//! The attributes of one session: a short vector, sorted by name.
//!
//! Sessions hold a handful of attributes, and there may be millions of sessions: a vector
//! is smaller and faster than a map. Short names are in it. Nothing here locks.

use super::value::Value;

#[derive(Clone, Debug, Default)]
pub(crate) struct Attributes(Vec<Entry>);

#[derive(Clone, Debug)]
struct Entry {
    name: Name,
    value: Value,
}

/// A name of at most 22 bytes needs no allocation.
#[derive(Clone, Debug, PartialEq)]
enum Name {
    Short { len: u8, text: [u8; SHORT] },
    Long(Box<str>),
}

impl Attributes {
    #[inline]
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        Some(&self.0[self.find(name)?].value)
    }

    /// Sets and gives back what was there.
    #[inline]
    pub(crate) fn set(&mut self, name: &str, value: Value) -> Option<Value> {
        if let Some(at) = self.find(name) {
            return Some(std::mem::replace(&mut self.0[at].value, value));
        }
        let at = self.0.partition_point(|entry| entry.name.as_bytes() < name.as_bytes());
        if self.0.len() == self.0.capacity() {
            // By two, as long as that is no more than doubling: most sessions have few.
            self.0.reserve_exact(2.max(self.0.len() / 2));
        }
        self.0.insert(at, Entry { name: name.into(), value });
        None
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<Value> {
        self.find(name).map(|at| self.0.remove(at).value)
    }

    pub(crate) fn take(&mut self) -> Attributes {
        std::mem::take(self)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// In the order of the names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|entry| (entry.name.as_str(), &entry.value))
    }

    pub(crate) fn into_vec(self) -> Vec<(String, Value)> {
        self.0.into_iter().map(|entry| (entry.name.as_str().to_owned(), entry.value)).collect()
    }

    #[inline]
    fn find(&self, name: &str) -> Option<usize> {
        if self.0.len() > FEW || name.len() > SHORT {
            return self.0.binary_search_by(|entry| entry.name.as_bytes().cmp(name.as_bytes())).ok();
        }
        // Comparing names of one fixed size is faster than finding out their order.
        let name = Name::from(name);
        self.0.iter().position(|entry| entry.name == name)
    }
}

impl Name {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Name::Short { len, text } => &text[..usize::from(*len)],
            Name::Long(text) => text.as_bytes(),
        }
    }

    fn as_str(&self) -> &str {
        match self {
            // Only ever filled from a `str`.
            Name::Short { .. } => std::str::from_utf8(self.as_bytes()).unwrap_or_default(),
            Name::Long(text) => text,
        }
    }
}

impl From<&str> for Name {
    #[inline]
    fn from(name: &str) -> Name {
        if name.len() > SHORT {
            return Name::Long(name.into());
        }
        let mut text = [0; SHORT];
        text[..name.len()].copy_from_slice(name.as_bytes());
        Name::Short { len: name.len() as u8, text }
    }
}

const SHORT: usize = 22;
/// Up to so many attributes are gone through one by one.
const FEW: usize = 12;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_takes_48_bytes_and_short_ones_nothing_else() {
        assert_eq!(size_of::<Entry>(), 48);
        let mut attributes = Attributes::default();
        attributes.set("user", "0123456789abcdef".into());
        attributes.set("n", 0.into());
        assert_eq!(attributes.0.capacity(), 2);
    }

    #[test]
    fn names_are_in_order_whatever_their_length() {
        let mut attributes = Attributes::default();
        let long = "m".repeat(100);
        for name in ["z", "", "a", &long, "mm", "ä", "a"] {
            attributes.set(name, name.into());
        }
        let names: Vec<&str> = attributes.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["", "a", "mm", &long, "z", "ä"]);
        assert!(attributes.iter().all(|(name, value)| *value == name));
    }

    #[test]
    fn setting_and_removing_give_back_what_was_there() {
        let mut attributes = Attributes::default();
        assert_eq!(attributes.set("a", 1.into()), None);
        assert_eq!(attributes.set("a", 2.into()), Some(1.into()));
        assert_eq!(attributes.get("a"), Some(&2.into()));
        assert_eq!(attributes.remove("a"), Some(2.into()));
        assert_eq!(attributes.remove("a"), None);
        assert_eq!(attributes.len(), 0);
    }

    #[test]
    fn few_and_many_are_found_alike() {
        let mut attributes = Attributes::default();
        let name = |at: usize| format!("{}{at}", "n".repeat(at));
        for at in (0..40).rev() {
            assert_eq!(attributes.set(&name(at), at.into()), None);
            for other in 0..40 {
                let expected = (other >= at).then(|| Value::from(other));
                assert_eq!(attributes.get(&name(other)).cloned(), expected);
            }
        }
    }
}
