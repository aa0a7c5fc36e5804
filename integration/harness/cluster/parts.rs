//! The processes of a control plane: how each is called, ended, frozen and started again.

use super::Options;
use crate::harness::spawner::{self, Process};
use crate::harness::{Failure, Outcome, tools};
use rustix::process::Signal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// The controllers that run where controllers are asked for: those that make what chancery reads and the Pods of its own
/// Deployment, and what Pods and Namespaces can't do without.
const CONTROLLERS: [&str; 7] = [
    "deployment-controller",
    "endpointslice-controller",
    "namespace-controller",
    "replicaset-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
];

/// A part of a control plane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// Where everything is stored.
    Etcd,
    /// What everybody talks to.
    Apiserver,
    /// The controllers, if the cluster has them.
    Controllers,
}

impl Part {
    /// The name of its program.
    pub fn name(self) -> &'static str {
        match self {
            Part::Etcd => "etcd",
            Part::Apiserver => "kube-apiserver",
            Part::Controllers => "kube-controller-manager",
        }
    }
}

/// The parts of one cluster.
pub struct Parts {
    etcd: Program,
    apiserver: Program,
    controllers: Option<Program>,
}

impl Parts {
    /// What is to run, none of it started: the API server at `api`, etcd at `store`, for its clients and for its peers.
    pub fn new(folder: &Path, api: SocketAddr, store: [SocketAddr; 2], options: &Options) -> Outcome<Self> {
        let program = |part, arguments| Program::new(part, arguments, folder);
        Ok(Self {
            etcd: program(Part::Etcd, etcd(folder, store))?,
            apiserver: program(Part::Apiserver, apiserver(folder, api, store[0], options))?,
            controllers: match options.controllers {
                true => Some(program(Part::Controllers, controllers(folder))?),
                false => None,
            },
        })
    }

    /// A part.
    pub fn of(&mut self, part: Part) -> &mut Program {
        match part {
            Part::Etcd => &mut self.etcd,
            Part::Apiserver => &mut self.apiserver,
            Part::Controllers => self.controllers.as_mut().expect("only a test that asked for controllers uses them"),
        }
    }

    /// Whether there are controllers.
    pub fn has_controllers(&self) -> bool {
        self.controllers.is_some()
    }

    /// The ends of all logs.
    pub fn tail(&self) -> String {
        let all = [Some(&self.etcd), Some(&self.apiserver), self.controllers.as_ref()];
        all.into_iter().flatten().map(Program::tail).collect::<Vec<_>>().join("\n")
    }
}

/// A program with its arguments, and its process while it runs.
pub struct Program {
    part: Part,
    path: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    process: Option<Process>,
}

impl Program {
    fn new(part: Part, arguments: Vec<String>, folder: &Path) -> Outcome<Self> {
        let log = folder.join(format!("{}.log", part.name()));
        Ok(Self { part, path: tools::kubernetes(part.name())?, arguments, log, process: None })
    }

    /// Adds a flag, from the next start on.
    pub fn add(&mut self, flag: &str) {
        self.arguments.push(flag.to_owned());
    }

    /// Starts it and doesn't wait.
    pub fn start(&mut self) -> Outcome<()> {
        self.process = Some(spawner::start(self.part.name(), &self.path, &self.arguments, &self.log)?);
        Ok(())
    }

    /// Ends it at once.
    pub fn kill(&mut self) -> Outcome<()> {
        self.running()?.kill()?;
        self.process = None;
        Ok(())
    }

    /// Keeps it from running on.
    pub fn freeze(&mut self) -> Outcome<()> {
        self.running()?.signal(Signal::STOP)
    }

    /// Lets it run on.
    pub fn thaw(&mut self) -> Outcome<()> {
        self.running()?.signal(Signal::CONT)
    }

    /// How it ended, if it has without being told.
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.process.as_mut().and_then(Process::status)
    }

    /// The end of its log.
    pub fn tail(&self) -> String {
        self.process.as_ref().map(Process::tail).unwrap_or_default()
    }

    fn running(&mut self) -> Outcome<&mut Process> {
        self.process.as_mut().ok_or_else(|| Failure::new(format!("{} isn't running", self.part.name())))
    }
}

fn etcd(folder: &Path, [client, peer]: [SocketAddr; 2]) -> Vec<String> {
    vec![
        format!("--data-dir={}", folder.join("etcd").display()),
        format!("--listen-client-urls=http://{client}"),
        format!("--advertise-client-urls=http://{client}"),
        format!("--listen-peer-urls=http://{peer}"),
        format!("--initial-advertise-peer-urls=http://{peer}"),
        format!("--initial-cluster=default=http://{peer}"),
        "--unsafe-no-fsync".into(), // The data needs to outlive the process, not the machine.
    ]
}

fn apiserver(folder: &Path, api: SocketAddr, store: SocketAddr, options: &Options) -> Vec<String> {
    let file = |name: &str| folder.join(name).display().to_string();
    let mut arguments = vec![
        format!("--etcd-servers=http://{store}"),
        format!("--bind-address={}", api.ip()),
        format!("--advertise-address={}", api.ip()),
        format!("--secure-port={}", api.port()),
        format!("--tls-cert-file={}", file("server.crt")),
        format!("--tls-private-key-file={}", file("server.key")),
        format!("--service-account-key-file={}", file("accounts.pub")),
        format!("--service-account-signing-key-file={}", file("accounts.key")),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        "--service-cluster-ip-range=10.96.0.0/16,fd00:96:77::/112".into(),
        "--authorization-mode=RBAC".into(),
        format!("--token-auth-file={}", file("tokens.csv")),
        "--endpoint-reconciler-type=none".into(), // Its address is of a kind that EndpointSlices don't take.
    ];
    if !options.controllers {
        // Nobody makes the ServiceAccounts that Pods would have to name.
        arguments.push("--disable-admission-plugins=ServiceAccount".into());
    }
    arguments.extend(options.flags.iter().map(|flag| (*flag).to_owned()));
    arguments
}

fn controllers(folder: &Path) -> Vec<String> {
    let file = |name: &str| folder.join(name).display().to_string();
    vec![
        format!("--kubeconfig={}", file("admin.kubeconfig")),
        format!("--controllers={}", CONTROLLERS.join(",")),
        format!("--service-account-private-key-file={}", file("accounts.key")),
        format!("--root-ca-file={}", file("ca.crt")),
        "--leader-elect=false".into(),
        "--secure-port=0".into(),
    ]
}
