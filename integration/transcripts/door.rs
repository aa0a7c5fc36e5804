//! The door that streams wait at before anything is read of them, driven by lines: who comes, who leaves, who is inside.

use chancery::model::identity::BoundPod;
use chancery::telemetry::Metrics;
use chancery::xds::admission::{Admission, Turn};
use chancery::xds::shares::{Client, Part, Shares};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Somebody who waits for a turn.
type Coming = Pin<Box<dyn Future<Output = (Turn, Part)>>>;

/// A door, and who is before and behind it.
pub struct Door {
    admission: Admission,
    shares: Shares,
    waiting: Vec<(String, Coming)>,
    inside: BTreeMap<String, (Turn, Part)>,
}

fn client(pod: &str) -> Client {
    Client::Pod("shop".into(), BoundPod { name: pod.into(), uid: pod.into() })
}

fn bytes(text: &str) -> Result<usize, String> {
    let number = text.strip_suffix("KiB").and_then(|number| number.parse::<usize>().ok());
    number.map(|number| number << 10).ok_or_else(|| format!("{text:?} is no number of KiB"))
}

impl Door {
    /// A door for that much.
    pub fn new(room: &str) -> Result<Self, String> {
        let admission = Admission::new(bytes(room)? as u64, Duration::from_secs(10), Metrics::new().admission);
        Ok(Self { admission, shares: Shares::new(1), waiting: Vec::new(), inside: BTreeMap::new() })
    }

    /// Does what a line says; returns who is where then.
    pub fn play(&mut self, words: &[&str]) -> Result<String, String> {
        match words {
            ["comes", who] => self.comes(who, None)?,
            ["comes", who, "from", pod] => self.comes(who, Some(client(pod)))?,
            ["leaves", who] => {
                self.waiting.retain(|(name, _)| name != who);
                self.inside.remove(*who);
            }
            ["sends", who, size] => {
                self.inside.get_mut(*who).ok_or("nobody of that name is inside")?.0.sends(bytes(size)?)
            }
            ["done", who] => self.inside.remove(*who).ok_or("nobody of that name is inside")?.0.is_over(),
            _ => return Err("not a line of the grammar".to_owned()),
        }
        self.enter();
        Ok(self.to_string())
    }

    fn comes(&mut self, who: &str, client: Option<Client>) -> Result<(), String> {
        let part = self.shares.part(client).map_err(|refusal| refusal.to_string())?;
        let admission = self.admission.clone();
        self.waiting.push((who.to_owned(), Box::pin(async move { (admission.enter(&part).await, part) })));
        Ok(())
    }

    /// Lets in who may come in.
    fn enter(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        for (name, mut coming) in std::mem::take(&mut self.waiting) {
            match coming.as_mut().poll(&mut context) {
                Poll::Ready(turn) => _ = self.inside.insert(name, turn),
                Poll::Pending => self.waiting.push((name, coming)),
            }
        }
    }
}

impl std::fmt::Display for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |names: Vec<&str>| if names.is_empty() { "-".to_owned() } else { names.join(" ") };
        let inside = list(self.inside.keys().map(String::as_str).collect());
        let waiting = list(self.waiting.iter().map(|(name, _)| name.as_str()).collect());
        write!(f, "door inside {inside} waiting {waiting}")
    }
}
