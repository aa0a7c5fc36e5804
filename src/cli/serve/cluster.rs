//! The flags that say which cluster, as kubectl has them.

use crate::source::kubernetes::Options;
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
    /// ConfigMap in that namespace which holds the settings of the mesh (Istio's MeshConfig) under the key `mesh`
    #[arg(long, value_name = "NAME", default_value = "chancery", env = "CHANCERY_MESH_CONFIG_MAP")]
    mesh_config_map: String,
    /// How long a watch of the API server lasts before it is opened again, in seconds; a silent one is noticed 5 s later
    #[arg(long, value_name = "SECONDS", default_value_t = 60, env = "CHANCERY_WATCH_SECONDS",
        value_parser = clap::value_parser!(u32).range(2..=300))]
    watch_seconds: u32,
}

impl ClusterArgs {
    /// Chancery's own namespace, as far as it is said.
    pub fn own_namespace(&self) -> Option<String> {
        self.namespace.clone()
    }
}

impl From<ClusterArgs> for Options {
    fn from(args: ClusterArgs) -> Self {
        let ClusterArgs { kubeconfig, context, namespace, mesh_config_map, watch_seconds } = args;
        Self { kubeconfig, context, namespace, mesh_config_map, watch_seconds }
    }
}
