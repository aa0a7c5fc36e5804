//! What is wrong with the Secrets that a DestinationRule names: one isn't there, or has not what is taken from it.

use super::unresolved;
use crate::model::destination::{ClientTls, DestinationRule, TrafficPolicy};
use crate::model::object::Stored;
use crate::model::problem::{Problem, Severity};
use crate::model::secret::authorities_of;
use crate::model::tracked::Tracked;

/// Checks the Secrets that a rule names.
pub fn check(world: &Tracked, object: &Stored<DestinationRule>) -> Vec<Problem> {
    let subsets = object.subsets.iter().enumerate();
    let subsets = subsets.map(|(at, subset)| (format!("spec.subsets[{at}].trafficPolicy"), &subset.policy));
    let policies = std::iter::once(("spec.trafficPolicy".to_owned(), &object.policy)).chain(subsets);
    policies.flat_map(|(field, policy)| of_policy(world, object, &field, policy)).collect()
}

fn of_policy(world: &Tracked, object: &Stored<DestinationRule>, field: &str, policy: &TrafficPolicy) -> Vec<Problem> {
    let general = policy.tls.iter().map(|tls| (format!("{field}.tls.credentialName"), tls));
    let ports = policy.ports.iter().filter_map(|(port, policy)| Some((port, policy.tls.as_ref()?)));
    let ports = ports.map(|(_, tls)| (format!("{field}.portLevelSettings"), tls));
    general.chain(ports).flat_map(|(field, tls)| missing(world, object, &field, tls)).collect()
}

fn missing(world: &Tracked, object: &Stored<DestinationRule>, field: &str, tls: &ClientTls) -> Vec<Problem> {
    let ClientTls::Server(server) = tls else { return Vec::new() };
    let Some(credential) = &server.credential else { return Vec::new() };
    let secret = &credential.secret;
    let [pair, authorities] = world.offers(secret);
    let namespace = &secret.namespace;
    let problem = |what: String| {
        let text = format!(
            "no {what} is known, so requests get 503; in a cluster chancery reads Secrets only in the namespaces that \
             --secret-namespaces names, of which {namespace} has to be one"
        );
        unresolved(object.key(), field.to_owned(), Severity::Error, text)
    };
    let no_pair = (credential.shown && !pair).then(|| problem(format!("certificate with a key in {secret}")));
    let lone = authorities_of(secret).name;
    let no_authorities = (server.takes_authorities() && !authorities)
        .then(|| problem(format!("certificate of an authority in {secret}, nor in a Secret {lone} beside it")));
    no_pair.into_iter().chain(no_authorities).collect()
}
