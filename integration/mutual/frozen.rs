//! What a proxy would be given, made into a configuration that an Envoy starts with: routes and endpoints inside what names
//! them, secrets from files.

use crate::harness::authority::Certificate;
use crate::harness::spawner::{self, Process};
use crate::harness::tools::{self, Release};
use crate::harness::{Failure, Outcome, addresses, client::Client, deadline};
use chancery::cli::translate::{answer, print};
use chancery::model::audience::ProxyFacts;
use chancery::model::world::World;
use chancery::snapshot::kind::Kind;
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

/// An Envoy that runs on what chancery says, without it.
pub struct Frozen {
    process: Process,
    /// Its admin port.
    pub admin: SocketAddr,
}

/// What it shows and whom it believes.
pub struct Identity<'a> {
    /// Its certificate.
    pub certificate: &'a Certificate,
    /// The authority's certificate.
    pub authority: &'a str,
}

impl Frozen {
    /// Starts one for a proxy in a World and waits until it serves.
    pub async fn start(
        world: &World,
        facts: ProxyFacts,
        identity: &Identity<'_>,
        (ip, release): (IpAddr, Release),
        folder: &Path,
    ) -> Outcome<Self> {
        let name = facts.pod.to_string();
        let answer = answer(world, facts).map_err(|unknown| Failure::new(unknown.to_string()))?;
        assert_eq!(answer.violations, []);
        let secrets = folder.join(format!("{name}-secrets"));
        std::fs::create_dir(&secrets)?;
        write_secrets(identity, &secrets)?;
        let printed = print(&answer.snapshot, &Kind::ALL)?;
        let admin = addresses::free(ip)?;
        let config = json!({
            "node": {"id": name, "cluster": name},
            "admin": {"address": socket(admin)},
            "static_resources": frozen(&printed, &secrets)?,
        });
        let path = folder.join(format!("{name}.json"));
        std::fs::write(&path, serde_json::to_vec_pretty(&config)?)?;
        let arguments = [
            "-c",
            &path.to_string_lossy(),
            "--concurrency",
            "1",
            "--disable-hot-restart",
            "--file-flush-interval-msec",
            "50",
        ];
        let log = folder.join(format!("{name}.log"));
        let process = spawner::start(&format!("Envoy of {name}"), &tools::envoy(release)?, &arguments, &log)?;
        let mut frozen = Self { process, admin };
        frozen.live().await.map_err(|failure| failure.with(&frozen.process.tail()))?;
        Ok(frozen)
    }

    async fn live(&mut self) -> Outcome<()> {
        let (client, admin, process) = (Client::default(), self.admin, &mut self.process);
        deadline::until("Envoy is live", Duration::from_secs(15), async || {
            if let Some(status) = process.status() {
                return Some(Err(Failure::new(format!("Envoy ended: {status}"))));
            }
            client.text(admin, "/ready").await.is_ok_and(|text| text.starts_with("LIVE")).then_some(Ok(()))
        })
        .await?
    }

    /// All it has written.
    pub fn written(&self) -> String {
        self.process.written()
    }

    /// The end of it, for a failure's text.
    pub fn tail(&self) -> String {
        self.process.tail()
    }
}

fn socket(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}

/// Writes the secrets, each into a file of its own name: of several in one Envoy takes none.
fn write_secrets(identity: &Identity, folder: &Path) -> Outcome<()> {
    let text = |text: &str| json!({"inline_string": text});
    let Certificate { chain, key } = identity.certificate;
    let certificate = json!({"certificate_chain": text(chain), "private_key": text(key)});
    let authorities = json!({"trusted_ca": text(identity.authority)});
    for (name, kind, secret) in
        [("default", "tls_certificate", certificate), ("ROOTCA", "validation_context", authorities)]
    {
        let content = json!({"resources": [{"@type": SECRET, "name": name, kind: secret}]});
        std::fs::write(folder.join(format!("{name}.json")), content.to_string())?;
    }
    Ok(())
}

fn frozen(printed: &Value, secrets: &Path) -> Outcome<Value> {
    let list = |kind: &str| printed[kind].as_array().cloned().unwrap_or_default();
    let (mut clusters, mut listeners) = (list("cds"), list("lds"));
    for cluster in &mut clusters {
        if cluster["type"] == "EDS" {
            let name = cluster["name"].clone();
            let endpoints = list("eds").into_iter().find(|endpoints| endpoints["cluster_name"] == name);
            let cluster = cluster.as_object_mut().expect("a message");
            cluster.remove("eds_cluster_config");
            cluster.insert("type".into(), "STATIC".into());
            cluster.insert(
                "load_assignment".into(),
                endpoints.ok_or_else(|| Failure::new(format!("no endpoints of {name}")))?,
            );
        }
        rewrite(cluster, &[], secrets);
    }
    let routes = list("rds");
    listeners.iter_mut().for_each(|listener| rewrite(listener, &routes, secrets));
    Ok(json!({"clusters": clusters, "listeners": listeners}))
}

/// Puts routes where they are named, and has secrets come from files.
fn rewrite(value: &mut Value, routes: &[Value], secrets: &Path) {
    match value {
        Value::Object(members) => {
            if let Some(rds) = members.remove("rds") {
                let found = routes.iter().find(|routes| routes["name"] == rds["route_config_name"]);
                members.insert("route_config".into(), found.cloned().unwrap_or_default());
            }
            if members.contains_key("sds_config") {
                let file = format!("{}.json", members["name"].as_str().unwrap_or_default());
                let source = json!({"path_config_source": {"path": secrets.join(file)}, "resource_api_version": "V3"});
                members.insert("sds_config".into(), source);
            }
            members.values_mut().for_each(|member| rewrite(member, routes, secrets));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rewrite(item, routes, secrets)),
        _ => {}
    }
}
