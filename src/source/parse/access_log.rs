//! What proxies log, from the settings of the mesh. A proxy refuses every listener for a format it doesn't understand or a
//! file it can't open, so neither gets past here.

use super::log_format;
use super::notes::Notes;
use super::syntax::quoted;
use crate::model::access_log::{AccessLog, LogFormat, Stream};
use serde_json::{Map, Value};

/// The settings as they are written.
pub struct Written<'s> {
    /// `accessLogFile`.
    pub file: &'s str,
    /// `accessLogFormat`.
    pub format: &'s str,
    /// Whether `accessLogEncoding` is JSON.
    pub json: bool,
    /// Whether listeners log what they have no chain for.
    pub unmatched: bool,
}

/// The longest format, in bytes: it is part of every listener, up to three times.
const MAX_LENGTH: usize = 8_192;
/// The most maps and lists of JSON in one another; Envoy reads about 30.
const MAX_DEPTH: usize = 16;

/// Istio's line.
const TEXT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% \
    %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" \
    %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \
    \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% \
    %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% \
    %ROUTE_NAME%\n";

/// Istio's object.
const JSON: [(&str, &str); 24] = [
    ("authority", "%REQ(:AUTHORITY)%"),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("connection_termination_details", "%CONNECTION_TERMINATION_DETAILS%"),
    ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("duration", "%DURATION%"),
    ("method", "%REQ(:METHOD)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
    ("requested_server_name", "%REQUESTED_SERVER_NAME%"),
    ("response_code", "%RESPONSE_CODE%"),
    ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("route_name", "%ROUTE_NAME%"),
    ("start_time", "%START_TIME%"),
    ("upstream_cluster", "%UPSTREAM_CLUSTER_RAW%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
    ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"),
    ("upstream_service_time", "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%"),
    ("upstream_transport_failure_reason", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"),
    ("user_agent", "%REQ(USER-AGENT)%"),
    ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
];

/// Parses the settings; none where nothing is logged, or something is wrong, which is noted.
pub fn parse(written: Written, notes: &mut Notes) -> Option<AccessLog> {
    let format = format(&written, notes);
    if written.file.is_empty() {
        if !written.format.is_empty() {
            notes.warning("accessLogFormat", "nothing is logged, because accessLogFile is empty");
        }
        return None;
    }
    let stream = notes.check("accessLogFile", stream(written.file));
    Some(AccessLog { stream: stream?, format: format?, unmatched: written.unmatched })
}

fn stream(file: &str) -> Result<Stream, String> {
    match file {
        "/dev/stdout" => Ok(Stream::Stdout),
        "/dev/stderr" => Ok(Stream::Stderr),
        _ => Err(format!(
            "{} is neither /dev/stdout nor /dev/stderr: a proxy that can't open a file refuses every listener, and whether \
             it can is not known here",
            quoted(file)
        )),
    }
}

fn format(written: &Written, notes: &mut Notes) -> Option<LogFormat> {
    let text = written.format;
    if text.len() > MAX_LENGTH {
        notes.error("accessLogFormat", format!("has {} bytes; {MAX_LENGTH} are allowed", text.len()));
        return None;
    }
    let (format, wrong) = match (written.json, text) {
        (false, "") => (LogFormat::Text(TEXT.into()), Vec::new()),
        (false, text) => (LogFormat::Text(line(text).into()), log_format::check(text)),
        (true, "") => (LogFormat::Json(istios_object().into()), Vec::new()),
        (true, text) => {
            let (object, wrong) = object(text);
            (LogFormat::Json(object.into()), wrong)
        }
    };
    let good = wrong.is_empty();
    wrong.into_iter().for_each(|text| notes.error("accessLogFormat", text));
    good.then_some(format)
}

/// With a line break at its end, as Istio adds it.
fn line(text: &str) -> String {
    if text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") }
}

fn istios_object() -> Map<String, Value> {
    JSON.into_iter().map(|(name, format)| (name.to_owned(), format.into())).collect()
}

/// Reads an object and checks every text in it; the names in it hold no operators.
fn object(text: &str) -> (Map<String, Value>, Vec<String>) {
    let read: Result<Map<String, Value>, _> = serde_json::from_str(text);
    match read {
        Ok(object) => {
            let mut wrong = Vec::new();
            object.iter().for_each(|(name, value)| walk(value, name, 1, &mut wrong));
            (object, wrong)
        }
        Err(error) => (Map::new(), vec![format!("is not an object of JSON, which the encoding asks for: {error}")]),
    }
}

fn walk(value: &Value, path: &str, depth: usize, wrong: &mut Vec<String>) {
    if depth > MAX_DEPTH {
        wrong.push(format!("{}: more than {MAX_DEPTH} maps and lists in one another", quoted(path)));
        return;
    }
    match value {
        Value::String(text) => {
            wrong.extend(log_format::check(text).into_iter().map(|text| format!("{}: {text}", quoted(path))));
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                walk(item, &format!("{path}[{at}]"), depth + 1, wrong);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                walk(member, &format!("{path}.{name}"), depth + 1, wrong);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
