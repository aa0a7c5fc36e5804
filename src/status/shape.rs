//! A status as Istio publishes it (`istio.meta.v1alpha1.IstioStatus`): conditions, and messages without a text.
//!
//! Read from what is stored, and written. Conditions of types that are not ours are kept as they are.

use serde::{Deserialize, Serialize};

/// Whether what the object says is in effect.
pub const ACCEPTED: &str = "Accepted";
/// Whether what it names is there.
pub const RESOLVED_REFS: &str = "ResolvedRefs";
/// Whether every proxy that it concerns has it.
pub const PROGRAMMED: &str = "Programmed";
/// The types that are ours.
const OURS: [&str; 3] = [ACCEPTED, RESOLVED_REFS, PROGRAMMED];

/// What a condition says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Truth {
    /// It is so.
    True,
    /// It is not.
    False,
    /// It can't be said.
    Unknown,
}

impl Truth {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Truth::True => "True",
            Truth::False => "False",
            Truth::Unknown => "Unknown",
        }
    }
}

/// A number that some write as a text.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Count {
    /// As a number.
    Number(i64),
    /// As a text.
    Text(String),
}

/// One condition.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// What it is about.
    pub r#type: String,
    /// Whether it is so.
    pub status: String,
    /// Why, in a word.
    pub reason: String,
    /// Why.
    pub message: String,
    /// The generation that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<Count>,
    /// Since when it is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<String>,
    /// When others looked; never ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_probe_time: Option<String>,
}

impl Condition {
    /// A condition of a generation, without a time.
    pub fn new(r#type: &str, truth: Truth, reason: &str, message: String, generation: Option<i64>) -> Self {
        Self {
            r#type: r#type.to_owned(),
            status: truth.as_str().to_owned(),
            reason: reason.to_owned(),
            message,
            observed_generation: generation.map(Count::Number),
            ..Self::default()
        }
    }

    /// Whether it is of a generation.
    pub fn is_of(&self, generation: Option<i64>) -> bool {
        generation.is_some_and(|generation| match &self.observed_generation {
            Some(Count::Number(number)) => *number == generation,
            Some(Count::Text(text)) => *text == generation.to_string(),
            None => false,
        })
    }

    /// Whether its type is one of ours.
    pub fn is_ours(&self) -> bool {
        OURS.contains(&&*self.r#type)
    }
}

/// Says that there is something, for programs; people find it in the conditions.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Message {
    /// What.
    pub r#type: MessageType,
    /// `ERROR` or `WARNING`.
    pub level: String,
    /// Where others explain it; never ours.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub documentation_url: String,
}

/// What a message says.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MessageType {
    /// In a word.
    pub name: String,
    /// Istio's code, where it has one for this.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub code: String,
}

/// A status.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// The generation that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<Count>,
    /// The conditions.
    pub conditions: Vec<Condition>,
    /// The messages.
    pub validation_messages: Vec<Message>,
}

impl Status {
    /// Reads what is stored. What can't be read counts as nothing: it is replaced.
    pub fn stored(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    /// The condition of a type.
    pub fn condition(&self, r#type: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.r#type == r#type)
    }

    /// This in place of what is stored: conditions of others stay, and what has not turned keeps its time.
    pub fn over(mut self, stored: &Status, now: &str) -> Self {
        for condition in &mut self.conditions {
            let before = stored.condition(&condition.r#type).filter(|before| before.status == condition.status);
            let since = before.and_then(|before| before.last_transition_time.clone());
            condition.last_transition_time = Some(since.unwrap_or_else(|| now.to_owned()));
        }
        self.conditions.extend(stored.conditions.iter().filter(|condition| !condition.is_ours()).cloned());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(truth: Truth) -> Status {
        let conditions = vec![Condition::new(ACCEPTED, truth, "R", "m".to_owned(), Some(2))];
        Status { observed_generation: Some(Count::Number(2)), conditions, ..Status::default() }
    }

    #[test]
    fn a_time_stays_until_the_condition_turns() {
        let first = of(Truth::True).over(&Status::default(), "2026-01-01T00:00:00Z");
        assert_eq!(first.conditions[0].last_transition_time.as_deref(), Some("2026-01-01T00:00:00Z"));
        let same = of(Truth::True).over(&first, "2026-01-02T00:00:00Z");
        assert_eq!(same, first, "nothing differs, so nothing has to be written");
        let turned = of(Truth::False).over(&first, "2026-01-02T00:00:00Z");
        assert_eq!(turned.conditions[0].last_transition_time.as_deref(), Some("2026-01-02T00:00:00Z"));
    }

    #[test]
    fn what_is_stored_is_read_whoever_wrote_it() {
        let text = r#"{"observedGeneration":"2","conditions":[{"type":"Healthy","status":"True","observedGeneration":"2",
            "lastProbeTime":"2026-01-01T00:00:00Z"}],"validationMessages":[{"level":"INFO","documentationUrl":"u",
            "type":{"code":"IST0001","name":"x"}}],"addresses":[{"value":"1.2.3.4"}]}"#;
        let stored = Status::stored(text);
        assert!(stored.conditions[0].is_of(Some(2)) && !stored.conditions[0].is_of(Some(3)));
        let written = of(Truth::True).over(&stored, "t");
        assert_eq!(written.conditions.len(), 2, "conditions of others stay");
        assert_eq!(written.conditions[1], stored.conditions[0]);
        let again = Status::stored(&serde_json::to_string(&written).expect("it is JSON"));
        assert_eq!(again, written);
        for text in ["", "[]", "null", r#"{"conditions":1}"#] {
            assert_eq!(Status::stored(text), Status::default(), "{text}");
        }
    }
}
