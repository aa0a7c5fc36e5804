//! Filter chains in one line each, for cases that are about which there are: what one is for, what it does with TLS, and where
//! it leads.

use serde_json::Value;

/// Listeners with their filter chains as lines.
pub fn chains(mut listeners: Value) -> Value {
    for listener in listeners.as_array_mut().into_iter().flatten() {
        if let Some(chains) = listener.get_mut("filter_chains").and_then(Value::as_array_mut) {
            chains.iter_mut().for_each(|chain| *chain = line(chain).into());
        }
    }
    listeners
}

fn line(chain: &Value) -> String {
    let text = |path: &str| chain.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let texts = |path: &str| {
        let list = chain.pointer(path).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
    };
    let port = chain.pointer("/filter_chain_match/destination_port").map_or("any port".to_owned(), Value::to_string);
    let transport = match text("/filter_chain_match/transport_protocol") {
        "" => "anything",
        transport => transport,
    };
    let tokens = texts("/filter_chain_match/application_protocols");
    let tokens = if tokens.is_empty() { tokens } else { format!(" of [{tokens}]") };
    let opened = match chain.get("transport_socket") {
        None => String::new(),
        Some(_) => {
            format!(" opened as [{}]", texts("/transport_socket/typed_config/common_tls_context/alpn_protocols"))
        }
    };
    let filter = "/filters/0/typed_config";
    let cluster = text(&format!("{filter}/cluster"));
    let routed = text(&format!("{filter}/route_config/virtual_hosts/0/routes/0/route/cluster"));
    let leads = if cluster.is_empty() { format!("HTTP to {routed}") } else { format!("bytes to {cluster}") };
    format!("{}: {port}, {transport}{tokens}{opened}: {leads}", text("/name"))
}
