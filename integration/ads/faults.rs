//! Fleets that misbehave, all at once: reject everything, read nothing, fall silent, come back. Others notice nothing, and
//! nothing is kept of who is gone. `CHANCERY_SOAK` makes them larger; see `make soak`.

use crate::stage::{Delta, Stage, node_id, raise_limit, until_within, value};
use chancery::snapshot::kind::Kind;
use chancery::snapshot::resource::Resource;
use chancery::xds::chorus::QUIET;
use chancery::xds::limits::Options;
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryResponse;
use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::Code;
use tonic::transport::Channel;
use tracing_subscriber::fmt::MakeWriter;

const RESPONSES: &str = r#"chancery_xds_responses_total{type="cds"}"#;
const BYTES: &str = r#"chancery_xds_response_bytes_total{type="cds"}"#;
const ACKS: &str = r#"chancery_xds_requests_total{outcome="ack",type="cds"}"#;
const NACKS: &str = r#"chancery_xds_requests_total{outcome="nack",type="cds"}"#;
/// What a whole fleet may take.
const LONG: Duration = Duration::from_secs(60);

/// The size of a fleet: this, or ten times as many in a soak.
fn fleet(size: usize) -> usize {
    if std::env::var_os("CHANCERY_SOAK").is_some() { size * 10 } else { size }
}

fn version(content: &[u8]) -> String {
    Resource::opaque(Kind::Cluster, "a", content, Vec::new()).version().to_string()
}

fn carries(response: &DeltaDiscoveryResponse, content: &[u8]) -> bool {
    response.resources.iter().any(|resource| resource.version == version(content))
}

/// As many clients as that, each a proxy with a connection of its own and its first answer, which is still to be acknowledged.
async fn connected(stage: &Stage, count: usize) -> Vec<(Delta, DeltaDiscoveryResponse)> {
    raise_limit();
    let mut opening = JoinSet::new();
    for number in 0..count {
        let channel = stage.channel().await;
        opening.spawn(async move {
            let mut client = Delta::open_on(channel, &node_id(number)).await.expect("a stream");
            let first = client.next_within(LONG).await.expect("the first answer");
            (client, first)
        });
    }
    let clients = opening.join_all().await;
    assert_eq!(stage.board().seated(), count, "each is another proxy");
    clients
}

/// Too little memory: new streams are refused, and so is who has waited for a turn; those there are go on. Once there is some again,
/// new ones are taken, which is the control.
#[tokio::test]
async fn without_memory_nobody_new_is_taken_and_who_is_there_goes_on() {
    // Room for one: the first has its turn until it has acknowledged.
    let stage = Stage::with(Options { admission: 64 << 10, turn: LONG, ..Options::default() }).await;
    stage.post(&[("a", b"1")], None);
    let mut client = Delta::open(&stage).await.expect("a stream");
    stage.place().await;
    let first = client.next().await.expect("the first answer");
    let mut waiting = Delta::open(&stage).await.expect("a stream");
    until_within(LONG, "it waits", || value(&stage, "chancery_xds_admission_waiting") == 1).await;

    stage.context.admission.shut(true);
    let refused = Delta::open(&stage).await.err().expect("a refusal");
    client.ack(&first).await;
    let refused = [refused, waiting.next().await.expect_err("a refusal")]
        .map(|status| (status.code(), status.message().to_owned()));
    let expected = (Code::Unavailable, "there is too little memory for more streams; those there are go on".to_owned());
    assert_eq!(refused, [expected.clone(), expected]);
    assert_eq!(value(&stage, r#"chancery_xds_refusals_total{reason="memory"}"#), 2);
    stage.post(&[("a", b"2")], None);
    assert!(carries(&client.next().await.expect("the change"), b"2"));

    stage.context.admission.shut(false);
    let mut another = Delta::open(&stage).await.expect("a stream");
    assert!(carries(&another.next().await.expect("an answer"), b"2"));
}

/// Room for everybody at once: who never answers keeps nobody waiting.
async fn roomy() -> Stage {
    placing(Options { admission: 4 << 30, ..Options::default() }).await
}

/// A server whose proxies are placed as they join.
async fn placing(options: Options) -> Stage {
    let stage = Stage::with(options).await;
    stage.place_all();
    stage
}

/// Five hundred proxies reject everything they are sent. Nothing that was rejected is sent again, what is new is sent
/// once, the log says it once and not five hundred times, and a proxy that accepts is none the worse. The control is the change: were nothing sent at all, it would not
/// arrive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_rejections_resends_nothing() {
    let (count, log, began) = (fleet(500), Log::default(), Instant::now());
    let lines = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_writer(log.clone()).finish();
    tracing::subscriber::set_global_default(lines).expect("nobody else listens");
    let stage = roomy().await;
    stage.post(&[("a", b"1")], None);
    let mut fleet = connected(&stage, count).await;
    let (mut good, first) = fleet.pop().expect("some");
    good.ack(&first).await;
    for round in 1..4u8 {
        for (client, response) in &fleet {
            client.nack(response).await;
        }
        let nacks = (count as u64 - 1) * u64::from(round);
        until_within(LONG, "everybody has rejected", || value(&stage, NACKS) == nacks).await;
        assert_eq!(
            value(&stage, RESPONSES),
            count as u64 * u64::from(round),
            "round {round}: something was sent again"
        );
        stage.post(&[("a", &[round])], Some(Instant::now()));
        for (client, response) in &mut fleet {
            *response = client.next_within(LONG).await.expect("the change");
            assert!(carries(response, &[round]), "round {round}: {response:?}");
        }
        let response = good.next_within(LONG).await.expect("the change");
        assert!(carries(&response, &[round]), "round {round}: {response:?}");
        good.ack(&response).await;
    }
    assert_eq!(value(&stage, RESPONSES), count as u64 * 4);
    assert_eq!(stage.context.registry.proxies().len(), count, "everybody is still there");
    let said = log.lines("no storm so loud");
    let bound = 1 + began.elapsed().as_secs() / QUIET.as_secs();
    assert!((1..=bound).contains(&said), "{said} lines, {bound} at most");
    until_within(LONG, "the one that accepts has accepted all", || value(&stage, ACKS) == 4).await;
}

/// Proxies reject hundreds of clusters, each by name. Each later change costs them what has changed, and not a look at
/// everything they hold back: counted, not timed. The controls: everything was looked at when it was rejected, and what has
/// changed is told to all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_back_costs_later_changes_nothing() {
    const CLUSTERS: usize = 300;
    let (stage, count) = (roomy().await, fleet(50));
    let names: Vec<String> = (0..CLUSTERS).map(|number| format!("c{number}")).collect();
    let bad: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b"bad"[..])).collect();
    let post = |change: u8| {
        let changed = [change];
        let all: Vec<_> = bad.iter().copied().chain([("z", &changed[..])]).collect();
        stage.post(&all, Some(Instant::now()));
    };
    post(0);
    let mut fleet = connected(&stage, count).await;
    let each: Vec<String> = names.iter().map(|name| format!("{name}: it is bad")).collect();
    let message = format!("Error adding/updating cluster(s) {}", each.join(", "));
    for (client, response) in &mut fleet {
        client.nack_as(response, &message).await;
        let rest = client.next_within(LONG).await.expect("the rest");
        assert_eq!(rest.resources.len(), 1, "but for what is at fault");
        client.ack(&rest).await;
    }
    let looks = || stage.context.registry.proxies().iter().map(|proxy| proxy.counters().looks).sum::<u64>();
    let accepted = |rounds: u64| value(&stage, ACKS) == rounds * count as u64;
    until_within(LONG, "the rest is accepted", || accepted(1)).await;
    let (storm, all) = (looks(), (count * CLUSTERS) as u64);
    assert!((all..=4 * all).contains(&storm), "{storm} looks at {all} things");
    let told = stage.context.registry.rejections();
    assert_eq!(told.counts[Kind::Cluster as usize], CLUSTERS);
    for round in 1..=5u8 {
        post(round);
        for (client, _) in &mut fleet {
            let response = client.next_within(LONG).await.expect("the change");
            assert!(response.resources.len() == 1 && carries(&response, &[round]), "round {round}: {response:?}");
            client.ack(&response).await;
        }
        until_within(LONG, "it is accepted", || accepted(1 + u64::from(round))).await;
    }
    assert_eq!(looks(), storm, "nothing has happened to what is held back");
    assert!(Arc::ptr_eq(&told, &stage.context.registry.rejections()), "nor is it told anew");
    drop(fleet);
    until_within(LONG, "with the last of them it is gone", || {
        stage.context.registry.rejections().counts[Kind::Cluster as usize] == 0
    })
    .await;
}

/// What is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// How many lines have these words in them.
    fn lines(&self, words: &str) -> u64 {
        let text = self.0.lock().expect("nobody panics with the lock");
        String::from_utf8_lossy(&text).lines().filter(|line| line.contains(words)).count() as u64
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody panics with the lock").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Every tenth client reads nothing. The others get each of twenty changes; when the slow ones read again they find at
/// most what was on its way, and the newest. The control are the others: there were twenty changes to get.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_get_the_newest_and_hold_nobody_up() {
    const CHANGES: u8 = 20;
    let stage = roomy().await;
    // More than fits between the server and a client that does not read.
    let content = |change: u8| vec![change; 256 << 10];
    stage.post(&[("a", &content(0))], None);
    let mut fleet = connected(&stage, 20).await;
    for (client, first) in &fleet {
        client.ack(first).await;
    }
    let mut fast = fleet.split_off(2);
    for change in 1..=CHANGES {
        stage.post(&[("a", &content(change))], Some(Instant::now()));
        for (client, _) in &mut fast {
            let response = client.next_within(LONG).await.expect("the change");
            assert!(carries(&response, &content(change)), "change {change}");
            client.ack(&response).await;
        }
    }
    for (client, _) in &mut fleet {
        let mut older = 0;
        loop {
            let response = client.next_within(LONG).await.expect("a change");
            client.ack(&response).await;
            if carries(&response, &content(CHANGES)) {
                break;
            }
            older += 1;
        }
        // One is HTTP/2's, of one the next part is about to be, and one waits for that.
        assert!(older <= 3, "{older} responses were kept for a client that does not read");
    }
    let sent = value(&stage, RESPONSES);
    assert!(sent <= 20 + 18 * u64::from(CHANGES) + 2 * 4, "{sent} responses");
}

/// A way to the server that can be made to swallow everything while both ends stay open.
struct Way {
    address: SocketAddr,
    blocked: watch::Sender<bool>,
}

impl Way {
    async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let (blocked, watched) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut watched = watched.clone();
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(server).await.expect("the server listens");
                    let blocked = tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => false,
                        _ = watched.wait_for(|blocked| *blocked) => true,
                    };
                    if blocked {
                        // Nobody is told: both ends stay open until nobody can block the way any more.
                        _ = watched.wait_for(|blocked| !blocked).await;
                    }
                });
            }
        });
        Self { address, blocked }
    }

    async fn channel(&self) -> Channel {
        let channel = Channel::from_shared(format!("http://{}", self.address)).expect("an address");
        channel.connect().await.expect("a way")
    }
}

/// Clients behind a link that is gone in both directions, a hundred at a time, ten times over: each is noticed by its
/// silence, and nothing is kept of it. The control, a client on another link, stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_connections_are_noticed_and_leave_nothing_behind() {
    const AT_ONCE: usize = 100;
    let second = Duration::from_secs(1);
    let options = Options { keepalive_interval: second / 2, keepalive_timeout: second / 2, ..Options::default() };
    let stage = placing(Options { admission: 4 << 30, ..options }).await;
    stage.post(&[("a", b"1")], None);
    let mut control = connected(&stage, 1).await;
    let (client, first) = &mut control[0];
    client.ack(first).await;
    for round in 0..fleet(3).min(10) {
        let way = Way::to(stage.address).await;
        let mut silent = Vec::new();
        for number in 1..=AT_ONCE {
            let mut other = Delta::open_on(way.channel().await, &node_id(number)).await.expect("a stream");
            other.next().await.expect("the first answer");
            silent.push(other);
        }
        assert_eq!(stage.context.registry.proxies().len(), AT_ONCE + 1);
        way.blocked.send_replace(true);
        until_within(LONG, "the silent ones are gone", || {
            let gone = ["chancery_xds_connections", "chancery_xds_streams"].map(|gauge| value(&stage, gauge));
            stage.context.registry.proxies().len() == 1 && gone == [1, 1]
        })
        .await;
        let ends = value(&stage, r#"chancery_xds_stream_ends_total{reason="connection_gone"}"#);
        assert_eq!(ends, (AT_ONCE * (round + 1)) as u64);
    }
    until_within(LONG, "no turn is left", || value(&stage, "chancery_xds_admission_bytes") == 0).await;
    stage.post(&[("a", b"2")], Some(Instant::now()));
    assert!(carries(&client.next_within(LONG).await.expect("the change"), b"2"), "the control is still served");
}

/// A whole fleet loses its connections and comes back at once, stating what it holds: nobody is refused, everybody is
/// answered and accepts, and next to nothing is sent. The control is the first time, when everything was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_that_comes_back_with_what_it_holds_is_sent_nothing() {
    let count = fleet(500);
    let stage = placing(Options { admission: 16 << 20, ..Options::default() }).await;
    let names: Vec<String> = (0..100).map(|number| format!("c{number}")).collect();
    let clusters: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &[7; 200][..])).collect();
    stage.post(&clusters, None);
    raise_limit();
    let fleet = conversing(&stage, count, &BTreeMap::new()).await;
    until_within(LONG, "everybody has accepted", || value(&stage, ACKS) == count as u64).await;
    let (first, held) = (value(&stage, BYTES), fleet[0].1.clone());
    assert_eq!(held.len(), names.len());
    drop(fleet);
    until_within(LONG, "everybody is gone", || value(&stage, "chancery_xds_streams") == 0).await;
    let fleet = conversing(&stage, count, &held).await;
    until_within(LONG, "everybody has accepted again", || value(&stage, ACKS) == 2 * count as u64).await;
    assert_eq!(stage.context.registry.proxies().len(), count);
    assert!(fleet.iter().all(|(_, sent)| sent.is_empty()), "what is held is not sent again");
    let again = value(&stage, BYTES) - first;
    assert!(again * 100 < first, "{again} bytes after {first}");
    assert!(!stage.metrics().contains("chancery_xds_refusals_total{"), "nobody is refused");
}

/// A client loses its connection before it has accepted what goes on after a rejection, of which it has applied a part. It comes
/// back, states what it accepted last, which is what there is, and is told it all the same; once it has accepted that it is
/// believed, which is the control.
#[tokio::test]
async fn what_was_not_accepted_is_told_again() {
    let stage = roomy().await;
    stage.post(&[("a", b"1"), ("b", b"1")], None);
    let states = || -> Held { ["a", "b"].map(|name| (name.to_owned(), version(b"1"))).into() };
    let again = async |before: Option<Delta>| {
        drop(before);
        until_within(LONG, "it is gone", || value(&stage, "chancery_xds_streams") == 0).await;
        converse(stage.channel().await, 0, states()).await
    };
    let (mut client, sent) = again(None).await;
    assert!(sent.is_empty(), "nothing was sent before");
    stage.post(&[("a", b"2"), ("b", b"bad")], Some(Instant::now()));
    let response = client.next().await.expect("the change");
    client.nack_as(&response, "Error adding/updating cluster(s) b: it is bad").await;
    let rest = client.next().await.expect("the rest");
    assert!(rest.resources.len() == 1 && carries(&rest, b"2"), "{rest:?}");
    stage.post(&[("a", b"1"), ("b", b"1")], Some(Instant::now()));
    let (client, sent) = again(Some(client)).await;
    assert_eq!(sent, states(), "it may hold another form of them");
    until_within(LONG, "it has accepted", || value(&stage, ACKS) == 2).await;
    let (_client, sent) = again(Some(client)).await;
    assert!(sent.is_empty(), "now it is settled: {sent:?}");
}

/// As many such clients as that, each a proxy with a connection of its own.
async fn conversing(stage: &Stage, count: usize, held: &Held) -> Vec<(Delta, Held)> {
    let mut open = JoinSet::new();
    for number in 0..count {
        open.spawn(converse(stage.channel().await, number, held.clone()));
    }
    open.join_all().await
}

/// What a client holds, or was sent, by name and version.
type Held = BTreeMap<String, String>;

/// A client that states what it holds and accepts its first answer; what that carried, by name and version.
async fn converse(channel: Channel, number: usize, held: Held) -> (Delta, Held) {
    let mut client = Delta::again_on(channel, &node_id(number), held).await.expect("a stream");
    let first = client.next_within(LONG).await.expect("the first answer");
    client.ack(&first).await;
    let sent = first.resources.iter().map(|resource| (resource.name.clone(), resource.version.clone()));
    (client, sent.collect())
}
