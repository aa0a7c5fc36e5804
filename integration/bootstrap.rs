//! `chancery bootstrap`: its flags, what it prints, and that real Envoys take it and do what it says.

#[path = "bootstrap/running.rs"]
mod running;

use chancery::cli::bootstrap::config::bootstrap;
use chancery::cli::bootstrap::{BootstrapArgs, BootstrapError};
use chancery::snapshot::print;
use clap::{Args, Command as Cli, FromArgMatches};
use serde_json::{Value, json};

const NODE: &str = "sidecar~10.244.1.5~client-7d9f.v2.shop~shop.svc.cluster.local";

/// The arguments, or the message the user reads.
fn parse(flags: &[&str]) -> Result<BootstrapArgs, String> {
    let cli = BootstrapArgs::augment_args(Cli::new("bootstrap").no_binary_name(true));
    let matches = cli.try_get_matches_from(flags).map_err(|error| error.to_string())?;
    BootstrapArgs::from_arg_matches(&matches).map_err(|error| error.to_string())
}

fn made(flags: &[&str]) -> Value {
    let options = parse(flags).expect("good flags").options().expect("good together");
    bootstrap(&options)
}

#[test]
fn the_default_needs_no_flags() {
    let value = made(&[]);
    print::parse_message("envoy.config.bootstrap.v3.Bootstrap", &value).expect("a bootstrap");
    assert_eq!(value["node"], json!({"metadata": {"INTERCEPTION_MODE": "NONE"}}));
    assert_eq!(value["admin"]["address"], json!({"socket_address": {"address": "127.0.0.1", "port_value": 15000}}));
    let listeners = value["static_resources"]["listeners"].as_array().expect("a list");
    let addresses: Vec<&Value> = listeners.iter().map(|listener| &listener["address"]["socket_address"]).collect();
    let on = |port: u16| json!({"address": "127.0.0.1", "port_value": port});
    assert_eq!(addresses, [&on(15090), &on(15021)]);
    let xds = &value["static_resources"]["clusters"][0];
    assert_eq!(xds["type"], "STATIC");
    let endpoint = &xds["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
    assert_eq!(endpoint["address"], json!({"socket_address": {"address": "127.0.0.1", "port_value": 15012}}));
    let ads = &value["dynamic_resources"]["ads_config"];
    assert_eq!((&ads["api_type"], &ads["set_node_on_first_message_only"]), (&json!("DELTA_GRPC"), &json!(true)));
    let back_off = &ads["grpc_services"][0]["envoy_grpc"]["retry_policy"]["retry_back_off"];
    assert_eq!(back_off["max_interval"], "5s");
}

#[test]
fn the_node_follows_from_the_service_node() {
    let flags = ["--service-node", NODE, "--node-metadata", r#"LABELS={"app":"client"}"#, "--node-metadata"];
    let value = made(&[&flags[..], &["security.istio.io/tlsMode=istio=1"]].concat());
    let metadata = json!({
        "INTERCEPTION_MODE": "NONE",
        "LABELS": {"app": "client"},
        "NAMESPACE": "shop",
        "security.istio.io/tlsMode": "istio=1",
    });
    assert_eq!(value["node"], json!({"id": NODE, "cluster": "client-7d9f.v2.shop", "metadata": metadata}));
}

#[test]
fn a_token_is_never_sent_in_plain_text() {
    let refused = parse(&["--token", "/t"]).expect_err("it needs a root certificate");
    assert!(refused.contains("--root-cert"), "{refused}");
    for path in ["", "a\"b", "a\\b", "a\nb"] {
        let refused = parse(&["--root-cert", "/r", "--token", path]).expect_err(path);
        assert!(refused.contains("not a path without"), "{refused}");
    }
    let xds = &made(&["--root-cert", "/r", "--token", "/t"])["static_resources"]["clusters"][0];
    let tls = &xds["transport_socket"]["typed_config"];
    let named = &tls["common_tls_context"]["validation_context"]["match_typed_subject_alt_names"];
    assert_eq!(named, &json!([{"san_type": "DNS", "matcher": {"exact": "chancery"}}]));
    assert!(made(&[])["static_resources"]["clusters"][0].get("transport_socket").is_none());
    let alone = parse(&["--print", "token"]).expect("good flags").text();
    assert_eq!(alone, Err(BootstrapError::NotGiven("token", "token")));
}

#[test]
fn metadata_given_by_hand_wins() {
    let given = ["INTERCEPTION_MODE=REDIRECT", "NAMESPACE=other", "N=7", "B=true", "E=", "L=[1]"];
    let flags: Vec<&str> = given.iter().flat_map(|entry| ["--node-metadata", entry]).collect();
    let value = made(&[&["--service-node", NODE], &flags[..]].concat());
    let expected =
        json!({"INTERCEPTION_MODE": "REDIRECT", "NAMESPACE": "other", "N": "7", "B": "true", "E": "", "L": [1]});
    assert_eq!(value["node"]["metadata"], expected);
}

#[test]
fn the_admin_port_stays_on_loopback() {
    for (bind, admin) in
        [("127.3.2.1", "127.3.2.1"), ("10.0.0.7", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "::1")]
    {
        let value = made(&["--bind-address", bind]);
        let held = |address: &Value| address["socket_address"]["address"].clone();
        for listener in value["static_resources"]["listeners"].as_array().expect("a list") {
            assert_eq!(held(&listener["address"]), bind);
        }
        assert_eq!(held(&value["admin"]["address"]), admin);
        let cluster = &value["static_resources"]["clusters"][1];
        let endpoint = &cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
        assert_eq!(held(&endpoint["address"]), admin);
    }
}

#[test]
fn both_formats_hold_the_same() {
    let flags = ["--service-node", NODE];
    let yaml = parse(&flags).expect("good flags").text().expect("good together");
    let json = parse(&[&flags[..], &["-o", "json"]].concat()).expect("good flags").text().expect("good together");
    assert_eq!(serde_yaml_ng::from_str::<Value>(&yaml).expect("YAML"), made(&flags));
    assert_eq!(serde_json::from_str::<Value>(&json).expect("JSON"), made(&flags));
    assert!(yaml.starts_with("admin:\n") && json.starts_with("{\n") && json.ends_with("}\n"));
}

#[test]
fn bad_values_are_refused_with_flag_and_reason() {
    for (flag, value, reason) in [
        ("--xds-address", "127.0.0.1", "no port"),
        ("--xds-address", "127.0.0.1:", "\"\" is not a port"),
        ("--xds-address", "127.0.0.1:99999", "\"99999\" is not a port"),
        ("--xds-address", "127.0.0.1:0", "\"0\" is not a port"),
        ("--xds-address", "localhost:0", "\"0\" is not a port"),
        ("--xds-address", "::1:15010", "write [ADDRESS]:PORT"),
        ("--xds-address", "[::g]:15010", "not an IPv6 address"),
        ("--xds-address", "127.0.0.256:15010", "neither an IP address nor a DNS name"),
        ("--xds-address", ":15010", "neither an IP address nor a DNS name"),
        ("--xds-address", "-a.b:15010", "neither an IP address nor a DNS name"),
        ("--xds-address", "http://a:15010", "not an IPv6 address"),
        ("--xds-address", "a b:15010", "neither an IP address nor a DNS name"),
        ("--admin-port", "0", "0 is not in 1..=65535"),
        ("--stats-port", "65536", "65536 is not in 1..=65535"),
        ("--ready-port", "0", "0 is not in 1..=65535"),
        ("--max-heap-mib", "1.5", "invalid digit"),
        ("--max-heap-mib", "99999999999", "is not in"),
        ("--bind-address", "localhost", "invalid IP address"),
        ("--service-node", "client.shop", "1 parts"),
        ("--service-node", "sidecar~10.0.0.1~client.shop~d~e", "5 parts"),
        ("--service-node", "ztunnel~10.0.0.1~client.shop~d", "\"ztunnel\" is not a type"),
        ("--service-node", "sidecar~here~client.shop~d", "\"here\" is not an IP address"),
        ("--service-node", "sidecar~10.0.0.1~client~d", "\"client\" is not POD.NAMESPACE"),
        ("--service-node", "sidecar~10.0.0.1~client.~d", "\"client.\" is not POD.NAMESPACE"),
        ("--service-node", "sidecar~10.0.0.1~.shop~d", "\".shop\" is not POD.NAMESPACE"),
        ("--service-node", "sidecar~10.0.0.1~client.shop~", "domain"),
        ("--node-metadata", "LABELS", "no \"=\""),
        ("--node-metadata", "=x", "no key"),
        ("--node-metadata", "LABELS={app: client}", "the value of LABELS is not JSON"),
        ("--output", "toml", "yaml"),
    ] {
        let text = parse(&[&format!("{flag}={value}")]).expect_err(value);
        assert!(text.contains(flag) && text.contains(reason), "{flag} {value}: {text}");
    }
}

#[test]
fn flags_that_do_not_go_together_are_refused() {
    for (one, other) in [("admin", "stats"), ("admin", "ready"), ("stats", "ready")] {
        let flags = [&format!("--{one}-port"), "9000", &format!("--{other}-port"), "9000"];
        let text = parse(&flags).expect("good alone").options().expect_err("one port for two").to_string();
        assert_eq!(text, format!("--{one}-port and --{other}-port are both 9000; they need a port each"));
    }
    let twice = parse(&["--node-metadata", "A=1", "--node-metadata", "A=2"]).expect("good alone").options();
    assert_eq!(twice, Err(BootstrapError::GivenTwice("A".into())));
}

#[test]
fn the_heap_limit_can_be_moved_and_taken_away() {
    let limit = |flags: &[&str]| {
        let manager = made(flags)["overload_manager"].clone();
        let heap = manager["resource_monitors"].as_array().expect("a list").iter().find_map(|monitor| {
            monitor["typed_config"]["max_heap_size_bytes"].as_str().map(|bytes| bytes.parse::<u64>().expect("a number"))
        });
        (heap, manager["actions"].as_array().map_or(0, Vec::len))
    };
    assert_eq!(limit(&[]), (Some(1 << 30), 2));
    assert_eq!(limit(&["--max-heap-mib", "200"]), (Some(200 << 20), 2));
    assert_eq!(limit(&["--max-heap-mib", "0"]), (None, 0));
}

#[test]
fn the_reference_shows_every_line() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/bootstrap.md"));
    let page = page.expect("the page");
    let shown = page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let xds = "chancery.chancery-system.svc:15012";
    let node = "sidecar~10.244.1.5~client-7d9f.shop~shop.svc.cluster.local";
    let token = ["--token", "/var/run/secrets/chancery/token", "--secrets-dir", "/etc/chancery"];
    let trust = [&["--root-cert", "/etc/chancery/root-cert.pem"][..], &token].concat();
    let flags = ["--xds-address", xds, "--bind-address", "0.0.0.0", "--service-node", node];
    let made = made(&[&flags[..], &trust].concat());
    let shown: Value = serde_yaml_ng::from_str(shown).expect("YAML");
    for (field, value) in made.as_object().expect("a map") {
        assert_eq!(&shown[field], value, "{field}");
    }
    assert_eq!(shown, made);
}
