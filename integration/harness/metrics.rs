//! Reading the Prometheus text format, as far as a scrape of chancery's own counters needs it.

use std::collections::BTreeMap;

/// One sample.
#[derive(Clone, PartialEq, Debug)]
pub struct Sample {
    /// The metric's name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

/// A scrape.
#[derive(Default, Debug)]
pub struct Metrics(pub Vec<Sample>);

impl Metrics {
    /// Parses a scrape; lines that are no samples are left out.
    pub fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(sample).collect())
    }

    /// The samples of a metric.
    pub fn of<'m>(&'m self, name: &'m str) -> impl Iterator<Item = &'m Sample> {
        self.0.iter().filter(move |sample| sample.name == name)
    }

    /// The sum over the samples of a metric that carry every one of `labels`.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |sample: &&Sample| {
            labels.iter().all(|(key, value)| sample.labels.get(*key).is_some_and(|found| found == value))
        };
        self.of(name).filter(fits).fold(0.0, |sum, sample| sum + sample.value)
    }
}

fn sample(line: &str) -> Option<Sample> {
    if line.starts_with('#') {
        return None;
    }
    let (head, value) = line.rsplit_once(' ')?;
    let (name, labels) = match head.split_once('{') {
        Some((name, labels)) => (name, pairs(labels.strip_suffix('}')?)),
        None => (head, BTreeMap::new()),
    };
    Some(Sample { name: name.to_owned(), labels, value: value.parse().ok()? })
}

/// `a="b",c="d"`, with backslash escapes in the values.
fn pairs(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut rest = text;
    while let Some((key, after)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut letters = after.char_indices();
        let mut end = after.len();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '"' => {
                    end = at + 1;
                    break;
                }
                '\\' => value.extend(letters.next().map(|(_, letter)| if letter == 'n' { '\n' } else { letter })),
                _ => value.push(letter),
            }
        }
        found.insert(key.trim_start_matches(',').to_owned(), value);
        rest = &after[end..];
    }
    found
}
