//! `chancery wait`: returns when what an object says is in effect at every proxy that it concerns.

mod object;
mod server;

use super::access::access;
use super::{Done, TIMED_OUT, UNREACHABLE};
use crate::model::provenance::ObjectKey;
use crate::source::kubernetes::lookup;
use crate::telemetry::logging::chain;
use clap::Args;
use object::Asked;
use server::{Answer, Server, ServerError, Standing};
use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How long until it is asked again.
const AGAIN: Duration = Duration::from_millis(200);

/// `chancery wait`.
#[derive(Args, Debug)]
pub struct WaitArgs {
    /// The object: KIND/NAME, such as virtualservice/cart or dr/cart
    #[arg(value_name = "KIND/NAME")]
    object: Asked,
    /// The object's namespace; that of the kubeconfig's context by default, or `default`
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// The generation to wait for; by default the one that the object has in the cluster when this is called, and of a
    /// folder what was read of it
    #[arg(long, value_name = "NUMBER")]
    generation: Option<i64>,
    /// How long to wait, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
    /// The admin address of chancery
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:15014", env = "CHANCERY_ADMIN_ADDRESS")]
    server: String,
    /// File of a token that shows chancery who asks, where it wants to know
    #[arg(long, value_name = "FILE", env = "CHANCERY_TOKEN")]
    token: Option<PathBuf>,
    /// Kubeconfig of the cluster that has the object; what kubectl would use by default
    #[arg(long, value_name = "FILE", env = "CHANCERY_KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig; its current one by default
    #[arg(long, value_name = "NAME", env = "CHANCERY_CONTEXT")]
    context: Option<String>,
}

impl WaitArgs {
    /// Waits; progress goes to standard error.
    pub fn run(self) -> Result<Done, Box<dyn Error>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.wait())
    }

    async fn wait(self) -> Result<Done, Box<dyn Error>> {
        let mut told = String::new();
        match timeout(Duration::from_secs(self.timeout), self.watch(&mut told)).await {
            Ok(done) => done,
            Err(_) => {
                eprintln!("chancery: not reached within {} s", self.timeout);
                Ok(Done { text: String::new(), code: TIMED_OUT })
            }
        }
    }

    /// Asks until it is reached; what was `told` last is not told again.
    async fn watch(&self, told: &mut String) -> Result<Done, Box<dyn Error>> {
        let server = Server::new(&self.server, self.token()?.as_deref())?;
        let from_cluster = match server.source().await {
            Ok(from_cluster) => from_cluster,
            Err(error @ ServerError::Refused { .. }) => return Err(error.into()),
            Err(error) => {
                eprintln!("chancery: {}", chain(&error));
                return Ok(Done { text: String::new(), code: UNREACHABLE });
            }
        };
        let (key, wanted) = self.goal(from_cluster).await?;
        loop {
            let answer = server.object(&key).await;
            let line = match &answer {
                Ok(answer) => describe(&key, answer, &wanted),
                Err(error) => format!("{key}: {}", chain(error)),
            };
            if answer.is_ok_and(|answer| is_reached(&answer, &wanted)) {
                return Ok(Done::ok(format!("{line}\n")));
            }
            if line != *told {
                eprintln!("{line}");
                *told = line;
            }
            sleep(AGAIN).await;
        }
    }

    /// What is shown to chancery. It is read once, so that it may come from a pipe.
    fn token(&self) -> Result<Option<String>, String> {
        let Some(file) = &self.token else { return Ok(None) };
        let read = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(Some(read.trim().to_owned()))
    }

    /// Which object, and which state of it.
    async fn goal(&self, from_cluster: bool) -> Result<(ObjectKey, Wanted), Box<dyn Error>> {
        if from_cluster && self.object.is_mesh() {
            return Err(
                "settings of the mesh have no generation in a cluster: ask /api/v1/objects how far they are".into()
            );
        }
        if !from_cluster || (self.generation.is_some() && self.namespace.is_some()) {
            let wanted = Wanted { generation: self.generation, identity: None };
            return Ok((self.object.key(self.namespace.as_deref().unwrap_or("default")), wanted));
        }
        let client = access(self.kubeconfig.clone(), self.context.clone()).client().await?;
        let key = self.object.key(self.namespace.as_deref().unwrap_or(client.default_namespace()));
        let wanted = match self.generation {
            Some(_) => Wanted { generation: self.generation, identity: None },
            None => {
                let found = lookup::generation(&client, &key).await;
                let (generation, identity) = found.map_err(|failure| format!("{key}: {failure}"))?;
                Wanted { generation, identity: Some(identity.to_string()) }
            }
        };
        Ok((key, wanted))
    }
}

/// The state of an object that is waited for.
#[derive(Debug, Default)]
struct Wanted {
    /// None where objects have none.
    generation: Option<i64>,
    /// Which of all objects of its name; none: whichever.
    identity: Option<String>,
}

impl Wanted {
    fn is(&self, standing: &Standing) -> bool {
        let same = self.identity.is_none() || self.identity == standing.identity;
        same && self.generation.is_none_or(|wanted| standing.generation.is_some_and(|is| is >= wanted))
    }
}

/// Whether every proxy has accepted that state, or a newer one, and no proxy may be missing.
fn is_reached(answer: &Answer, wanted: &Wanted) -> bool {
    let reached = |standing: &Standing| wanted.is(standing) && standing.in_effect_at == standing.proxies;
    !answer.partial && answer.items.first().is_some_and(reached)
}

fn describe(key: &ObjectKey, answer: &Answer, wanted: &Wanted) -> String {
    let Some(standing) = answer.items.first() else {
        let problems = answer.problems(key);
        return format!("{key}: chancery has nothing of it in effect{problems}");
    };
    let older = wanted.generation.filter(|_| !wanted.is(standing));
    let waits = older.map_or_else(String::new, |wanted| format!(", waiting for generation {wanted}"));
    let generation = standing.generation.map_or_else(String::new, |is| format!(" generation {is}"));
    let partial = if answer.partial { "; replicas that did not answer may have more" } else { "" };
    let at = match (standing.in_effect_at, standing.proxies) {
        (_, 0) => "concerns no connected proxy".to_owned(),
        (live, proxies) if live == proxies => format!("in effect at all {proxies} proxies that it concerns"),
        (live, proxies) => format!("in effect at {live} of {proxies} proxies that it concerns"),
    };
    format!("{key}{generation}: {at}{waits}{partial}{}", answer.problems(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_object_of_the_same_name_is_not_waited_for() {
        let answer = |generation, identity: &str, live| {
            let text = format!(
                r#"{{"fromCluster":true,"partial":false,"items":[{{"generation":{generation},"identity":"{identity}",
                "proxies":2,"inEffectAt":{live},"problems":[]}}]}}"#
            );
            serde_json::from_str::<Answer>(&text).expect("an answer")
        };
        let wanted = Wanted { generation: Some(1), identity: Some("new".into()) };
        assert!(is_reached(&answer(1, "new", 2), &wanted));
        assert!(!is_reached(&answer(5, "old", 2), &wanted), "the one before");
        assert!(!is_reached(&answer(1, "new", 1), &wanted), "not everywhere");
        assert!(!is_reached(&Answer { partial: true, ..answer(1, "new", 2) }, &wanted));
    }
}
