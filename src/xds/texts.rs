//! A list of short texts in one buffer: the names of a request as they came, without an allocation for each.

use crate::snapshot::digest::Digest;
use crate::snapshot::resource::Version;
use bytes::Bytes;
use std::fmt;
use std::ops::Range;

/// Texts, in order. Cloning does not copy them.
#[derive(Clone, Default)]
pub struct Texts {
    buffer: Bytes,
    places: Vec<Range<u32>>,
}

impl Texts {
    /// No texts yet, of those that lie in `buffer`.
    pub(super) fn of(buffer: Bytes) -> Self {
        Self { buffer, places: Vec::new() }
    }

    /// Adds what lies there in the buffer, and returns it; none if that is not UTF-8.
    pub(super) fn push(&mut self, place: Range<usize>) -> Option<&str> {
        let text = std::str::from_utf8(self.buffer.get(place.clone())?).ok()?;
        self.places.push(u32::try_from(place.start).ok()?..u32::try_from(place.end).ok()?);
        Some(text)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How long the longest is, in bytes.
    pub fn longest(&self) -> usize {
        self.places.iter().map(|place| place.len()).max().unwrap_or_default()
    }

    /// The texts, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let text = |place: &Range<u32>| &self.buffer[place.start as usize..place.end as usize];
        self.places.iter().map(move |place| std::str::from_utf8(text(place)).expect("it was when it was added"))
    }
}

impl<S: AsRef<str>> FromIterator<S> for Texts {
    /// Panics on more than 4 GiB, which no request has.
    fn from_iter<I: IntoIterator<Item = S>>(texts: I) -> Self {
        let (mut buffer, mut places) = (Vec::new(), Vec::new());
        let end = |buffer: &Vec<u8>| u32::try_from(buffer.len()).expect("less than 4 GiB");
        for text in texts {
            let start = end(&buffer);
            buffer.extend_from_slice(text.as_ref().as_bytes());
            places.push(start..end(&buffer));
        }
        Self { buffer: buffer.into(), places }
    }
}

impl<S: AsRef<str>> From<Vec<S>> for Texts {
    fn from(texts: Vec<S>) -> Self {
        texts.into_iter().collect()
    }
}

impl PartialEq for Texts {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Names and the version of each.
#[derive(Clone, PartialEq, Debug)]
pub struct Versions {
    names: Texts,
    versions: Texts,
    /// Over all of them; none if a version is not one of ours.
    digest: Option<Digest>,
}

impl Versions {
    /// None yet, of those that lie in `buffer`.
    pub(super) fn of(buffer: Bytes) -> Self {
        Self { names: Texts::of(buffer.clone()), versions: Texts::of(buffer), digest: Some(Digest::default()) }
    }

    /// Adds the name and the version that lie there in the buffer; none if either is not UTF-8.
    pub(super) fn push(&mut self, name: Range<usize>, version: Range<usize>) -> Option<()> {
        let (name, version) = (self.names.push(name)?, self.versions.push(version)?);
        let sum = self.digest.zip(Version::parse(version));
        self.digest = sum.map(|(digest, version)| digest.with(name, version));
        Some(())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The names, each with its version.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.names.iter().zip(self.versions.iter())
    }

    /// The names.
    pub fn names(&self) -> &Texts {
        &self.names
    }

    /// The version of all of them as a set; none if one of them is not a version of ours.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }
}

impl Default for Versions {
    fn default() -> Self {
        Self::of(Bytes::new())
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Versions {
    /// Panics on more than 4 GiB, which no request has.
    fn from_iter<I: IntoIterator<Item = (N, V)>>(all: I) -> Self {
        let (names, versions): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        let texts = names.iter().map(AsRef::as_ref).chain(versions.iter().map(AsRef::as_ref));
        let texts: Texts = texts.collect();
        let mut all = Self::of(texts.buffer.clone());
        let place = |at: usize| texts.places[at].start as usize..texts.places[at].end as usize;
        (0..names.len()).for_each(|at| all.push(place(at), place(names.len() + at)).expect("texts are UTF-8"));
        all
    }
}
