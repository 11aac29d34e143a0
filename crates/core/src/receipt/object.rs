//! Objects and words only: serde would also take an array of a struct's members, and an object with one
//! member for a word, which no other reader does.

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};
use std::{borrow::Cow, fmt, marker::PhantomData};

/// A struct that is an object.
#[derive(Serialize)]
#[serde(transparent)]
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members))
            }
        }
        d.deserialize_map(Members(PhantomData)).map(Self)
    }
}

/// For `#[serde(deserialize_with)]`.
pub(crate) fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<T, D::Error> {
    Object::deserialize(d).map(|object| object.0)
}

/// For an optional member, which is either absent or an object: `null` is neither.
pub(crate) fn present_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    d: D,
) -> Result<Option<T>, D::Error> {
    object(d).map(Some)
}

/// One of these words.
pub(crate) fn word<'de, D: Deserializer<'de>, T: Copy>(
    d: D,
    all: &[T],
    name: impl Fn(&T) -> &'static str,
) -> Result<T, D::Error> {
    let text = Cow::<'de, str>::deserialize(d)?;
    let found = all.iter().find(|it| name(it) == text).copied();
    found.ok_or_else(|| {
        let known: Vec<_> = all.iter().map(name).collect();
        de::Error::custom(format_args!("expected one of {}", known.join(", ")))
    })
}
