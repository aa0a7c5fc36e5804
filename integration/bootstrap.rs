//! `chancery bootstrap`: its flags, what it prints, and that a real Envoy takes it.

use chancery::cli::bootstrap::config::bootstrap;
use chancery::cli::bootstrap::{BootstrapArgs, BootstrapError};
use chancery::snapshot::print;
use clap::{Args, Command as Cli, FromArgMatches};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

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
    let [listener] = &value["static_resources"]["listeners"].as_array().expect("a list")[..] else { panic!("{value}") };
    assert_eq!(listener["address"], json!({"socket_address": {"address": "127.0.0.1", "port_value": 15090}}));
    let xds = &value["static_resources"]["clusters"][0];
    assert_eq!(xds["type"], "STATIC");
    let endpoint = &xds["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
    assert_eq!(endpoint["address"], json!({"socket_address": {"address": "127.0.0.1", "port_value": 15010}}));
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
        assert_eq!(held(&value["static_resources"]["listeners"][0]["address"]), bind);
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
    let same = parse(&["--admin-port", "9000", "--stats-port", "9000"]).expect("good alone").options();
    assert_eq!(same, Err(BootstrapError::SamePort(9000)));
    let twice = parse(&["--node-metadata", "A=1", "--node-metadata", "A=2"]).expect("good alone").options();
    assert_eq!(twice, Err(BootstrapError::GivenTwice("A".into())));
}

#[test]
fn envoy_accepts_every_form_of_address() {
    let addresses = ["127.0.0.1:15010", "[::1]:15010", "chancery.chancery-system.svc:15010", "localhost:15010"];
    for (index, address) in addresses.into_iter().enumerate() {
        let format = if index % 2 == 0 { "yaml" } else { "json" };
        accepted(&["--xds-address", address, "--service-node", NODE, "-o", format], format);
    }
    for release in RELEASES {
        let said = validate(release, "dynamic_resources: {ads_config: {api_type: WRONG}}", "yaml");
        assert!(said.contains("unknown enum value"), "the control: {said}");
    }
}

/// Fails unless every Envoy takes the bootstrap of these flags, without a warning.
fn accepted(flags: &[&str], format: &str) {
    let text = parse(flags).expect("good flags").text().expect("good together");
    for release in RELEASES {
        let said = validate(release, &text, format);
        assert!(said.contains("configuration '") && said.contains("' OK"), "{flags:?}: {said}");
        assert!(!said.contains("[warning]") && !said.contains("deprecated"), "{flags:?}: {said}");
    }
}

/// What an Envoy says of a bootstrap.
fn validate(release: Release, text: &str, format: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(format!("bootstrap.{format}"));
    std::fs::write(&path, text).expect("a file");
    let output =
        Command::new(envoy(release)).args(["--mode", "validate", "-c"]).arg(&path).output().expect("envoy runs");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A pinned tool, and the variable that names another binary.
type Release = (&'static str, &'static str);

/// The newest and the oldest Envoy.
const RELEASES: [Release; 2] = [("envoy", "CHANCERY_ENVOY"), ("envoy-oldest", "CHANCERY_ENVOY_OLDEST")];

/// The binary that the variable names, else the pinned one.
fn envoy((name, variable): Release) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    let fetch = concat!(env!("CARGO_MANIFEST_DIR"), "/integration/tools/fetch");
    let output = Command::new(fetch).arg(name).stderr(Stdio::inherit()).output().expect("integration/tools/fetch runs");
    assert!(output.status.success(), "no Envoy; run: make tools (or name one in {variable})");
    String::from_utf8(output.stdout).expect("a path").lines().last().expect("a path").into()
}

/// A running Envoy; ends when dropped. It also ends with the thread that started it, so a test keeps it in its own.
struct Envoy {
    child: Child,
    stats: SocketAddr,
}

impl Envoy {
    /// Starts Envoy with ports that are free; nothing answers for xDS.
    fn start() -> Envoy {
        let held: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
        let ports: Vec<u16> = held.iter().map(|held| held.local_addr().expect("bound").port()).collect();
        let flags = ["--xds-address", "--admin-port", "--stats-port"].into_iter();
        let values = [format!("127.0.0.1:{}", ports[0]), ports[1].to_string(), ports[2].to_string()];
        let flags: Vec<String> = flags.map(str::to_owned).zip(values).flat_map(|(flag, value)| [flag, value]).collect();
        let flags: Vec<&str> = flags.iter().map(String::as_str).chain(["--service-node", NODE]).collect();
        let mut config = made(&flags);
        for source in ["cds_config", "lds_config"] {
            // Envoy opens no listener, static ones included, before clusters and listeners are answered or given up.
            config["dynamic_resources"][source]["initial_fetch_timeout"] = "0.1s".into();
        }
        let config = config.to_string();
        drop(held);
        let mut command = Command::new(envoy(RELEASES[0]));
        command.args(["--disable-hot-restart", "--log-level", "warn", "--concurrency", "1", "--config-yaml", &config]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("envoy runs");
        Envoy { child, stats: ([127, 0, 0, 1], ports[2]).into() }
    }

    /// Status line and body for a path on the stats port; none while it is not open.
    fn get(&self, method: &str, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.stats).ok()?;
        let request = format!("{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_stats_port_serves_metrics_and_nothing_else() {
    let envoy = Envoy::start();
    let deadline = Instant::now() + Duration::from_secs(20);
    let metrics = loop {
        match envoy.get("GET", "/stats/prometheus") {
            Some(answer) if answer.contains("envoy_cluster_upstream_cx_total{cluster_name=\"xds\"}") => break answer,
            answer => assert!(Instant::now() < deadline, "no metrics of the xds cluster: {answer:?}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(metrics.starts_with("HTTP/1.1 200 "), "{metrics}");
    for (method, path) in [
        ("POST", "/quitquitquit"),
        ("GET", "/config_dump"),
        ("GET", "/stats/prometheus/"),
        ("GET", "/stats"),
        ("POST", "/stats/prometheus/../../quitquitquit"),
        ("POST", "/stats/prometheus%2f..%2f..%2fquitquitquit"),
    ] {
        let answer = envoy.get(method, path).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 404 ") || answer.starts_with("HTTP/1.1 400 "), "{path}: {answer}");
    }
    assert!(envoy.get("GET", "/stats/prometheus").is_some_and(|answer| answer.starts_with("HTTP/1.1 200 ")));
}
