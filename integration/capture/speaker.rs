//! An application for any port: speaks first or second, plain lines or HTTP, and says who is connected to it.

use crate::harness::{Failure, Outcome};
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

/// The limit on an exchange, shorter than the time a sniffing listener holds a silent connection.
pub const LIMIT: Duration = Duration::from_secs(3);

/// A running application; refuses connections once dropped.
pub struct Speaker {
    serving: JoinHandle<()>,
}

struct Manner {
    says: String,
    first: bool,
}

impl Speaker {
    /// Answers every line on `port` with what it says, the address of the peer, and the line.
    pub async fn start(says: &str, port: u16) -> Outcome<Self> {
        Self::listen(Manner { says: says.into(), first: false }, port).await
    }

    /// The same, but says so before it has heard anything.
    pub async fn start_first(says: &str, port: u16) -> Outcome<Self> {
        Self::listen(Manner { says: says.into(), first: true }, port).await
    }

    async fn listen(manner: Manner, port: u16) -> Outcome<Self> {
        // An IPv6 socket takes IPv4 as well.
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await?;
        Ok(Self { serving: tokio::spawn(accept(listener, Arc::new(manner))) })
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn accept(listener: TcpListener, manner: Arc<Manner>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, peer)) = listener.accept().await {
        connections.spawn(speak(stream, peer, manner.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn speak(stream: TcpStream, peer: SocketAddr, manner: Arc<Manner>) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let whole = format!("{} {}", manner.says, peer.ip().to_canonical());
    if manner.first {
        write.write_all(format!("{whole} welcome\n").as_bytes()).await?;
    }
    let mut lines = BufReader::new(read).lines();
    while let Some(line) = lines.next_line().await? {
        if line.contains(" HTTP/1.1") {
            while lines.next_line().await?.is_some_and(|header| !header.is_empty()) {}
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", whole.len());
            write.write_all(format!("{head}{whole}").as_bytes()).await?;
        } else {
            write.write_all(format!("{whole} {line}\n").as_bytes()).await?;
        }
    }
    Ok(())
}

/// Sends a line over a connection of its own and returns the line that comes back.
pub async fn line(address: SocketAddr, text: &str) -> Outcome<String> {
    in_time(async { Talk::begin(address).await?.say(text).await }).await
}

/// The same from an address of one's choice.
pub async fn line_from(source: SocketAddr, address: SocketAddr, text: &str) -> Outcome<String> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(source)?;
    in_time(async { Talk::over(socket.connect(address).await?).say(text).await }).await
}

async fn in_time<T>(exchange: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    timeout(LIMIT, exchange).await.map_err(|_| Failure::new(format!("nothing within {LIMIT:?}")))?
}

/// A connection that is kept open.
pub struct Talk(BufReader<TcpStream>);

impl Talk {
    /// Connects.
    pub async fn begin(address: SocketAddr) -> Outcome<Self> {
        in_time(async { Ok(Self::over(TcpStream::connect(address).await?)) }).await
    }

    fn over(stream: TcpStream) -> Self {
        Self(BufReader::new(stream))
    }

    /// Sends a line and returns the line that comes back.
    pub async fn say(&mut self, text: &str) -> Outcome<String> {
        in_time(async { Ok(self.0.write_all(format!("{text}\n").as_bytes()).await?) }).await?;
        self.hear().await
    }

    /// The next line, without saying anything.
    pub async fn hear(&mut self) -> Outcome<String> {
        in_time(async {
            let mut answer = String::new();
            match self.0.read_line(&mut answer).await? {
                0 => Err(Failure::new("the connection was closed")),
                _ => Ok(answer.trim_end().to_owned()),
            }
        })
        .await
    }
}
