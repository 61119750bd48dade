//! Requests a token from a discovery service with one GET over HTTP/1, without TLS. The service is either a running Witan
//! cluster, whose pods the operator addresses directly, or the service at `--discovery-service-url`.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use witan_crd::{CLUSTER, EtcdCluster, is_ready, ports};
use witan_members::page;

use crate::{
    act::ActError,
    api_server::{get, list},
    observe::client_address,
    resources::Cluster,
};

const TIMEOUT: Duration = Duration::from_secs(5);

const UNSET: &str = "bootstrap.discovery.local has no clusterRef, and the operator has no --discovery-service-url; set one of them";

/// Creates a token for `members` members at the discovery service. Returns the token's URL for the members. The token is the
/// last path segment of the response. Fails if the response is empty.
pub(crate) async fn create_token(
    client: &Client,
    cluster: &Cluster<'_>,
    members: u32,
) -> Result<String, ActError> {
    let (ask, shown) = service(client, cluster).await?;
    let url = format!("{}/new?size={members}", ask.trim_end_matches('/'));
    let refused = |why: &str| {
        let text = format!("cannot get a token from the discovery service at {url}: {why}");
        ActError::Refused(text)
    };
    let answer = page::get(&url, None, TIMEOUT, page::PAGE_BYTES_MAX).await;
    let answer = answer.map_err(|error| refused(&error.to_string()))?;
    let token = String::from_utf8_lossy(&answer);
    // The token's URL has the host of the request, but members use another name for the service.
    let token = token.trim().rsplit('/').next().unwrap_or_default();
    if token.is_empty() {
        return Err(refused("the response is not the URL of a token"));
    }
    Ok(format!("{}/{token}", shown.trim_end_matches('/')))
}

/// Returns two URLs of the discovery service: one for the operator's request, and one for the members. Fails if no service is
/// configured or none of its pods is ready.
async fn service(client: &Client, cluster: &Cluster<'_>) -> Result<(String, String), ActError> {
    let bootstrap = cluster.spec().bootstrap.as_ref();
    let named = bootstrap.and_then(|from| {
        let local = from.discovery.as_ref()?.local.as_ref()?;
        local.cluster_ref.as_ref()
    });
    let Some(service) = named.map(|named| &named.name) else {
        let url = cluster.environment.discovery_service_url.clone();
        let url = url.ok_or_else(|| ActError::Refused(UNSET.to_owned()))?;
        return Ok((url.clone(), url));
    };
    let namespace = &cluster.namespace;
    let action = "list the pods of the discovery service";
    let pods = list::<Pod>(client, namespace, (CLUSTER, service), action).await?;
    let mut ready = pods.iter().filter(|pod| is_ready(pod));
    let address = ready.find_map(client_address);
    let action = "read the EtcdCluster of the discovery service";
    let serving = get::<EtcdCluster>(client, namespace, service, action).await?;
    let (Some(address), Some(serving)) = (address, serving) else {
        let text = format!("the discovery service {service} has no ready pod");
        return Err(ActError::Refused(text));
    };
    let name = serving.client_service();
    let shown = format!("http://{name}.{namespace}.svc:{}", ports::CLIENT);
    Ok((format!("http://{address}"), shown))
}
