//! What operators take between their brackets. Narrower than Envoy where a form means nothing.

/// What an operator takes between its brackets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// Nothing.
    Nothing,
    /// A header, and possibly another after `?`.
    Header,
    /// Possibly a format of time, as of strftime.
    Time,
    /// Two points in time and possibly a unit.
    Span,
    /// A key and possibly how to write it.
    State,
    /// A namespace and possibly keys.
    Metadata,
    /// Whose metadata, a namespace and possibly keys.
    MetadataOf,
    /// Possibly whether with the query, and which path.
    Path,
    /// Possibly one of these words.
    Word(&'static [&'static str]),
    /// A name.
    Name,
}

impl Shape {
    /// Whether these arguments are of the shape; without brackets and control characters, as the caller has seen to.
    pub fn takes(self, arguments: &str) -> bool {
        let parts: Vec<&str> = arguments.split(':').collect();
        match self {
            Shape::Nothing => arguments.is_empty(),
            Shape::Header => {
                let (main, other) = arguments.split_once('?').unwrap_or((arguments, ""));
                is_header(main) && (other.is_empty() || is_header(other))
            }
            Shape::Time => is_time(arguments),
            Shape::Span => match parts[..] {
                [start, end] => is_point(start) && is_point(end),
                [start, end, unit] => is_point(start) && is_point(end) && ["ms", "us", "ns"].contains(&unit),
                _ => false,
            },
            Shape::State => match parts[..] {
                [key] | [key, "PLAIN" | "TYPED"] => !key.is_empty(),
                [key, "FIELD", field] => !key.is_empty() && !field.is_empty(),
                _ => false,
            },
            Shape::Metadata => parts.iter().all(|part| !part.is_empty()),
            Shape::MetadataOf => {
                parts.len() > 1 && OWNERS.contains(&parts[0]) && parts.iter().all(|part| !part.is_empty())
            }
            Shape::Path => match parts[..] {
                [query] => ["", "WQ", "NQ"].contains(&query),
                [query, source] => ["", "WQ", "NQ"].contains(&query) && SOURCES.contains(&source),
                _ => false,
            },
            Shape::Word(words) => arguments.is_empty() || words.contains(&arguments),
            Shape::Name => !arguments.is_empty(),
        }
    }

    /// What is expected, as a sentence without its subject.
    pub fn expected(self) -> String {
        let text = match self {
            Shape::Nothing => "takes no arguments",
            Shape::Header => "takes the name of a header, and possibly another: (X) or (X?Y)",
            Shape::Time => "takes a format of time such as (%Y-%m-%dT%H:%M:%S.%3f), without line breaks",
            Shape::Span => "takes two points in time and possibly a unit: (START:END:ms), or us, or ns",
            Shape::State => "takes a key and possibly how to write it: (KEY:PLAIN), (KEY:TYPED) or (KEY:FIELD:NAME)",
            Shape::Metadata => "takes a namespace and possibly keys: (NAMESPACE:KEY)",
            Shape::MetadataOf => {
                return format!("takes an owner, a namespace and possibly keys; owners are {}", OWNERS.join(", "));
            }
            Shape::Path => "takes WQ or NQ and possibly ORIG, PATH or ORIG_OR_PATH: (NQ:PATH)",
            Shape::Word(words) => return format!("takes nothing or {}", words.join(", ")),
            Shape::Name => "takes a name: (NAME)",
        };
        text.to_owned()
    }
}

/// Whose metadata there is.
const OWNERS: [&str; 6] = ["DYNAMIC", "CLUSTER", "ROUTE", "UPSTREAM_HOST", "LISTENER", "VIRTUAL_HOST"];
/// Where a path is taken from.
const SOURCES: [&str; 3] = ["ORIG", "PATH", "ORIG_OR_PATH"];

/// The name of a header or pseudo-header.
fn is_header(name: &str) -> bool {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$&'*+-.^_`|~".contains(c);
    let name = name.strip_prefix(':').unwrap_or(name);
    !name.is_empty() && name.chars().all(token)
}

fn is_point(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
}

/// Conversions of one letter that write no line break.
const CONVERSIONS: &str = "aAbBcCdDeFgGhHIjklmMpPrRsSTuUVwWxXyYzZf";

/// A format of time: `%f` may have a digit for its length, all other conversions are a letter.
fn is_time(format: &str) -> bool {
    let mut conversions = format.split('%');
    conversions.next();
    conversions.all(|text| {
        let mut letters = text.chars();
        match letters.next() {
            Some('1'..='9') => letters.next() == Some('f'),
            Some(letter) => CONVERSIONS.contains(letter),
            None => false,
        }
    })
}
