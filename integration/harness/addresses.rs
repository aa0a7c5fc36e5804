//! Addresses of one's own: each run takes a /24 of 127.0.0.0/8 and keeps it by a file lock, so that runs side by side,
//! in this process or another, never meet. All of 127.0.0.0/8 is this machine without any set-up.

use super::{Failure, Outcome};
use std::fs::{File, OpenOptions};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::time::{SystemTime, UNIX_EPOCH};

/// The second byte of the networks handed out: clear of 127.0.x.x, which everybody uses, and of the examples' 127.77.
const SECOND: std::ops::Range<u32> = 128..251;

/// A /24, held until dropped.
pub struct Subnet {
    second: u8,
    third: u8,
    _lock: File,
}

impl Subnet {
    /// Takes a network that nobody holds.
    pub fn take() -> Outcome<Self> {
        let folder = std::env::temp_dir().join("chancery-addresses");
        std::fs::create_dir_all(&folder)?;
        let count = SECOND.len() as u32 * 256;
        let start = SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos() ^ std::process::id().rotate_left(16);
        for step in 0..count {
            let index = (start % count + step) % count;
            let (second, third) = ((SECOND.start + index / 256) as u8, (index % 256) as u8);
            let path = folder.join(format!("127.{second}.{third}"));
            let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
            if lock.try_lock().is_ok() {
                return Ok(Self { second, third, _lock: lock });
            }
        }
        Err(Failure::new(format!("every network is taken; see {}", folder.display())))
    }

    /// What the network's addresses begin with, such as `127.130.7.`.
    pub fn prefix(&self) -> String {
        format!("127.{}.{}.", self.second, self.third)
    }

    /// An address of the network.
    pub fn ip(&self, host: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(127, self.second, self.third, host))
    }

    /// A socket address of the network with a port that nobody listens on.
    pub fn free(&self, host: u8) -> Outcome<SocketAddr> {
        free(self.ip(host))
    }
}

/// A port of `ip` that nobody listens on. On an address of one's own it stays free.
pub fn free(ip: IpAddr) -> Outcome<SocketAddr> {
    let [port] = ports(ip)?;
    Ok(SocketAddr::new(ip, port))
}

/// As many different ports of `ip` that nobody listens on: all are held until the last is found.
pub fn ports<const COUNT: usize>(ip: IpAddr) -> Outcome<[u16; COUNT]> {
    let mut held = Vec::new();
    let mut found = [0; COUNT];
    for port in &mut found {
        let listener = TcpListener::bind((ip, 0))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(found)
}
