//! A list of short texts in one buffer: the names of a request as they came, without an allocation for each.

use crate::snapshot::digest::Digest;
use crate::snapshot::names::NameSum;
use crate::snapshot::resource::Version;
use crate::snapshot::wire::fields;
use bytes::Bytes;
use std::fmt;
use std::ops::Range;

/// Texts, in order. Cloning does not copy them.
#[derive(Clone, Default)]
pub struct Texts {
    buffer: Bytes,
    places: Places,
}

/// Where they lie in the buffer.
#[derive(Clone)]
enum Places {
    /// Each of them.
    Each(Vec<Range<u32>>),
    /// Fields of a message, of which it is known what they say.
    Fields(Box<(Range<usize>, Summary)>),
}

/// What is mostly asked of a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Summary {
    sum: NameSum,
    longest: usize,
}

impl Default for Places {
    fn default() -> Self {
        Places::Each(Vec::new())
    }
}

impl Texts {
    /// No texts yet, of those that lie in `buffer`.
    pub(super) fn of(buffer: Bytes) -> Self {
        Self { buffer, places: Places::default() }
    }

    /// The contents of the fields that lie there in a message, of which this is known.
    pub(super) fn again(message: Bytes, fields: Range<usize>, summary: Summary) -> Self {
        Self { buffer: message, places: Places::Fields(Box::new((fields, summary))) }
    }

    /// Adds what lies there in the buffer, and returns it; none if that is not UTF-8.
    pub(super) fn push(&mut self, place: Range<usize>) -> Option<&str> {
        let text = std::str::from_utf8(self.buffer.get(place.clone())?).ok()?;
        let Places::Each(places) = &mut self.places else { return None };
        places.push(u32::try_from(place.start).ok()?..u32::try_from(place.end).ok()?);
        Some(text)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match &self.places {
            Places::Each(places) => places.len(),
            Places::Fields(known) => known.1.sum.count(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How long the longest is, in bytes.
    pub fn longest(&self) -> usize {
        match &self.places {
            Places::Each(places) => places.iter().map(|place| place.len()).max().unwrap_or_default(),
            Places::Fields(known) => known.1.longest,
        }
    }

    /// What tells lists of names apart, whatever their order.
    pub fn sum(&self) -> NameSum {
        match &self.places {
            Places::Each(_) => self.iter().collect(),
            Places::Fields(known) => known.1.sum,
        }
    }

    pub(super) fn summary(&self) -> Summary {
        Summary { sum: self.sum(), longest: self.longest() }
    }

    /// The texts, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let (each, message) = match &self.places {
            Places::Each(places) => (places.as_slice(), &[][..]),
            Places::Fields(known) => (&[][..], &self.buffer[known.0.clone()]),
        };
        let each = each.iter().map(|place| &self.buffer[place.start as usize..place.end as usize]);
        let contents = fields(message).map_while(|field| field).map(|field| &message[field.content]);
        each.chain(contents).map(|text| std::str::from_utf8(text).expect("it was when it was added"))
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
        Self { buffer: buffer.into(), places: Places::Each(places) }
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
        let Places::Each(places) = texts.places else { return all };
        let place = |at: usize| places[at].start as usize..places[at].end as usize;
        (0..names.len()).for_each(|at| all.push(place(at), place(names.len() + at)).expect("texts are UTF-8"));
        all
    }
}
