//! Requests a token from a discovery service with one GET over HTTP/1, without TLS. The service is either a running Witan
//! cluster, whose pods the operator addresses directly, or the URL of `--discovery-service-url`.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{Client, api::ListParams};
use witan_crd::{CLUSTER, EtcdCluster, is_ready, ports};
use witan_members::page;

use crate::{
    api_server::{readable, typed, untyped},
    observe::client_address,
    resources::Cluster,
};

const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub(crate) enum DiscoveryError {
    #[error(
        "bootstrap.discovery.local has no clusterRef, and the operator has no --discovery-service-url; set one of them"
    )]
    Unset,
    #[error("cannot look up the discovery service {service}: {source}")]
    Lookup {
        service: String,
        #[source]
        source: kube::Error,
    },
    #[error("the discovery service {0} has no ready pod")]
    NotReady(String),
    #[error("cannot get a token from the discovery service at {url}: {why}")]
    NoToken { url: String, why: String },
}

/// Creates a token for `members` members at the discovery service. Returns the token's URL.
pub(crate) async fn create_token(
    client: &Client,
    cluster: &Cluster<'_>,
    members: u32,
) -> Result<String, DiscoveryError> {
    let (ask, shown) = service(client, cluster).await?;
    let url = format!("{}/new?size={members}", ask.trim_end_matches('/'));
    let no_token = |why: String| DiscoveryError::NoToken { url: url.clone(), why };
    let answer = page::get(&url, None, TIMEOUT, page::PAGE_BYTES_MAX).await;
    let answer = answer.map_err(|error| no_token(error.to_string()))?;
    let token = String::from_utf8_lossy(&answer);
    // The token's URL has the host of the request, but members use another name for the service.
    let token = token.trim().rsplit('/').next().unwrap_or_default();
    if token.is_empty() {
        let why = "the response is not the URL of a token";
        return Err(no_token(why.to_owned()));
    }
    Ok(format!("{}/{token}", shown.trim_end_matches('/')))
}

/// Returns two URLs of the discovery service: one for the operator's request, and one for the members.
async fn service(
    client: &Client,
    cluster: &Cluster<'_>,
) -> Result<(String, String), DiscoveryError> {
    let bootstrap = cluster.spec().bootstrap.as_ref();
    let named = bootstrap.and_then(|from| {
        let local = from.discovery.as_ref()?.local.as_ref()?;
        local.cluster_ref.as_ref()
    });
    let Some(service) = named.map(|named| &named.name) else {
        let url = cluster.environment.discovery_service_url.clone();
        let url = url.ok_or(DiscoveryError::Unset)?;
        return Ok((url.clone(), url));
    };
    let namespace = &cluster.namespace;
    let failed = |source| DiscoveryError::Lookup { service: service.clone(), source };
    let of = ListParams::default().labels(&format!("{CLUSTER}={service}"));
    let pods = untyped::<Pod>(client, namespace).list(&of).await;
    let pods = pods.map_err(failed)?;
    let pods = pods.items.iter().filter_map(readable::<Pod>);
    let mut ready = pods.filter(is_ready);
    let address = ready.find_map(|pod| client_address(&pod));
    let address = address.ok_or_else(|| DiscoveryError::NotReady(service.clone()))?;
    let serving = untyped::<EtcdCluster>(client, namespace).get(service).await;
    let serving = serving.and_then(|serving| typed::<EtcdCluster>(&serving));
    let serving = serving.map_err(failed)?;
    let name = serving.client_service();
    let shown = format!("http://{name}.{namespace}.svc:{}", ports::CLIENT);
    Ok((format!("http://{address}"), shown))
}
