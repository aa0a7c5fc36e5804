//! From events to one document: a stack of open maps and lists, the path of the place being filled, and the alias budget.

use super::marks::{self, Marks};
use super::{ALIAS_BUDGET, Document, Failure, MAX_DEPTH, MAX_STRING, scalar};
use saphyr_parser::{Event, ScalarStyle, Span, Tag};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What ends the reading of a document.
pub enum Stop {
    /// This document is broken, the next can be read.
    Document(Failure),
    /// Nothing after this can be read.
    File(Failure),
}

/// A document being built.
#[derive(Default)]
pub struct Builder {
    open: Vec<Frame>,
    path: String,
    lines: Vec<(u64, u32)>,
    root: Option<(Value, u32)>,
    anchors: BTreeMap<usize, (Value, usize)>,
    spent: usize,
}

/// An open map or list.
struct Frame {
    shape: Shape,
    anchor: usize,
    line: u32,
    /// Length of the path of this node.
    path: usize,
}

enum Shape {
    List(Vec<Value>),
    Map { members: Map<String, Value>, key: Option<String>, merged: Vec<Value> },
}

/// What is said of more than [`MAX_DEPTH`] levels.
pub const TOO_DEEP: &str = "maps and lists are nested more than 64 levels deep";
const _: () = assert!(MAX_DEPTH == 64, "the text above says so");

/// The key that merges other maps in; explicit keys win.
const MERGE: &str = "<<";

impl Builder {
    /// Takes the next event of the document.
    pub fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Failure> {
        let line = u32::try_from(span.start.line()).unwrap_or(u32::MAX);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = self.scalar(&text, style, tag.as_deref(), line)?;
                if self.awaits_key() {
                    self.key(text.into_owned(), value, line)
                } else {
                    self.node(value, anchor, line)
                }
            }
            Event::Alias(anchor) => self.alias(anchor, line),
            Event::SequenceStart(anchor, _) => self.start(Shape::List(Vec::new()), anchor, line),
            Event::MappingStart(anchor, _) => {
                self.start(Shape::Map { members: Map::new(), key: None, merged: Vec::new() }, anchor, line)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {
                Ok(())
            }
        }
    }

    /// The document; none if it is empty or null.
    pub fn finish(self) -> Option<Document> {
        let (value, line) = self.root?;
        (!value.is_null()).then(|| Document { value, marks: Marks::new(line, self.lines) })
    }

    fn scalar(&self, text: &str, style: ScalarStyle, tag: Option<&Tag>, line: u32) -> Result<Value, Failure> {
        if text.len() > MAX_STRING {
            return Err(Failure::new(line, format!("a string is longer than {} MiB", MAX_STRING >> 20)));
        }
        let plain = style == ScalarStyle::Plain;
        match tag {
            None if plain => Ok(scalar::resolve(text)),
            None => Ok(Value::from(text)),
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => Ok(Value::from(text)),
            Some(tag) if tag.is_yaml_core_schema() && matches!(&*tag.suffix, "int" | "float" | "bool" | "null") => {
                Ok(scalar::resolve(text))
            }
            Some(tag) => Err(Failure::new(line, format!("the tag {tag} has no meaning here"))),
        }
    }

    fn awaits_key(&self) -> bool {
        matches!(self.open.last(), Some(Frame { shape: Shape::Map { key: None, .. }, .. }))
    }

    fn key(&mut self, text: String, value: Value, line: u32) -> Result<(), Failure> {
        let name = match value {
            Value::String(name) => name,
            Value::Bool(value) => value.to_string(),
            Value::Number(_) => text,
            _ => return Err(Failure::new(line, "a key must be a string, not null")),
        };
        let Some(Frame { shape: Shape::Map { members, key, .. }, path, .. }) = self.open.last_mut() else {
            return Ok(());
        };
        if members.contains_key(&name) {
            return Err(Failure::new(line, format!("the key {name:?} is there twice")));
        }
        self.path.truncate(*path);
        if name != MERGE {
            marks::push_key(&mut self.path, &name);
            self.lines.push((Marks::hash(&self.path), line));
        }
        *key = Some(name);
        Ok(())
    }

    fn start(&mut self, shape: Shape, anchor: usize, line: u32) -> Result<(), Failure> {
        if self.awaits_key() {
            return Err(Failure::new(line, "a key must be a string, not a map or a list"));
        }
        if self.open.len() == MAX_DEPTH {
            return Err(Failure::new(line, TOO_DEEP));
        }
        self.enter_element(line);
        self.open.push(Frame { shape, anchor, line, path: self.path.len() });
        Ok(())
    }

    /// Appends the position of the element that begins here, if the open node is a list.
    fn enter_element(&mut self, line: u32) {
        if let Some(Frame { shape: Shape::List(items), path, .. }) = self.open.last() {
            self.path.truncate(*path);
            marks::push_index(&mut self.path, items.len());
            self.lines.push((Marks::hash(&self.path), line));
        }
    }

    fn end(&mut self) -> Result<(), Failure> {
        let Some(frame) = self.open.pop() else { return Ok(()) };
        let value = match frame.shape {
            Shape::List(items) => Value::Array(items),
            Shape::Map { mut members, merged, .. } => {
                for source in merged {
                    merge(&mut members, source, frame.line)?;
                }
                Value::Object(members)
            }
        };
        self.keep(&value, frame.anchor, frame.line)?;
        self.place(value, frame.line);
        Ok(())
    }

    fn node(&mut self, value: Value, anchor: usize, line: u32) -> Result<(), Failure> {
        self.enter_element(line);
        self.keep(&value, anchor, line)?;
        self.place(value, line);
        Ok(())
    }

    fn alias(&mut self, anchor: usize, line: u32) -> Result<(), Failure> {
        let Some((value, cost)) = self.anchors.get(&anchor) else {
            return Err(Failure::new(line, "an alias must name something that is complete and in the same document"));
        };
        let (copy, cost) = (value.clone(), *cost);
        self.spend(cost, line)?;
        if self.open.len() + depth(&copy) > MAX_DEPTH {
            return Err(Failure::new(line, TOO_DEEP));
        }
        match copy {
            Value::String(text) if self.awaits_key() => self.key(text.clone(), Value::String(text), line),
            _ if self.awaits_key() => Err(Failure::new(line, "a key must be a string")),
            value => self.node(value, 0, line),
        }
    }

    fn keep(&mut self, value: &Value, anchor: usize, line: u32) -> Result<(), Failure> {
        if anchor != 0 {
            let cost = cost(value);
            self.spend(cost, line)?;
            self.anchors.insert(anchor, (value.clone(), cost));
        }
        Ok(())
    }

    fn spend(&mut self, cost: usize, line: u32) -> Result<(), Failure> {
        self.spent = self.spent.saturating_add(cost);
        if self.spent > ALIAS_BUDGET {
            return Err(Failure::new(line, format!("aliases copy more than {ALIAS_BUDGET} values")));
        }
        Ok(())
    }

    fn place(&mut self, value: Value, line: u32) {
        match self.open.last_mut() {
            None => self.root = Some((value, line)),
            Some(Frame { shape: Shape::List(items), .. }) => items.push(value),
            Some(Frame { shape: Shape::Map { members, key, merged }, .. }) => match key.take() {
                Some(name) if name == MERGE => merged.push(value),
                Some(name) => {
                    members.insert(name, value);
                }
                None => {}
            },
        }
    }
}

/// What a copy of a value costs. Depth is bounded, so this may recurse.
fn cost(value: &Value) -> usize {
    match value {
        Value::String(text) => 1 + text.len() / 16,
        Value::Array(items) => 1 + items.iter().map(cost).sum::<usize>(),
        Value::Object(members) => 1 + members.iter().map(|(key, value)| key.len() / 16 + cost(value)).sum::<usize>(),
        _ => 1,
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn merge(members: &mut Map<String, Value>, source: Value, line: u32) -> Result<(), Failure> {
    match source {
        Value::Object(source) => {
            for (key, value) in source {
                members.entry(key).or_insert(value);
            }
            Ok(())
        }
        Value::Array(sources) if sources.iter().all(Value::is_object) => {
            sources.into_iter().try_for_each(|source| merge(members, source, line))
        }
        _ => Err(Failure::new(line, "<< must name a map or a list of maps")),
    }
}
