//! The flags that say which cluster, as kubectl has them.

use crate::cli::access::access;
use crate::source::kubernetes::Options;
use crate::source::kubernetes::kinds::within;
use clap::Args;
use std::path::PathBuf;

/// Which cluster.
#[derive(Args, Debug)]
pub struct ClusterArgs {
    /// Kubeconfig of the cluster to serve; by default what kubectl would use, or the Pod's own service account
    #[arg(long, value_name = "FILE", env = "CHANCERY_KUBECONFIG", conflicts_with = "config")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig; its current one by default
    #[arg(long, value_name = "NAME", env = "CHANCERY_CONTEXT", conflicts_with = "config")]
    context: Option<String>,
    /// Chancery's own namespace; that of its Pod, or of the context, by default
    #[arg(long, value_name = "NAME", env = "CHANCERY_NAMESPACE", conflicts_with = "config")]
    namespace: Option<String>,
    /// Follow these namespaces alone, given with commas between them; all by default
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = namespace, env = "CHANCERY_WATCH_NAMESPACES",
        conflicts_with = "config")]
    watch_namespaces: Vec<String>,
    /// Read the Secrets of these namespaces, for rules there that name one, given with commas between them; none by default
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = namespace, env = "CHANCERY_SECRET_NAMESPACES",
        conflicts_with = "config")]
    secret_namespaces: Vec<String>,
    /// ConfigMap in chancery's namespace which holds the settings of the mesh (Istio's MeshConfig) under the key `mesh`
    #[arg(long, value_name = "NAME", default_value = "chancery", env = "CHANCERY_MESH_CONFIG_MAP")]
    mesh_config_map: String,
    /// How long a watch of the API server lasts before it is opened again, in seconds; a silent one is noticed 5 s later
    #[arg(long, value_name = "SECONDS", default_value_t = 60, env = "CHANCERY_WATCH_SECONDS",
        value_parser = clap::value_parser!(u32).range(2..=300))]
    watch_seconds: u32,
}

impl ClusterArgs {
    /// What tells this installation from others in its namespace: the name of its settings.
    pub fn installation(&self) -> String {
        self.mesh_config_map.clone()
    }

    /// Chancery's own namespace, as far as it is said.
    pub fn own_namespace(&self) -> Option<String> {
        self.namespace.clone()
    }
}

impl From<ClusterArgs> for Options {
    fn from(args: ClusterArgs) -> Self {
        let ClusterArgs {
            kubeconfig,
            context,
            namespace,
            watch_namespaces,
            secret_namespaces,
            mesh_config_map,
            watch_seconds,
        } = args;
        let kinds = within(&watch_namespaces, &secret_namespaces);
        Self { access: access(kubeconfig, context), namespace, kinds, mesh_config_map, watch_seconds }
    }
}

/// A name as the API server takes it for a namespace.
fn namespace(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    match (1..64).contains(&text.len()) && text.chars().all(plain) && !text.starts_with('-') && !text.ends_with('-') {
        true => Ok(text.to_owned()),
        false => Err("no namespace can be called that".to_owned()),
    }
}
