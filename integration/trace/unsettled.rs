//! What a client may hold and not state when it comes back: of what it rejected it may have applied a part, and what it was
//! sent and has not answered it may have rejected.

use super::{Event, Hash, What};
use chancery::snapshot::kind::Kind;
use std::collections::{BTreeMap, BTreeSet};

/// Such names, of every kind.
pub type Unsettled = BTreeSet<(Kind, String)>;

/// One stream.
#[derive(Default)]
struct Stream<'e> {
    node: Option<&'e str>,
    /// What is not answered, by kind and nonce.
    open: BTreeMap<(Kind, &'e str), BTreeMap<&'e String, Option<Hash>>>,
    /// Secrets that it rejected: it accepts the same unread, and that settles nothing.
    refused: BTreeSet<(String, Hash)>,
    unsettled: Unsettled,
}

impl Stream<'_> {
    fn left(&self) -> impl Iterator<Item = (Kind, String)> {
        let open = self.open.iter().flat_map(|((kind, _), names)| names.keys().map(|name| (*kind, (*name).clone())));
        open.chain(self.unsettled.iter().cloned())
    }
}

/// What is unsettled when each stream opens, by all earlier ones of the same node.
pub fn unsettled(events: &[Event]) -> BTreeMap<usize, Unsettled> {
    let mut streams: BTreeMap<usize, Stream> = BTreeMap::new();
    let mut found: BTreeMap<usize, Unsettled> = BTreeMap::new();
    for event in events {
        match &event.what {
            What::Asked(asked) => {
                let node = streams.get(&event.stream).and_then(|stream| stream.node);
                if node.is_none() && !asked.node.is_empty() {
                    let earlier = streams.values().filter(|stream| stream.node == Some(asked.node.as_str()));
                    let left: Unsettled = earlier.flat_map(Stream::left).collect();
                    found.insert(event.stream, left.clone());
                    let stream = streams.entry(event.stream).or_default();
                    (stream.node, stream.unsettled) = (Some(asked.node.as_str()), left);
                }
                let (Some(stream), Some(kind)) = (streams.get_mut(&event.stream), asked.kind) else { continue };
                let names = stream.open.remove(&(kind, asked.nonce.as_str())).unwrap_or_default();
                for (name, hash) in names {
                    let secret = hash.filter(|_| kind == Kind::Secret).map(|hash| (name.clone(), hash));
                    match asked.error {
                        Some(_) => {
                            stream.refused.extend(secret);
                            stream.unsettled.insert((kind, name.clone()));
                        }
                        None if secret.is_some_and(|secret| stream.refused.contains(&secret)) => {}
                        None => _ = stream.unsettled.remove(&(kind, name.clone())),
                    }
                }
            }
            What::Sent(sent) => {
                let there = sent.resources.iter().map(|(name, hash)| (name, Some(*hash)));
                let names = there.chain(sent.removed.iter().map(|name| (name, None))).collect();
                let stream = streams.entry(event.stream).or_default();
                stream.open.insert((sent.kind, sent.nonce.as_str()), names);
            }
            _ => {}
        }
    }
    found
}
