//! The API server and the namespace of a command.

use kube::{
    Api, Client, Config, ResourceExt as _,
    api::{ListParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use witan_crd::{EtcdCluster, Object};
use witan_members::page::chain;

use super::{
    command::TargetFlags,
    error::{PluginError, of_kube},
};

const PAGE: u32 = 500;

#[derive(Clone)]
pub(super) struct Target {
    pub(super) client: Client,
    pub(super) namespace: String,
    /// URL of the API server.
    pub(super) server: String,
}

impl Target {
    /// Reads the kubeconfig. If there is no kubeconfig, and no flag names a kubeconfig or a context, uses the ServiceAccount of
    /// the pod. Does not contact the API server.
    pub(super) async fn new(flags: &TargetFlags) -> Result<Self, PluginError> {
        let options = KubeConfigOptions { context: flags.context.clone(), ..Default::default() };
        let config = match &flags.kubeconfig {
            Some(file) => {
                let read = Kubeconfig::read_from(file).map_err(unusable)?;
                Config::from_custom_kubeconfig(read, &options)
                    .await
                    .map_err(unusable)?
            }
            None if flags.context.is_some() => {
                Config::from_kubeconfig(&options).await.map_err(unusable)?
            }
            None => Config::infer().await.map_err(unusable)?,
        };
        let namespace = flags.namespace.clone();
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        let server = config.cluster_url.to_string();
        let server = server.trim_end_matches('/').to_owned();
        let client = Client::try_from(config).map_err(unusable)?;
        Ok(Self { client, namespace, server })
    }

    pub(super) fn api<K: Object>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Lists all objects that match `selection`, page by page. `kind` names the objects in an error.
    pub(super) async fn list<K: Object>(
        &self,
        selection: &ListParams,
        kind: &str,
    ) -> Result<Vec<K>, PluginError> {
        let api: Api<K> = self.api();
        let mut params = selection.clone().limit(PAGE);
        let mut found = Vec::new();
        loop {
            let page = api.list(&params).await;
            let page = page.map_err(|error| words!("cannot list {kind}: {}", of_kube(&error)))?;
            found.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => return Ok(found),
            }
        }
    }

    /// Reads an EtcdCluster in this namespace. Fails if it does not exist.
    pub(super) async fn cluster(&self, name: &str) -> Result<EtcdCluster, PluginError> {
        self.get(name).await
    }

    /// Reads an object in this namespace. Fails if it does not exist.
    pub(super) async fn get<K: Object>(&self, name: &str) -> Result<K, PluginError> {
        let read = self.api::<K>().get(name).await;
        read.map_err(|error| {
            let (kind, namespace, why) = (K::kind(&()), &self.namespace, of_kube(&error));
            words!("cannot read {kind} {name} in namespace {namespace}: {why}")
        })
    }

    /// Creates an object in this namespace. Fails if an object with its name exists.
    pub(super) async fn create<K: Object>(&self, object: &K) -> Result<(), PluginError> {
        let (kind, name) = (K::kind(&()), object.name_any());
        let created = self.api().create(&PostParams::default(), object).await;
        let failed = |error| words!("cannot create {kind} {name}: {}", of_kube(&error));
        created.map(drop).map_err(failed)
    }
}

fn unusable(error: impl std::error::Error) -> PluginError {
    words!("cannot use the kubeconfig: {}", chain(&error))
}
