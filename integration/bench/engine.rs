//! The engine by itself: what one moved endpoint costs in worlds of very different sizes, with fifty audiences alive.

use super::role::cpu;
use super::world::{Event, Size, Town};
use chancery::model::audience::{Interception, ProxyFacts};
use chancery::model::world::World;
use chancery::publish::Engine;
use chancery::snapshot::board::Seats;

/// How many audiences are alive, each in a namespace of its own.
const AUDIENCES: u32 = 50;
/// Changes before any is measured.
const WARM: u32 = 50;

/// What one change took, on average.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// CPU time in nanoseconds, from the change of the World to the layers that are posted.
    pub cpu: u64,
    /// What was built and encoded for all changes.
    pub built: usize,
}

/// The cost of so many changes, one after the other, with so many services.
pub fn cost(services: u32, changes: u32) -> Cost {
    let size = Size { services, endpoints: 1, namespaces: AUDIENCES, proxies: AUDIENCES, audiences: AUDIENCES };
    let (mut town, mut world, mut engine) = (Town::new(size), World::default(), Engine::default());
    world.apply(town.first());
    let facts = |number| {
        let (namespace, pod) = (format!("ns{number}"), format!("p{number}"));
        ProxyFacts::new(namespace.as_str().into(), pod.as_str().into(), Interception::default())
    };
    engine.advance(&world, &Seats { joined: (0..AUDIENCES).map(facts).collect(), ..Seats::default() });
    let mut advance = |number: u32| {
        // Neighbours in the trees would find more in the caches than services anywhere do.
        let service = number.wrapping_mul(7919) % services;
        world.apply(town.changes(Event::Move(service)));
        let outcome = engine.advance(&world, &Seats::default());
        assert_eq!(outcome.posts.len(), AUDIENCES as usize, "everybody sees everything");
        outcome.built
    };
    (0..WARM).for_each(|number| _ = advance(number));
    let before = cpu();
    let built = (WARM..WARM + changes).map(advance).sum();
    Cost { cpu: (cpu() - before) / u64::from(changes), built }
}
