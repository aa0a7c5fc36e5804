//! Loggers: of requests and of connections that were passed on, and of those a listener has no chain for.

use crate::model::access_log::{AccessLog, LogFormat, Stream};
use crate::snapshot::resource::any;
use envoy_types::pb::envoy::config::accesslog::v3 as envoy;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::access_loggers::stream::v3 as streams;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{ListValue, Struct, Value};
use serde_json::{Map, Value as Json};

/// What Envoy says of a connection it has no chain for.
const NO_ROUTE: &str = "NR";

/// The loggers of a connection manager or a TCP proxy.
pub fn loggers(log: Option<&AccessLog>) -> Vec<envoy::AccessLog> {
    log.map(logger).into_iter().collect()
}

/// The loggers of a listener: of connections it has no chain for and of nothing else, as in Istio.
pub fn unmatched(log: Option<&AccessLog>) -> Vec<envoy::AccessLog> {
    use envoy::access_log_filter::FilterSpecifier;
    let no_route = envoy::ResponseFlagFilter { flags: vec![NO_ROUTE.to_owned()] };
    let filter = envoy::AccessLogFilter { filter_specifier: Some(FilterSpecifier::ResponseFlagFilter(no_route)) };
    let log = log.filter(|log| log.unmatched);
    log.map(|log| envoy::AccessLog { filter: Some(filter), ..logger(log) }).into_iter().collect()
}

/// A logger to a stream of the proxy. It writes to what the process has open already: a logger to the file of that name
/// opens it again, which fails where it belongs to somebody else or is a socket, and the listener is refused.
fn logger(log: &AccessLog) -> envoy::AccessLog {
    let format = format(&log.format);
    let (name, config) = match log.stream {
        Stream::Stdout => {
            let format = streams::stdout_access_log::AccessLogFormat::LogFormat(format);
            ("envoy.access_loggers.stdout", any(&streams::StdoutAccessLog { access_log_format: Some(format) }))
        }
        Stream::Stderr => {
            let format = streams::stderr_access_log::AccessLogFormat::LogFormat(format);
            ("envoy.access_loggers.stderr", any(&streams::StderrAccessLog { access_log_format: Some(format) }))
        }
    };
    envoy::AccessLog {
        name: name.to_owned(),
        config_type: Some(envoy::access_log::ConfigType::TypedConfig(config)),
        ..Default::default()
    }
}

fn format(format: &LogFormat) -> core::SubstitutionFormatString {
    use core::substitution_format_string::Format;
    let format = match format {
        LogFormat::Text(text) => Format::TextFormatSource(core::DataSource {
            specifier: Some(core::data_source::Specifier::InlineString(text.to_string())),
            ..Default::default()
        }),
        LogFormat::Json(object) => Format::JsonFormat(structure(object)),
    };
    core::SubstitutionFormatString { format: Some(format), ..Default::default() }
}

fn structure(object: &Map<String, Json>) -> Struct {
    Struct { fields: object.iter().map(|(name, member)| (name.clone(), value(member))).collect() }
}

fn value(json: &Json) -> Value {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(flag) => Kind::BoolValue(*flag),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Json::String(text) => Kind::StringValue(text.clone()),
        Json::Array(items) => Kind::ListValue(ListValue { values: items.iter().map(value).collect() }),
        Json::Object(members) => Kind::StructValue(structure(members)),
    };
    Value { kind: Some(kind) }
}
