//! What is wrong with a Sidecar given the rest of the World: ports on which nothing is there.

use crate::model::audience::Audience;
use crate::model::object::Stored;
use crate::model::problem::{Cause, Problem, Severity};
use crate::model::scope::Scope;
use crate::model::sidecar::{EgressListener, Sidecar};
use crate::model::tracked::Tracked;
use crate::model::view::View;
use crate::translate::{fixed, visible};

/// Checks a Sidecar.
pub fn check(world: &Tracked, object: &Stored<Sidecar>) -> Vec<Problem> {
    let mesh = world.mesh();
    // Whose services the default of the root namespace means depends on who asks.
    if object.selector.is_empty() && object.key().namespace == mesh.root_namespace {
        return Vec::new();
    }
    let egress = object.egress.iter().flatten();
    let numbered = egress.filter_map(|listener| Some((listener, listener.port?.0)));
    let problem = |(listener, port): (&EgressListener, u16)| {
        let (severity, cause, text) = if fixed::is_own(&mesh, port) {
            (Severity::Error, Cause::Conflict, format!("port {port} is one of the proxy's own, so nothing is there"))
        } else if !is_anything_on(world, object, listener, port) {
            let text = format!("no Service that the hosts name has port {port}, so nothing is there");
            (Severity::Warning, Cause::Reference, text)
        } else {
            return None;
        };
        let field = format!("spec.egress[{}].port.number", listener.entry);
        Some(Problem { object: object.key().clone(), field, severity, text, cause })
    };
    numbered.filter_map(problem).collect()
}

fn is_anything_on(world: &Tracked, object: &Stored<Sidecar>, listener: &EgressListener, port: u16) -> bool {
    let namespace = &object.key().namespace;
    let (scope, reader) = (Scope::of(&listener.hosts, namespace), Audience::of_everyone_in(namespace.clone()));
    let mut seen = world.services_on_port(port).into_iter().filter(|key| scope.sees(key));
    seen.any(|key| world.service(&key).is_some_and(|service| visible::exported(world, &View::new(&reader), &service)))
}
