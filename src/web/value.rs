//! The values of attributes: text, numbers, bytes, JSON, and any object.
//!
//! A value takes 24 bytes; short texts are in it. Cloning one never runs code of users and
//! never copies content, so it may happen under a lock; dropping one may run a user's
//! destructor, so it may not.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::listeners::{SessionActivationListener, SessionBindingListener};
use crate::{Error, Result};

/// The value of an attribute.
///
/// Text, numbers, truth values, bytes and JSON go into every store. An `Arc` of any `Send +
/// Sync` type is an object: it lives in the memory of the process, is shared by all who get
/// it, and stores beyond the process refuse it, unless it was given as a
/// [portable](Object::portable) one.
///
/// ```
/// use std::sync::Arc;
/// use sessile::web::Value;
///
/// struct Cart(Vec<String>);
///
/// assert_eq!(Value::from("Ann").as_str(), Some("Ann"));
/// assert_eq!(Value::from(7).as_i64(), Some(7));
/// let cart = Value::from(Arc::new(Cart(vec!["apple".into()])));
/// assert_eq!(cart.object::<Cart>().unwrap().0.len(), 1);
/// ```
#[derive(Clone)]
#[doc(alias = "Any")]
pub struct Value(Repr);

// What a value is fills a word: values are moved word by word then, which processors do best.
#[derive(Clone)]
#[repr(u64)]
enum Repr {
    /// Its length in the last byte.
    Short([u8; SHORT + 1]),
    Text(Arc<str>),
    Integer(i64),
    Unsigned(u64),
    Float(f64),
    Bool(bool),
    Bytes(Arc<[u8]>),
    Json(Arc<str>),
    Object(Arc<dyn Any + Send + Sync>),
    Hooked(Arc<Hooked>),
    Encoded(Arc<Encoded>),
}

/// An object that wants to hear of its session, or can leave the process.
struct Hooked {
    object: Arc<dyn Any + Send + Sync>,
    binding: Option<Arc<dyn SessionBindingListener>>,
    activation: Option<Arc<dyn SessionActivationListener>>,
    portable: Option<Codec>,
}

/// How a portable type is written.
#[derive(Clone, Copy)]
struct Codec {
    tag: &'static str,
    encode: fn(&(dyn Any + Send + Sync)) -> Result<Vec<u8>>,
}

/// A portable object of a type that this process has not registered.
struct Encoded {
    tag: Box<str>,
    bytes: Box<[u8]>,
}

/// What a [`Value`] is.
///
/// ```
/// use sessile::web::{Value, ValueKind};
///
/// assert_eq!(Value::from(1.5).kind(), ValueKind::Float);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ValueKind {
    /// Text.
    Text,
    /// A whole number.
    Integer,
    /// A number with a fraction.
    Float,
    /// True or false.
    Bool,
    /// Bytes.
    Bytes,
    /// Something serialised by serde: see [`WebSession::set_json`](super::WebSession::set_json).
    Json,
    /// An object of the process.
    Object,
    /// A [`Portable`] object of a type that is not registered here.
    Encoded,
}

impl Value {
    /// What it is.
    pub fn kind(&self) -> ValueKind {
        match self.0 {
            Repr::Short(_) | Repr::Text(_) => ValueKind::Text,
            Repr::Integer(_) | Repr::Unsigned(_) => ValueKind::Integer,
            Repr::Float(_) => ValueKind::Float,
            Repr::Bool(_) => ValueKind::Bool,
            Repr::Bytes(_) => ValueKind::Bytes,
            Repr::Json(_) => ValueKind::Json,
            Repr::Object(_) | Repr::Hooked(_) => ValueKind::Object,
            Repr::Encoded(_) => ValueKind::Encoded,
        }
    }

    /// The text, if it is one.
    #[inline]
    pub fn as_str(&self) -> Option<&str> {
        match &self.0 {
            // Only ever filled from a `str`.
            Repr::Short(short) => Some(std::str::from_utf8(in_short(short)).unwrap_or_default()),
            Repr::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is a whole one of this size.
    pub fn as_i64(&self) -> Option<i64> {
        match self.0 {
            Repr::Integer(number) => Some(number),
            _ => None,
        }
    }

    /// The number, if it is a whole one and not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match self.0 {
            Repr::Integer(number) => number.try_into().ok(),
            Repr::Unsigned(number) => Some(number),
            _ => None,
        }
    }

    /// The number, if it was set as one with a fraction.
    pub fn as_f64(&self) -> Option<f64> {
        match self.0 {
            Repr::Float(number) => Some(number),
            _ => None,
        }
    }

    /// The truth value, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self.0 {
            Repr::Bool(truth) => Some(truth),
            _ => None,
        }
    }

    /// The bytes, if it is bytes.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match &self.0 {
            Repr::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The JSON text, if it is one.
    pub fn as_json(&self) -> Option<&str> {
        match &self.0 {
            Repr::Json(text) => Some(text),
            _ => None,
        }
    }

    /// The object, if it is one of this type.
    #[doc(alias = "AnyCast")]
    pub fn object<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.any()?.downcast().ok()
    }

    /// The object, if it is one of whatever type.
    pub fn any(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        match &self.0 {
            Repr::Object(object) => Some(object.clone()),
            Repr::Hooked(hooked) => Some(hooked.object.clone()),
            _ => None,
        }
    }

    /// A value of JSON text, which is taken as it is.
    #[cfg(feature = "serde")]
    pub(crate) fn json(text: String) -> Value {
        Value(Repr::Json(text.into()))
    }

    /// Whether both are the same: equal data, or one and the same object.
    pub(crate) fn same(&self, other: &Value) -> bool {
        match (&self.0, &other.0) {
            (Repr::Float(a), Repr::Float(b)) => a.to_bits() == b.to_bits(),
            (Repr::Encoded(a), Repr::Encoded(b)) => a.tag == b.tag && a.bytes == b.bytes,
            _ => match (self.address(), other.address()) {
                (Some(a), Some(b)) => std::ptr::addr_eq(a, b),
                (None, None) => {
                    self.kind() == other.kind()
                        && self.as_str() == other.as_str()
                        && self.as_u64() == other.as_u64()
                        && self.as_i64() == other.as_i64()
                        && self.as_bool() == other.as_bool()
                        && self.as_bytes() == other.as_bytes()
                        && self.as_json() == other.as_json()
                }
                _ => false,
            },
        }
    }

    /// Whether both are the same, or both are not there.
    pub(crate) fn same_option(a: Option<&Value>, b: Option<&Value>) -> bool {
        match (a, b) {
            (Some(a), Some(b)) => a.same(b),
            (a, b) => a.is_none() && b.is_none(),
        }
    }

    /// Where the object is, if it is one.
    fn address(&self) -> Option<*const (dyn Any + Send + Sync)> {
        match &self.0 {
            Repr::Object(object) => Some(Arc::as_ptr(object)),
            Repr::Hooked(hooked) => Some(Arc::as_ptr(&hooked.object)),
            _ => None,
        }
    }

    pub(crate) fn binding(&self) -> Option<&dyn SessionBindingListener> {
        match &self.0 {
            Repr::Hooked(hooked) => hooked.binding.as_deref(),
            _ => None,
        }
    }

    pub(crate) fn activation(&self) -> Option<&dyn SessionActivationListener> {
        match &self.0 {
            Repr::Hooked(hooked) => hooked.activation.as_deref(),
            _ => None,
        }
    }

    /// Whether somebody but the session's owner has to be told of this value.
    #[inline]
    pub(crate) fn is_listener(&self) -> bool {
        matches!(&self.0, Repr::Hooked(hooked) if hooked.binding.is_some())
    }

    /// The form in which the value goes into a store: a letter for the kind, the content.
    /// May run a user's code.
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        let (letter, content): (u8, Cow<'_, [u8]>) = match &self.0 {
            Repr::Short(short) => (b't', in_short(short).into()),
            Repr::Text(text) => (b't', text.as_bytes().into()),
            Repr::Integer(number) => (b'i', number.to_le_bytes().to_vec().into()),
            Repr::Unsigned(number) => (b'u', number.to_le_bytes().to_vec().into()),
            Repr::Float(number) => (b'f', number.to_bits().to_le_bytes().to_vec().into()),
            Repr::Bool(truth) => (b'b', vec![u8::from(*truth)].into()),
            Repr::Bytes(bytes) => (b'y', (&**bytes).into()),
            Repr::Json(text) => (b'j', text.as_bytes().into()),
            Repr::Hooked(hooked) => match hooked.portable {
                Some(codec) => (b'o', tagged(codec.tag, &(codec.encode)(&*hooked.object)?).into()),
                None => return Err(cannot_leave()),
            },
            Repr::Encoded(encoded) => (b'o', tagged(&encoded.tag, &encoded.bytes).into()),
            Repr::Object(_) => return Err(cannot_leave()),
        };
        let mut out = Vec::with_capacity(1 + content.len());
        out.push(letter);
        out.extend_from_slice(&content);
        Ok(out)
    }

    /// Reads what [`encode`](Value::encode) wrote. `None` where it can't be read. May run a
    /// user's code.
    pub(crate) fn decode(stored: &[u8], types: &ObjectTypes) -> Option<Value> {
        let (&letter, content) = stored.split_first()?;
        let number = || Some(u64::from_le_bytes(content.try_into().ok()?));
        Some(match letter {
            b't' => std::str::from_utf8(content).ok()?.into(),
            b'i' => Value(Repr::Integer(number()? as i64)),
            b'u' => number()?.into(),
            b'f' => f64::from_bits(number()?).into(),
            b'b' => (*content == [1]).into(),
            b'y' => content.into(),
            b'j' => Value(Repr::Json(std::str::from_utf8(content).ok()?.into())),
            b'o' => {
                let (&length, rest) = content.split_first()?;
                let (tag, bytes) = rest.split_at_checked(length.into())?;
                let tag = std::str::from_utf8(tag).ok()?;
                match types.find(tag) {
                    Some(decode) => decode(bytes).ok()?,
                    None => Value(Repr::Encoded(Arc::new(Encoded { tag: tag.into(), bytes: bytes.into() }))),
                }
            }
            _ => return None,
        })
    }
}

fn tagged(tag: &str, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + tag.len() + bytes.len());
    out.push(tag.len() as u8);
    out.extend_from_slice(tag.as_bytes());
    out.extend_from_slice(bytes);
    out
}

fn cannot_leave() -> Error {
    Error::invalid_argument(
        "the session's store is beyond the process and can't carry this object; give a portable one",
    )
}

impl PartialEq for Value {
    /// Equal data, or one and the same object.
    fn eq(&self, other: &Value) -> bool {
        self.same(other)
    }
}

impl PartialEq<str> for Value {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == Some(other)
    }
}

impl PartialEq<&str> for Value {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == Some(*other)
    }
}

impl fmt::Debug for Value {
    /// The kind only: what people keep in sessions is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}(…)", self.kind())
    }
}

impl From<&str> for Value {
    #[inline]
    fn from(value: &str) -> Value {
        if value.len() > SHORT {
            return Value(Repr::Text(value.into()));
        }
        let len = value.len() as u128;
        Value(Repr::Short((word(value, 0) | word(value, 8) << 64 | len << 120).to_le_bytes()))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Value {
        value.as_str().into()
    }
}

impl From<&String> for Value {
    fn from(value: &String) -> Value {
        value.as_str().into()
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Value {
        Value(i64::try_from(value).map_or(Repr::Unsigned(value), Repr::Integer))
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Value {
        (value as u64).into()
    }
}

impl From<isize> for Value {
    fn from(value: isize) -> Value {
        (value as i64).into()
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Value {
        Value(Repr::Float(value))
    }
}

impl From<f32> for Value {
    fn from(value: f32) -> Value {
        f64::from(value).into()
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value(Repr::Bool(value))
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Value {
        Value(Repr::Bytes(value.into()))
    }
}

impl<const N: usize> From<&[u8; N]> for Value {
    fn from(value: &[u8; N]) -> Value {
        value.as_slice().into()
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Value {
        Value(Repr::Bytes(value.into()))
    }
}

impl<T: Any + Send + Sync> From<Arc<T>> for Value {
    fn from(value: Arc<T>) -> Value {
        Value(Repr::Object(value))
    }
}

impl From<Arc<dyn Any + Send + Sync>> for Value {
    fn from(value: Arc<dyn Any + Send + Sync>) -> Value {
        Value(Repr::Object(value))
    }
}

impl<T: Any + Send + Sync> From<Object<T>> for Value {
    fn from(value: Object<T>) -> Value {
        let Object { object, binding, activation, portable } = value;
        Value(Repr::Hooked(Arc::new(Hooked { object, binding, activation, portable })))
    }
}

/// What an attribute can be read as: [`WebSession::get`](super::WebSession::get).
///
/// ```
/// use sessile::web::{FromValue, Value};
///
/// /// Degrees, kept as a number.
/// struct Celsius(f64);
///
/// impl FromValue for Celsius {
///     fn from_value(value: Value) -> Option<Celsius> {
///         value.as_f64().map(Celsius)
///     }
/// }
///
/// assert_eq!(u8::from_value(Value::from(7)), Some(7));
/// assert_eq!(u8::from_value(Value::from(256)), None);
/// assert!(Celsius::from_value(Value::from(36.6)).is_some());
/// ```
pub trait FromValue: Sized {
    /// The value as this type; `None` where it is of another type.
    fn from_value(value: Value) -> Option<Self>;
}

impl FromValue for Value {
    fn from_value(value: Value) -> Option<Value> {
        Some(value)
    }
}

impl FromValue for String {
    fn from_value(value: Value) -> Option<String> {
        value.as_str().map(str::to_owned)
    }
}

impl FromValue for f64 {
    fn from_value(value: Value) -> Option<f64> {
        value.as_f64()
    }
}

impl FromValue for bool {
    fn from_value(value: Value) -> Option<bool> {
        value.as_bool()
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: Value) -> Option<Vec<u8>> {
        value.as_bytes().map(<[u8]>::to_vec)
    }
}

impl<T: Any + Send + Sync> FromValue for Arc<T> {
    fn from_value(value: Value) -> Option<Arc<T>> {
        value.object()
    }
}

impl FromValue for Arc<dyn Any + Send + Sync> {
    fn from_value(value: Value) -> Option<Arc<dyn Any + Send + Sync>> {
        value.any()
    }
}

macro_rules! whole_numbers {
    ($($signed:ident)*; $($unsigned:ident)*) => {
        $(impl FromValue for $signed {
            fn from_value(value: Value) -> Option<$signed> {
                value.as_i64()?.try_into().ok()
            }
        })*
        $(impl FromValue for $unsigned {
            fn from_value(value: Value) -> Option<$unsigned> {
                value.as_u64()?.try_into().ok()
            }
        })*
    };
}
whole_numbers!(i8 i16 i32 i64 isize; u8 u16 u32 u64 usize);

macro_rules! small_numbers {
    ($($number:ident)*) => {
        $(impl From<$number> for Value {
            fn from(value: $number) -> Value {
                Value(Repr::Integer(value.into()))
            }
        })*
    };
}
small_numbers!(i8 i16 i32 i64 u8 u16 u32);

/// An object on its way into a session, with what it takes part in.
///
/// A plain `Arc` is enough for an object that wants nothing. One that wants to hear that it
/// is bound and unbound, that its session goes to sleep and wakes, or that can be kept by a
/// store beyond the process, says so here: Rust can't ask an object at run time what it can.
///
/// ```
/// use std::sync::Arc;
/// use sessile::web::{BindingEvent, MemoryStore, Object, SessionBindingListener, WebSessionManager};
///
/// struct Lease;
///
/// impl SessionBindingListener for Lease {
///     fn value_unbound(&self, _event: &BindingEvent<'_>) {
///         // Give back what the user held.
///     }
/// }
///
/// let manager = WebSessionManager::new(MemoryStore::new());
/// let session = manager.new_session()?;
/// session.set("lease", Object::new(Lease).bound())?;
/// assert!(session.get::<Arc<Lease>>("lease").is_ok());
/// # Ok::<(), sessile::Error>(())
/// ```
pub struct Object<T> {
    object: Arc<T>,
    binding: Option<Arc<dyn SessionBindingListener>>,
    activation: Option<Arc<dyn SessionActivationListener>>,
    portable: Option<Codec>,
}

impl<T: Any + Send + Sync> Object<T> {
    /// An object that wants nothing yet.
    pub fn new(object: impl Into<Arc<T>>) -> Object<T> {
        Object { object: object.into(), binding: None, activation: None, portable: None }
    }

    /// It hears when it is bound to a session and when it is taken out.
    #[must_use]
    #[doc(alias = "HttpSessionBindingListener")]
    pub fn bound(mut self) -> Object<T>
    where
        T: SessionBindingListener,
    {
        self.binding = Some(self.object.clone());
        self
    }

    /// It hears when its session leaves memory and when it is back.
    #[must_use]
    #[doc(alias = "HttpSessionActivationListener")]
    pub fn activating(mut self) -> Object<T>
    where
        T: SessionActivationListener,
    {
        self.activation = Some(self.object.clone());
        self
    }

    /// It can be kept by a store beyond the process. Its state is taken when it is set:
    /// set it again after a change.
    #[must_use]
    pub fn portable(mut self) -> Object<T>
    where
        T: Portable,
    {
        self.portable = Some(Codec {
            tag: T::TAG,
            encode: |object| match object.downcast_ref::<T>() {
                Some(object) => object.encode(),
                None => Err(Error::illegal_state("a portable object changed its type")),
            },
        });
        self
    }
}

impl<T> fmt::Debug for Object<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({})", std::any::type_name::<T>())
    }
}

/// A type whose objects can be kept by a store beyond the process.
///
/// Nodes that shall read such objects back register the type:
/// [`WebSessionManagerBuilder::object_type`](super::WebSessionManagerBuilder::object_type).
///
/// ```
/// use sessile::web::Portable;
///
/// struct Basket(u32);
///
/// impl Portable for Basket {
///     const TAG: &'static str = "shop.basket";
///     fn encode(&self) -> sessile::Result<Vec<u8>> {
///         Ok(self.0.to_le_bytes().to_vec())
///     }
///     fn decode(bytes: &[u8]) -> sessile::Result<Basket> {
///         let bytes = bytes.try_into().map_err(|_| {
///             sessile::Error::new(sessile::ErrorKind::Decode, "a basket is four bytes")
///         })?;
///         Ok(Basket(u32::from_le_bytes(bytes)))
///     }
/// }
/// # assert_eq!(Basket::decode(&Basket(7).encode()?)?.0, 7);
/// # Ok::<(), sessile::Error>(())
/// ```
pub trait Portable: Any + Send + Sync + Sized {
    /// The name of the type in stores: at most 255 bytes, the same on all nodes.
    const TAG: &'static str;

    /// The object as bytes.
    fn encode(&self) -> Result<Vec<u8>>;

    /// The object that these bytes are.
    fn decode(bytes: &[u8]) -> Result<Self>;
}

type Decode = Box<dyn Fn(&[u8]) -> Result<Value> + Send + Sync>;

/// The portable types that this process can read.
#[derive(Default)]
pub(crate) struct ObjectTypes(Vec<(&'static str, Decode)>);

impl ObjectTypes {
    pub(crate) fn add<T: Portable>(
        &mut self,
        dress: impl Fn(Object<T>) -> Object<T> + Send + Sync + 'static,
    ) {
        let decode = move |bytes: &[u8]| Ok(dress(Object::new(T::decode(bytes)?).portable()).into());
        self.0.push((T::TAG, Box::new(decode)));
    }

    fn find(&self, tag: &str) -> Option<&Decode> {
        self.0.iter().rev().find(|(known, _)| *known == tag).map(|(_, decode)| decode)
    }
}

impl fmt::Debug for ObjectTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(tag, _)| tag)).finish()
    }
}

/// Up to eight bytes of a text as a number. Short texts are put together of two: what goes into memory byte by
/// byte and comes back as a word keeps a processor waiting.
#[inline]
fn word(text: &str, from: usize) -> u128 {
    let word = match text.as_bytes().get(from..).unwrap_or_default() {
        [a, b, c, d, e, f, g, h, ..] => u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h]),
        few => few.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    };
    word.into()
}

/// The text that is in a short one.
#[inline]
fn in_short(short: &[u8; SHORT + 1]) -> &[u8] {
    &short[..usize::from(short[SHORT]).min(SHORT)]
}

/// The longest text that needs no allocation.
const SHORT: usize = 15;

#[cfg(all(test, not(loom)))]
#[allow(clippy::unwrap_used)] // in the helper, too
mod tests {
    use super::*;

    fn round(value: Value) -> Value {
        Value::decode(&value.encode().unwrap(), &ObjectTypes::default()).unwrap()
    }

    #[test]
    fn a_value_is_three_words() {
        assert_eq!(size_of::<Value>(), 24);
        assert_eq!(size_of::<Option<Value>>(), 24);
    }

    #[test]
    fn texts_of_every_length_are_what_was_set() {
        let text = "0\u{0}234567890123456789";
        for end in 0..=text.len() {
            let value = Value::from(&text[..end]);
            assert_eq!(value.as_str(), Some(&text[..end]));
            assert_eq!(matches!(value.0, Repr::Short(_)), end <= SHORT);
            assert!(round(value.clone()).same(&value));
        }
    }

    #[test]
    fn data_survives_the_way_through_a_store() {
        let values: Vec<Value> = vec![
            "".into(),
            "Ännchen".into(),
            "x".repeat(22).into(),
            "x".repeat(23).into(),
            i64::MIN.into(),
            u64::MAX.into(),
            (-0.0).into(),
            f64::NAN.into(),
            true.into(),
            false.into(),
            vec![0, 255].into(),
        ];
        for value in values {
            assert!(round(value.clone()).same(&value), "{value:?}");
        }
    }

    #[test]
    fn numbers_are_read_strictly() {
        assert_eq!(i8::from_value(128.into()), None);
        assert_eq!(u64::from_value(u64::MAX.into()), Some(u64::MAX));
        assert_eq!(i64::from_value(u64::MAX.into()), None);
        assert_eq!(u64::from_value((-1).into()), None);
        assert_eq!(u64::from_value("1".into()), None);
        assert_eq!(f64::from_value(1.into()), None);
    }

    #[test]
    fn an_object_is_the_same_only_as_itself() {
        let one: Value = Arc::new(1).into();
        let other: Value = Arc::new(1).into();
        assert_eq!(one, one.clone());
        assert_ne!(one, other);
        assert_ne!(one, Value::from(1));
    }

    #[test]
    fn a_plain_object_does_not_leave_the_process() {
        assert!(Value::from(Arc::new(1)).encode().is_err());
    }

    #[test]
    fn stored_rubbish_is_no_value() {
        for rubbish in [&b""[..], b"i", b"i1234567", b"t\xff", b"o", b"o\x05ab", b"z"] {
            assert!(Value::decode(rubbish, &ObjectTypes::default()).is_none());
        }
    }

    #[test]
    fn debug_shows_no_content() {
        assert_eq!(format!("{:?}", Value::from("secret")), "Text(…)");
    }

    #[test]
    fn an_unregistered_object_is_kept_as_it_is() {
        struct Point;
        impl Portable for Point {
            const TAG: &'static str = "point";
            fn encode(&self) -> Result<Vec<u8>> {
                Ok(b"xy".to_vec())
            }
            fn decode(_: &[u8]) -> Result<Point> {
                Ok(Point)
            }
        }
        let stored = Value::from(Object::new(Point).portable()).encode().unwrap();
        let unknown = Value::decode(&stored, &ObjectTypes::default()).unwrap();
        assert_eq!(unknown.kind(), ValueKind::Encoded);
        assert_eq!(unknown.encode().unwrap(), stored);

        let mut types = ObjectTypes::default();
        types.add::<Point>(|point| point);
        assert!(Value::decode(&stored, &types).unwrap().object::<Point>().is_some());
    }
}
