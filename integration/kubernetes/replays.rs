//! What an API server says of a busy cluster, recorded, and told again: events of different objects in any order, some twice, some
//! with all that came before. What comes of it is always the same, and is what a list says at the end.

use crate::harness::cluster::{ADMIN, Cluster, Options};
use crate::harness::timing::soak;
use crate::harness::{Outcome, deadline};
use crate::recorded::{Log, Server};
use crate::stage::{SOON, Stage, service, slice};
use crate::{shared, source};
use chancery::model::audience::{Interception, ProxyFacts};
use chancery::model::object::Object;
use chancery::model::world::World;
use chancery::publish::Engine;
use chancery::snapshot::board::Seats;
use chancery::snapshot::kind::Kind;
use chancery::source::kubernetes::access::Access;
use chancery::source::kubernetes::kinds;
use kube::Client;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How many orders are tried.
const ORDERS: u64 = 12;
/// The last address but one of a slice, and how long it has to stay where it is told last.
const LATE: &str = "10.9.4.6";
const SETTLED: Duration = Duration::from_millis(500);

/// A source that follows an API server, and the World that comes of it.
struct Follower {
    world: watch::Receiver<World>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Follower {
    fn of(client: Client) -> Self {
        let (source, mut received) = source::follow(client, "replayed", kinds::within(&[], &[]));
        let (worlds, world) = watch::channel(World::default());
        let keeper = tokio::spawn(async move {
            while let Some(batch) = received.recv().await {
                worlds.send_modify(|world| _ = world.apply(batch.changes));
            }
        });
        Self { world, tasks: [source, keeper] }
    }

    /// Waits until the World is that one.
    async fn becomes(&self, expected: &World) -> Outcome<World> {
        let there = deadline::until("the World is as expected", SOON, async || {
            let world = self.world.borrow().clone();
            differing(&world, expected).is_empty().then_some(world)
        });
        let there = there.await;
        there.map_err(|failure| failure.with(&differing(&self.world.borrow(), expected).join("\n")))
    }
}

/// The objects in which two Worlds differ.
fn differing(one: &World, other: &World) -> Vec<String> {
    let missing = |one: &World, other: &World| -> Vec<String> {
        let differs = |object: &&Object| other.object(object.key()) != Some(*object);
        one.objects().filter(differs).map(|object| format!("{:?}", object.meta().reference)).collect()
    };
    [missing(one, other), missing(other, one)].concat()
}

/// What a proxy of the client's Pod is meant to hold: kinds, names and versions.
fn snapshot(world: &World) -> Vec<String> {
    let client = ProxyFacts::new("replayed".into(), "client".into(), Interception::default());
    let seats = Seats { joined: [client].into(), left: BTreeSet::new() };
    let outcome = Engine::default().advance(world, &seats);
    let layers = outcome.posts.iter();
    let resources = layers.flat_map(|(_, layer)| Kind::ALL.into_iter().flat_map(|kind| layer.iter(kind)));
    resources.map(|one| format!("{} {} {:?}", one.kind(), one.name(), one.version())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_may_come_twice_late_and_in_any_order() -> Outcome<()> {
    let (cluster, _held) = shared::own(Options::default()).await?;
    _ = Stage::set(&cluster, ADMIN, "replayed").await?;
    let log = Log::record(&cluster, busy(&cluster)).await?;
    let access = Access { kubeconfig: Some(cluster.kubeconfig(ADMIN)), ..Access::default() };
    let client = access.client().await?;
    let truth = Follower::of(client);
    let named = |world: &World, name: &str| world.objects().any(|object| object.key().name.as_str() == name);
    let expected = deadline::until("the cluster is known", SOON, async || {
        let world = truth.world.borrow().clone();
        named(&world, "last").then_some(world)
    })
    .await?;
    assert!(named(&expected, "again") && !named(&expected, "gone") && log.len() > 30, "{} events", log.len());
    let meant = snapshot(&expected);
    assert!(meant.iter().any(|line| line.contains("again.replayed.svc")), "{meant:?}");
    let until = Instant::now() + soak(0);
    let mut seeds = 0;
    for seed in (0..).take_while(|seed| *seed < ORDERS || Instant::now() < until) {
        seeds = seed + 1;
        let order = log.shuffled(seed);
        assert!(order.len() > log.len(), "some are told twice");
        let told = replay(&order).await?;
        let world = told.becomes(&expected).await;
        let world = world.map_err(|failure| failure.with(&format!("seed {seed}")))?;
        assert_eq!(snapshot(&world), meant, "seed {seed}");
    }
    println!("{seeds} orders");
    // The control: what comes late of the very object that it is about is not the same, and stays.
    let wrong = replay(&log.with_the_last_before_the_first("last-1")).await?;
    let is_late = |object: &Object| object.key().name.as_str() == "last-1" && format!("{object:?}").contains(LATE);
    deadline::until("what came late counts", SOON, async || wrong.world.borrow().objects().any(is_late).then_some(()))
        .await?;
    deadline::throughout("it makes a difference", SETTLED, async || {
        differing(&wrong.world.borrow(), &expected).iter().any(|object| object.contains("last-1"))
    })
    .await
}

/// A source that is told the events in that order.
async fn replay(order: &[crate::recorded::Event]) -> Outcome<Follower> {
    let server = Server::start().await?;
    let follower = Follower::of(server.client()?);
    server.tell(order).await;
    // It serves for as long as anybody follows it.
    tokio::spawn(server.until_abandoned());
    Ok(follower)
}

/// What happens in a busy cluster.
async fn busy(cluster: &Cluster) -> Outcome<()> {
    let both = |name: &str, ip: &str| format!("{}---\n{}\n", service("replayed", name), slice("replayed", name, &[ip]));
    for (name, ip) in [("gone", "10.9.4.1"), ("again", "10.9.4.2"), ("stays", "10.9.4.3")] {
        cluster.apply(&both(name, ip)).await?;
    }
    for name in ["gone", "again"] {
        cluster.kubectl(&["delete", "service", name, "-n", "replayed"]).await?;
        cluster.kubectl(&["delete", "endpointslice", &format!("{name}-1"), "-n", "replayed"]).await?;
    }
    cluster.apply(&both("again", "10.9.4.4")).await?;
    for (host, time) in [("stays", "3s"), ("nobody", "4s"), ("again", "5s")] {
        cluster.apply(&rules(host, time)).await?;
    }
    for ready in [true, false, true] {
        cluster.set_pod("replayed", "client", "10.9.0.10", ready).await?;
    }
    cluster.kubectl(&["label", "namespace", "replayed", "a=b"]).await?;
    for ip in ["10.9.4.5", "10.9.4.6", "10.9.4.7"] {
        cluster.apply(&both("last", ip)).await?;
    }
    Ok(())
}

fn rules(host: &str, time: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: rule, namespace: replayed}}\n\
         spec: {{hosts: [stays], http: [{{timeout: {time}, route: [{{destination: {{host: {host}}}}}]}}]}}\n---\n\
         apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: rule, namespace: replayed}}\n\
         spec: {{host: stays, trafficPolicy: {{connectionPool: {{tcp: {{connectTimeout: {time}}}}}}}}}\n"
    )
}
