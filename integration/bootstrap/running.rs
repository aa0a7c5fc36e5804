//! Real Envoys with our bootstrap: they take it, and their ports, limits and statistics are as it says.

use crate::{NODE, made, parse};
use chancery::ca::material::Material;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn envoy_accepts_every_form_of_address() {
    let addresses = ["127.0.0.1:15012", "[::1]:15012", "chancery.chancery-system.svc:15012", "localhost:15012"];
    for (index, address) in addresses.into_iter().enumerate() {
        let format = if index % 2 == 0 { "yaml" } else { "json" };
        accepted(&["--xds-address", address, "--service-node", NODE, "-o", format], format);
    }
    accepted(&["--all-stats", "--max-heap-mib", "0", "--service-node", NODE], "yaml");
    for release in RELEASES {
        let said = validate(release, "dynamic_resources: {ads_config: {api_type: WRONG}}", "yaml");
        assert!(said.contains("unknown enum value"), "the control: {said}");
    }
}

#[test]
fn envoy_accepts_what_proves_who_it_is() {
    let place = tempfile::tempdir().expect("a folder");
    let file = |name: &str| place.path().join(name).display().to_string();
    let root = Material::self_signed(1_700_000_000).expect("a root");
    std::fs::write(file("root.pem"), root.roots).expect("a file");
    std::fs::write(file("token"), "a.b.c\n").expect("a file");
    let (roots, token, dir) = (file("root.pem"), file("token"), place.path().display().to_string());
    let flags = ["--service-node", NODE, "--root-cert", &roots, "--token", &token];
    accepted(&flags, "yaml");
    let followed = [&flags[..], &["--secrets-dir", &dir]].concat();
    for what in ["token", "roots"] {
        let text =
            parse(&[&followed[..], &["--print", what]].concat()).expect("good flags").text().expect("good together");
        std::fs::write(file(&format!("{what}.yaml")), text).expect("a file");
    }
    let text = parse(&followed).expect("good flags").text().expect("good together");
    let said = validate(RELEASES[0], &text, "yaml");
    assert!(said.contains("' OK") && !said.contains("[warning]"), "{said}");
    let said = validate(RELEASES[1], &text, "yaml");
    assert!(said.contains("header_value_prefix"), "releases before 1.37 can't follow a token: {said}");
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
    assert!(output.status.success(), "no Envoy; run: integration/tools/fetch {name} (or name one in {variable})");
    String::from_utf8(output.stdout).expect("a path").lines().last().expect("a path").into()
}

/// A running Envoy; ends when dropped. It also ends with the thread that started it, so a test keeps it in its own.
struct Envoy {
    child: Child,
    stats: SocketAddr,
}

impl Envoy {
    /// Starts an Envoy with ports that are free, further flags for its bootstrap, and an edit of that; nothing answers for
    /// xDS.
    fn start(release: Release, flags: &[&str], edit: impl FnOnce(&mut Value)) -> Envoy {
        let held: Vec<TcpListener> = (0..4).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
        let ports: Vec<u16> = held.iter().map(|held| held.local_addr().expect("bound").port()).collect();
        let xds = format!("--xds-address=127.0.0.1:{}", ports[0]);
        let [admin, stats, ready] =
            [("admin", 1), ("stats", 2), ("ready", 3)].map(|(name, index)| format!("--{name}-port={}", ports[index]));
        let own = [xds.as_str(), &admin, &stats, &ready, "--service-node", NODE];
        let mut config = made(&[&own[..], flags].concat());
        for source in ["cds_config", "lds_config"] {
            // Envoy opens no listener, static ones included, before clusters and listeners are answered or given up.
            config["dynamic_resources"][source]["initial_fetch_timeout"] = "0.1s".into();
        }
        edit(&mut config);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bootstrap.json");
        std::fs::write(&path, config.to_string()).expect("a file");
        drop(held);
        let mut command = Command::new(envoy(release));
        command.args(["--disable-hot-restart", "--log-level", "warn", "--concurrency", "1", "-c"]).arg(path);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("envoy runs");
        let envoy = Envoy { child, stats: ([127, 0, 0, 1], ports[2]).into() };
        envoy.scrape(|_| true); // It has read its file by now.
        envoy
    }

    /// The first scrape that is as it should be.
    fn scrape(&self, fits: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match self.get("GET", "/stats/prometheus") {
                Some(answer) if answer.starts_with("HTTP/1.1 200 ") && fits(&answer) => return answer,
                answer => assert!(Instant::now() < deadline, "no such scrape: {answer:?}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
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
    let envoy = Envoy::start(RELEASES[0], &[], |_| ());
    envoy.scrape(|metrics| metrics.contains("envoy_cluster_upstream_cx_total{cluster_name=\"xds\"}"));
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

/// Adds clusters like those that chancery sends.
fn clusters(config: &mut Value, count: usize) {
    let clusters = config["static_resources"]["clusters"].as_array_mut().expect("a list");
    clusters.extend((0..count).map(|index| {
        let name = format!("outbound|8080|v1|service-{index}.shop.svc.cluster.local");
        let breakers = json!({"thresholds": [{"track_remaining": true}]});
        json!({"name": name, "alt_stat_name": format!("{name};"), "type": "STATIC", "circuit_breakers": breakers})
    }));
}

/// The number of series of a scrape.
fn series(scrape: &str) -> usize {
    scrape.lines().filter(|line| line.starts_with("envoy_")).count()
}

#[test]
fn statistics_are_few_and_the_essential_ones() {
    const CLUSTERS: usize = 200;
    for release in RELEASES {
        let ours = Envoy::start(release, &[], |config| clusters(config, CLUSTERS)).scrape(|_| true);
        let all = Envoy::start(release, &["--all-stats"], |config| clusters(config, CLUSTERS)).scrape(|_| true);
        let plain = Envoy::start(release, &["--all-stats"], |config| {
            clusters(config, CLUSTERS);
            config
                .as_object_mut()
                .expect("a map")
                .retain(|field, _| !field.contains("stat_options") && field != "stats_config");
        });
        let plain = plain.scrape(|_| true);
        let each = [&ours, &all, &plain].map(|scrape| series(scrape) / CLUSTERS);
        assert!(each[0] >= 10 && each[0] <= 20, "{each:?} series for a cluster");
        assert!(each[1] > 2 * each[0] && each[2] > 3 * each[1], "the controls: {each:?}");
        for kept in [
            "envoy_cluster_manager_active_clusters{} ",
            "envoy_listener_manager_total_listeners_active{} ",
            "envoy_server_live{} ",
            "envoy_control_plane_connected_state{} ",
            "envoy_cluster_upstream_cx_total{cluster_name=\"xds\"} ",
            "envoy_overload_envoy_resource_monitors_fixed_heap_pressure{} ",
            "envoy_cluster_circuit_breakers_default_remaining_pending{cluster_name=\"outbound|8080|v1|service-7.shop.svc.cluster.local\",\
             direction=\"outbound\",service_port=\"8080\",subset=\"v1\",service_host=\"service-7.shop.svc.cluster.local\"} 1024",
        ] {
            assert!(ours.contains(kept), "{kept} is missing: {ours}");
        }
    }
}

#[test]
fn a_proxy_that_is_out_of_memory_can_still_be_seen() {
    const REFUSING: &str = "envoy_overload_envoy_overload_actions_stop_accepting_requests_active{} ";
    for release in RELEASES {
        let envoy = Envoy::start(release, &["--max-heap-mib", "1"], |_| ());
        envoy.scrape(|metrics| metrics.contains(&format!("{REFUSING}1")));
        let control = Envoy::start(release, &[], |_| ());
        control.scrape(|metrics| metrics.contains(&format!("{REFUSING}0")));
    }
}
