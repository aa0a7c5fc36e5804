//! A DNS server of our own: it answers for the addresses it was told, says that other names don't exist, or is silent.
//!
//! It understands what a resolver asks and no more: one question, answered from a table, for a second.

use super::Outcome;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// The length of the header, and of what follows the name in a question.
const HEADER: usize = 12;
const TYPE_AND_CLASS: usize = 4;
/// An answer is for this long.
const SECONDS: u8 = 1;

/// A running server; it ends when dropped.
pub struct Dns {
    /// Where it is asked.
    pub address: SocketAddr,
    book: Arc<Mutex<Book>>,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct Book {
    addresses: BTreeMap<String, Vec<Ipv4Addr>>,
    silent: bool,
    asked: BTreeMap<String, u64>,
}

impl Dns {
    /// Starts one that knows nothing.
    pub async fn start(ip: IpAddr) -> Outcome<Self> {
        let socket = UdpSocket::bind((ip, 0)).await?;
        let address = socket.local_addr()?;
        let book = Arc::new(Mutex::new(Book::default()));
        let serving = tokio::spawn(serve(socket, book.clone()));
        Ok(Self { address, book, serving })
    }

    /// From now on the name has these addresses; with none it exists and has no address.
    pub fn tell(&self, name: &str, addresses: &[Ipv4Addr]) {
        self.book().addresses.insert(name.to_owned(), addresses.to_vec());
    }

    /// From now on answers nothing, or answers again.
    pub fn silence(&self, silent: bool) {
        self.book().silent = silent;
    }

    /// How often a name was asked for.
    pub fn asked(&self, name: &str) -> u64 {
        self.book().asked.get(name).copied().unwrap_or(0)
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().expect("nobody panics with the lock")
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(socket: UdpSocket, book: Arc<Mutex<Book>>) {
    let mut question = [0; 512];
    while let Ok((length, peer)) = socket.recv_from(&mut question).await {
        let answer = answer(&question[..length], &mut book.lock().expect("nobody panics with the lock"));
        if let Some(answer) = answer {
            socket.send_to(&answer, peer).await.ok();
        }
    }
}

/// The answer to a question; none where it can't be read, or while the server is silent.
fn answer(question: &[u8], book: &mut Book) -> Option<Vec<u8>> {
    let (name, end) = name(question)?;
    let kind = question.get(end..end + 2)?;
    *book.asked.entry(name.clone()).or_default() += 1;
    if book.silent {
        return None;
    }
    let known = book.addresses.get(&name);
    // A, for which 1 stands; other kinds exist and are empty.
    let addresses = known.filter(|_| kind == [0, 1]).map(Vec::as_slice).unwrap_or_default();
    let mut answer = question[..2].to_vec();
    // A response of an authority, without error or with "no such name".
    answer.extend([
        0x84,
        if known.is_some() { 0 } else { 3 },
        0,
        1,
        0,
        u8::try_from(addresses.len()).ok()?,
        0,
        0,
        0,
        0,
    ]);
    answer.extend(&question[HEADER..end + TYPE_AND_CLASS]);
    for address in addresses {
        // The name stands where the question has it; then type, class, time to live and length.
        answer.extend([0xc0, HEADER as u8, 0, 1, 0, 1, 0, 0, 0, SECONDS, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}

/// The name asked for, without the final dot, and where it ends.
fn name(question: &[u8]) -> Option<(String, usize)> {
    let (mut labels, mut at) = (Vec::new(), HEADER);
    loop {
        let length = usize::from(*question.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        labels.push(String::from_utf8_lossy(question.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
}
