//! xDS as canonical proto JSON or YAML, from the committed descriptor set; and JSON back into messages.
//!
//! Resources and messages as JSON come in; values with fields named as in Envoy's own documentation come out, sorted,
//! with every `Any` expanded. The only user of `prost_reflect`.

use super::resource::Resource;
use prost::{DecodeError, Message, Name};
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::Value;
use std::str::FromStr;
use std::sync::LazyLock;
use thiserror::Error;

/// Decoded at first use, which takes a tenth of a second.
static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(include_bytes!("../../proto/envoy.fds").as_slice()).expect("made by protoc")
});

/// Why something cannot be printed or read.
#[derive(Error, Debug)]
pub enum PrintError {
    /// The descriptor set has no message of that name.
    #[error("no message type is called {0}")]
    UnknownType(String),
    /// The bytes are not a message of that type.
    #[error("not an encoded {name}: {source}")]
    Bytes {
        /// The full name of the message type.
        name: String,
        /// What the decoder says.
        source: DecodeError,
    },
    /// An `Any` in the message is of an unknown type or not a message of its type.
    #[error("{name} can't be printed: {source}")]
    Content {
        /// The full name of the message type.
        name: String,
        /// What the printer says.
        source: serde_json::Error,
    },
    /// The JSON is not a message of that type: an unknown field, a wrong type, an unknown enum value.
    #[error("no valid {name}: {path}: {source}")]
    Json {
        /// The full name of the message type.
        name: String,
        /// The field at fault, from the top; `.` for the whole.
        path: String,
        /// What the reader says.
        source: serde_json::Error,
    },
}

/// How values are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// YAML, one document.
    #[default]
    Yaml,
    /// JSON, indented.
    Json,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "yaml" => Ok(Format::Yaml),
            "json" => Ok(Format::Json),
            _ => Err("not one of yaml, json".to_owned()),
        }
    }
}

/// A resource's message as JSON: proto field names, sorted; defaults left out; every `Any` expanded, with its type as
/// `@type`. The resource's own type is not in it, nor a private key.
pub fn resource(resource: &Resource) -> Result<Value, PrintError> {
    let url = resource.kind().type_url();
    let name = url.rsplit_once('/').map_or(url, |(_, name)| name);
    let message = DynamicMessage::decode(descriptor(name)?, resource.body())
        .map_err(|source| PrintError::Bytes { name: name.into(), source })?;
    let options = SerializeOptions::new().use_proto_field_name(true);
    let mut value = message
        .serialize_with_options(serde_json::value::Serializer, &options)
        .map_err(|source| PrintError::Content { name: name.into(), source })?;
    if let Some(key) = value.pointer_mut("/tls_certificate/private_key") {
        *key = serde_json::json!({"inline_string": "[not shown]"});
    }
    Ok(value)
}

/// Checks that a value is a message of the type with that full name; unknown fields are refused, also within an `Any`.
pub fn parse_message(full_name: &str, value: &Value) -> Result<(), PrintError> {
    read(full_name, value).map(drop)
}

/// Reads a message from proto JSON, with field names in either spelling; unknown fields are refused, also within an
/// `Any`.
pub fn message<M: Message + Name + Default>(value: &Value) -> Result<M, PrintError> {
    let name = M::full_name();
    read(&name, value)?.transcode_to().map_err(|source| PrintError::Bytes { name, source })
}

/// A value as text that ends with a newline.
pub fn text(value: &Value, format: Format) -> String {
    match format {
        Format::Yaml => serde_yaml_ng::to_string(value).expect("keys of a value are strings"),
        Format::Json => format!("{value:#}\n"),
    }
}

fn read(name: &str, value: &Value) -> Result<DynamicMessage, PrintError> {
    let mut track = serde_path_to_error::Track::new();
    let reader = serde_path_to_error::Deserializer::new(value, &mut track);
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let result = DynamicMessage::deserialize_with_options(descriptor(name)?, reader, &options);
    result.map_err(|source| PrintError::Json { name: name.into(), path: track.path().to_string(), source })
}

fn descriptor(name: &str) -> Result<MessageDescriptor, PrintError> {
    POOL.get_message_by_name(name).ok_or_else(|| PrintError::UnknownType(name.into()))
}
