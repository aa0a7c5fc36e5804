//! Pods on one machine: a network of our own with a bridge, and pods on it whose traffic is captured by iptables.
//!
//! Every test has a network for itself, so addresses are constants and nothing meets the machine's own network or
//! another test. Its namespaces have no names: the kernel removes them, with every link, address and rule, when the
//! last of our threads and children in them is gone, also after a crash. Needs root.

mod namespace;
pub mod requirements;

use super::client::Client;
use super::spawner::Place;
use super::{Failure, Outcome, tools};
use namespace::Namespace;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The user that sidecars run as, known to the capture rules.
pub const SIDECAR: u32 = 1337;
/// The port that captured outgoing connections arrive at.
pub const OUTBOUND: u16 = 15001;
/// The port that captured incoming connections arrive at.
pub const INBOUND: u16 = 15006;
/// The folder with the capture rules and the manifests that go with them.
const EXAMPLE: &str = "manifests/examples/capture";
/// The last byte of the bridge's address, where the control plane listens.
const BRIDGE: u8 = 1;

/// The machine that the pods are on: a bridge, and no way to anywhere else.
pub struct Network {
    namespace: Namespace,
}

/// A pod: a network namespace with one link to the bridge, which is the way to everywhere.
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its address.
    pub ip: IpAddr,
    /// Its other address.
    pub ip6: IpAddr,
    namespace: Namespace,
}

/// The IPv4 address that ends with `host`.
pub fn v4(host: u8) -> IpAddr {
    Ipv4Addr::new(10, 77, 0, host).into()
}

/// The IPv6 address that ends with `host`, in decimal digits as in [`v4`].
pub fn v6(host: u8) -> IpAddr {
    let digits = u16::from_str_radix(&host.to_string(), 16).expect("decimal digits are hexadecimal digits");
    Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, digits).into()
}

/// Runs a test on a thread that lives in a network of its own.
pub fn on_a_network<T: Send>(test: impl AsyncFnOnce(&Network) -> Outcome<T> + Send) -> Outcome<T> {
    requirements::check()?;
    // Fetched, if need be, from where there is a way to the package index.
    tools::envoy(tools::Release::Newest)?;
    let network = Network::new()?;
    network.namespace.inside(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(test(&network))
    })?
}

impl Network {
    /// One beside the network that this thread is in, for a test whose pods alone are in it.
    pub fn beside() -> Outcome<Self> {
        requirements::check()?;
        Self::new()
    }

    fn new() -> Outcome<Self> {
        let namespace = Namespace::new("node")?;
        let (ip, ip6) = (v4(BRIDGE), v6(BRIDGE));
        namespace.configure(&format!(
            "link set lo up
             link add bridge type bridge
             address add {ip}/24 dev bridge
             address add {ip6}/64 dev bridge nodad
             link set bridge up"
        ))?;
        Ok(Self { namespace })
    }

    /// Where the control plane listens.
    pub fn ip(&self) -> IpAddr {
        v4(BRIDGE)
    }

    /// Where a child runs that is on the machine and in no pod.
    pub fn machine(&self) -> Place {
        Place { network: Some(self.namespace.path().into()), ..Place::default() }
    }

    /// Adds a pod. Nothing is captured yet.
    pub fn pod(&self, name: &str, host: u8) -> Outcome<Pod> {
        let namespace = Namespace::new(name)?;
        let inside = namespace.path().display();
        self.namespace.configure(&format!(
            "link add {name} type veth peer name eth0 netns {inside}
             link set {name} master bridge up"
        ))?;
        let (ip, ip6, way, way6) = (v4(host), v6(host), v4(BRIDGE), v6(BRIDGE));
        // Of ::/127 only ::1 is the machine's without being said so; all of 127.0.0.0/8 is.
        namespace.configure(&format!(
            "link set lo up
             address add ::6/128 dev lo nodad
             address add {ip}/24 dev eth0
             address add {ip6}/64 dev eth0 nodad
             link set eth0 up
             route add default via {way}
             route add default via {way6}"
        ))?;
        Ok(Pod { name: name.into(), ip, ip6, namespace })
    }
}

impl Pod {
    /// From now on connections from and to the pod are captured, by the example's rules.
    pub fn capture(&self) -> Outcome<()> {
        for (program, file) in [("iptables-restore", "rules.v4"), ("ip6tables-restore", "rules.v6")] {
            let path = tools::root().join(EXAMPLE).join(file);
            let rules = std::fs::read_to_string(&path)?;
            let done = self.namespace.tool(program, &[], &rules);
            done.map_err(|failure| failure.with(&format!("the rules are those of {}", path.display())))?;
        }
        Ok(())
    }

    /// From now on the link swallows everything, in both directions, and nobody is told.
    pub fn cut(&self) -> Outcome<()> {
        self.drop_all("-I")
    }

    /// From now on it doesn't.
    pub fn mend(&self) -> Outcome<()> {
        self.drop_all("-D")
    }

    fn drop_all(&self, action: &str) -> Outcome<()> {
        let rules = format!("*filter\n{action} INPUT ! -i lo -j DROP\n{action} OUTPUT ! -o lo -j DROP\nCOMMIT\n");
        self.namespace.tool("iptables-restore", &["--noflush"], &rules).map(drop)
    }

    /// Does something as the pod's application would: every socket it opens is the pod's.
    pub async fn run<T: Send + 'static>(&self, work: impl Future<Output = Outcome<T>> + Send + 'static) -> Outcome<T> {
        self.namespace.run(work).await.map_err(|failure| Failure::new(format!("in {}: {failure}", self.name)))
    }

    /// Sends requests as the pod's application would.
    pub fn client(&self) -> Client {
        Client::on(self.namespace.runtime())
    }

    /// Where a child runs that is in the pod, and as whom we do.
    pub fn place(&self) -> Place {
        Place { network: Some(self.namespace.path().into()), ..Place::default() }
    }

    /// Where a child runs that is the pod's sidecar.
    pub fn sidecar(&self) -> Place {
        Place { network: Some(self.namespace.path().into()), user: Some(SIDECAR), clock: None }
    }
}
