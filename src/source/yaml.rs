//! YAML with marks: from the bytes of a file to documents, each a value and the lines its fields stand on.
//!
//! Reached by bytes nobody vouches for; what leaves is bounded in size, depth and expansion. JSON is YAML. A document that
//! breaks a rule is a [`Failure`] with line and reason, the others of the file are still there. Never recurses over input.

mod build;
pub mod marks;
mod scalar;

use build::{Builder, Stop};
use marks::Marks;
use saphyr_parser::{Event, Parser, Span, StrInput};
use serde_json::Value;

/// The largest file that is read, in bytes.
pub const MAX_FILE: usize = 16 << 20;
/// The longest string, in bytes; keys count.
pub const MAX_STRING: usize = 1 << 20;
/// How deeply maps and lists may nest.
pub const MAX_DEPTH: usize = 64;
/// What aliases of one document may copy: a node costs one, and one more for each 16 bytes of text.
pub const ALIAS_BUDGET: usize = 100_000;

/// One document of a file.
#[derive(Debug)]
pub struct Document {
    /// The content; an empty document is not listed.
    pub value: Value,
    /// Where its fields stand.
    pub marks: Marks,
}

/// Why a document, or the rest of a file, could not be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The line, counted from 1.
    pub line: u32,
    /// The reason, one sentence without a trailing full stop.
    pub text: String,
}

impl Failure {
    fn new(line: u32, text: impl Into<String>) -> Self {
        Self { line, text: text.into() }
    }
}

/// What a file holds.
#[derive(Debug, Default)]
pub struct Content {
    /// The documents that could be read, in the order of the file.
    pub documents: Vec<Document>,
    /// What could not be read. With any of these, the file holds more than `documents` says.
    pub failures: Vec<Failure>,
}

/// Reads every document. After a broken rule of ours (depth, duplicate key, expansion) the next document is read as well;
/// after broken syntax nothing can be told about the rest of the file.
pub fn read(bytes: &[u8]) -> Content {
    match text(bytes) {
        Ok(text) => documents(text),
        Err(failure) => Content { documents: Vec::new(), failures: vec![failure] },
    }
}

fn text(bytes: &[u8]) -> Result<&str, Failure> {
    if bytes.len() > MAX_FILE {
        return Err(Failure::new(1, format!("the file is larger than {} MiB", MAX_FILE >> 20)));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Failure::new(line_of(bytes, error.valid_up_to()), "the file is not UTF-8 from here on"))?;
    // The scanner takes NUL for the end of the file and would drop what follows without a word.
    if let Some(at) = text.find('\0') {
        return Err(Failure::new(line_of(bytes, at), "a NUL character can't be part of YAML"));
    }
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

fn line_of(bytes: &[u8], offset: usize) -> u32 {
    let breaks = bytes[..offset].iter().filter(|byte| **byte == b'\n').count();
    u32::try_from(breaks + 1).unwrap_or(u32::MAX)
}

fn documents(text: &str) -> Content {
    let mut content = Content::default();
    let mut parser = Parser::new_from_str(text);
    loop {
        match next(&mut parser) {
            Ok(Some((Event::DocumentStart(_), _))) => match document(&mut parser) {
                Ok(None) => {}
                Ok(Some(document)) => content.documents.push(document),
                Err(Stop::Document(failure)) => {
                    content.failures.push(failure);
                    if let Err(failure) = skip_document(&mut parser) {
                        content.failures.push(failure);
                        return content;
                    }
                }
                Err(Stop::File(failure)) => {
                    content.failures.push(failure);
                    return content;
                }
            },
            Ok(Some(_)) => {}
            Ok(None) => return content,
            Err(failure) => {
                content.failures.push(failure);
                return content;
            }
        }
    }
}

type Source<'a> = Parser<'a, StrInput<'a>>;

fn next<'a>(parser: &mut Source<'a>) -> Result<Option<(Event<'a>, Span)>, Failure> {
    parser.next_event().transpose().map_err(|error| {
        let line = u32::try_from(error.marker().line()).unwrap_or(u32::MAX);
        // The scanner has a limit of its own for lists and maps in brackets, which it meets when it looks ahead.
        match error.info() {
            "recursion limit exceeded" => Failure::new(line, build::TOO_DEEP),
            info => Failure::new(line, format!("not YAML: {info}")),
        }
    })
}

/// Builds one document; its start was read. None if it is empty.
fn document(parser: &mut Source<'_>) -> Result<Option<Document>, Stop> {
    let mut builder = Builder::default();
    loop {
        match next(parser).map_err(Stop::File)? {
            Some((Event::DocumentEnd, _)) | None => return Ok(builder.finish()),
            Some((event, span)) => builder.event(event, span).map_err(Stop::Document)?,
        }
    }
}

fn skip_document(parser: &mut Source<'_>) -> Result<(), Failure> {
    while let Some((event, _)) = next(parser)? {
        if event == Event::DocumentEnd {
            break;
        }
    }
    Ok(())
}
