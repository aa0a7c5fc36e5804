//! Connections on which nobody is let in: they end when their time is over, whatever they do with it, and no other does.

use crate::hostile::METHOD;
use crate::raw::{self, END_HEADERS, END_STREAM, Frame, HEADERS, PREFACE, Raw};
use crate::secure::{DAY, Secure, asking, cart};
use crate::stage::{Delta, NODE_ID, PATIENCE, Stage, until, value};
use chancery::snapshot::kind::Kind;
use chancery::xds::limits::Options;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long nobody has to be let in: longer than it takes to be.
const SHORT: Duration = Duration::from_secs(2);

fn short() -> Options {
    Options { admitted_within: SHORT, ..Options::default() }
}

/// Says something and then nothing more; how long until the connection ended.
async fn says(mut socket: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> Duration {
    let begun = Instant::now();
    socket.write_all(bytes).await.expect("room");
    let mut answer = Vec::new();
    // That nobody says goodbye in TLS is an error, and the end as well.
    _ = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut answer)).await.expect("the connection ends");
    begun.elapsed()
}

/// Calls again and again with what is not believed; how often before the connection ended.
async fn calls(socket: impl AsyncRead + AsyncWrite + Unpin) -> usize {
    let (mut client, mut count) = (Raw::begin(socket).await, 0);
    let call = raw::call(METHOD, &[("authorization", b"Bearer nonsense")]);
    for stream in (1..).step_by(2) {
        if !client.send(&Frame::new(HEADERS, END_HEADERS | END_STREAM, stream, &call)).await {
            break;
        }
        count += 1;
        tokio::time::sleep(SHORT / 10).await;
    }
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_on_which_nobody_is_let_in_ends() {
    let secure = Secure::with(short()).await;
    let token = secure.token(&cart(), DAY);
    let channel = secure.channel(None).await.expect("a connection");
    let mut good =
        Delta::begin(channel, Some(&token), asking(Kind::Cluster, NODE_ID, Vec::new())).await.expect("a stream");
    let (mute, silent, refused) = (secure.socket().await, secure.socket().await, secure.socket().await);
    let (mute, silent, count) = tokio::join!(says(mute, b""), says(silent, PREFACE), calls(refused));
    for lasted in [mute, silent] {
        assert!(lasted >= SHORT / 2 && lasted < PATIENCE / 2, "{lasted:?}");
    }
    assert!(count >= 3, "the control: {count} calls were refused before that");
    let ended = || value(&secure.stage, r#"chancery_xds_refusals_total{reason="idle"}"#);
    until("each is counted", || ended() == 3).await;
    until("they are gone", || value(&secure.stage, "chancery_xds_connections") == 1).await;
    // The control: who was let in goes on, long after that.
    tokio::time::sleep(SHORT).await;
    secure.place(&cart()).await;
    good.next().await.expect("an answer");
    assert_eq!(ended(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn so_does_one_in_plain_text_and_none_before_its_time() {
    let connect = async |stage: &Stage| TcpStream::connect(stage.address).await.expect("a connection");
    let (stage, patient) = (Stage::with(short()).await, Stage::new().await);
    let waits = connect(&patient).await;
    assert!(says(connect(&stage).await, b"").await < PATIENCE / 2);
    until("it is gone", || value(&stage, "chancery_xds_connections") == 0).await;
    // The control: where there is more time it is still there.
    assert_eq!(value(&patient, "chancery_xds_connections"), 1);
    drop(waits);
}

/// So many connections at most wait for somebody to be let in: who says nothing makes room then, long before its time is over. The
/// control: where there is room for all of them, all of them stay.
#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_makes_room_for_who_does() {
    const ROOM: usize = 8;
    let open = async |secure: &Secure| {
        let mut silent = Vec::new();
        for _ in 0..ROOM {
            silent.push(secure.socket().await);
        }
        silent
    };
    let few = Secure::with(Options { unadmitted: ROOM, ..Options::default() }).await;
    let many = Secure::with(Options { unadmitted: ROOM + 1, ..Options::default() }).await;
    let (begun, silent) = (Instant::now(), [open(&few).await, open(&many).await]);
    let token = few.token(&cart(), DAY);
    let channel = few.channel(None).await.expect("a connection");
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_secs(1), "the control: there was no room at first, {waited:?}");
    assert!(waited < Options::default().admitted_within / 2, "{waited:?}");
    assert_eq!(value(&many.stage, "chancery_xds_connections"), ROOM as u64);
    let first = asking(Kind::Cluster, NODE_ID, Vec::new());
    let _good = Delta::begin(channel, Some(&token), first).await.expect("it is let in");
    assert!(value(&few.stage, r#"chancery_xds_refusals_total{reason="idle"}"#) > 0, "somebody made room");
    // Whoever is let in takes up no room any more.
    let another = few.channel(None).await.expect("a connection");
    let first = asking(Kind::Cluster, NODE_ID, Vec::new());
    let _another = Delta::begin(another, Some(&token), first).await.expect("it is let in");
    drop(silent);
}

/// An address from which many connections came on which nothing was ever said has a share of what may be in progress. The
/// control is another address.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_whose_connections_say_nothing_has_a_share_of_the_places() {
    const PLACES: usize = 16;
    let (hostile, elsewhere) = (Ipv4Addr::new(127, 0, 0, 9), Ipv4Addr::new(127, 0, 0, 7));
    let secure = Secure::with(Options { handshakes: PLACES, ..short() }).await;
    let counted = |reason: &str| value(&secure.stage, &format!("chancery_xds_refusals_total{{reason=\"{reason}\"}}"));
    let mut silent = Vec::new();
    for _ in 0..120 {
        silent.push(secure.socket_from(hostile).await.expect("a handshake"));
    }
    until("their time is over", || counted("idle") == 120).await;
    drop(silent);
    let mut taken = Vec::new();
    for _ in 0..PLACES {
        taken.extend(secure.socket_from(hostile).await.ok());
    }
    assert_eq!((taken.len(), counted("throttled")), (PLACES / 4, (PLACES - PLACES / 4) as u64));
    let mut others = Vec::new();
    for _ in 0..PLACES {
        others.push(secure.socket_from(elsewhere).await.expect("a handshake"));
    }
    assert_eq!(others.len(), PLACES, "nobody else is turned away");
}
