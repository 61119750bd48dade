//! `report` collects data for support in one file, without values of keys, secrets or environment variables.
//!
//! `recordings` reads the flight recorders of the members.

mod recordings;

use std::{mem, path::PathBuf};

use flate2::{Compression, write::GzEncoder};
use k8s_openapi::{
    api::core::v1::{Event, PersistentVolumeClaim, Pod},
    jiff::Timestamp,
};
use kube::{
    ResourceExt,
    api::{ListParams, LogParams},
};
use serde::Serialize;
use serde_json::Value;
use tar::{Builder, Header};
use witan_crd::{CLUSTER, CONTAINER, EtcdCluster, ports};
use witan_members::page::chain;

use super::{
    command::ReportFlags,
    error::{PluginError, of_kube},
    facts::{self, Facts},
    output::{print, yaml},
    reach::Reach,
    status,
    table::printed,
    target::Target,
};

/// Maximum number of lines to read from a log.
const LOG_LINES: i64 = 5_000;
/// Maximum number of bytes to read from a log.
const LOG_BYTES: i64 = 5 << 20;
const OPERATOR_METRICS_PORT: i32 = 8080;
const FILE_MODE: u32 = 0o644;
/// The name of the operator's container in the chart and the manifests.
const OPERATOR_CONTAINER: &str = "operator";
/// Fields that are useless for support or repeat the spec.
const LEFT_OUT: [&str; 3] = [
    "managedFields",
    "admittedSpec",
    "kubectl.kubernetes.io/last-applied-configuration",
];
const REMOVED: &str = "(removed)";

/// The archive and the parts that could not be added.
struct Bundle {
    archive: Builder<GzEncoder<Vec<u8>>>,
    /// The modification time of all files, as Unix time in seconds.
    time: u64,
    missing: Vec<String>,
}

/// Writes the report to a file and prints the parts that are missing. Fails if the cluster cannot be read or the file cannot
/// be written.
pub(super) async fn run(target: &Target, flags: &ReportFlags) -> Result<(), PluginError> {
    let cluster = flags.cluster.as_str();
    let facts = facts::read(target, cluster).await?;
    let now = Timestamp::now();
    let time = u64::try_from(now.as_second()).unwrap_or(0);
    let archive = Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    let mut bundle = Bundle { archive, time, missing: facts.unread.clone() };
    let page = printed(&status::page(&facts, now));
    bundle.add("status.txt", page.as_bytes())?;
    bundle.resource("cluster.yaml", &facts.cluster)?;
    bundle.resource("backups.yaml", &facts.backups)?;
    bundle.resource("schedules.yaml", &facts.schedules)?;
    let own = ListParams::default().labels(&format!("{CLUSTER}={cluster}"));
    let pods = target.list::<Pod>(&own, "pods").await;
    bundle.list("pods.yaml", &pods)?;
    let claims = target.list::<PersistentVolumeClaim>(&own, "claims").await;
    bundle.list("claims.yaml", &claims)?;
    let events = target.list::<Event>(&ListParams::default(), "events").await;
    let events = events.map(|mut events| {
        events.retain(|event| is_about(event, &facts));
        events
    });
    bundle.list("events.yaml", &events)?;
    for pod in pods.iter().flatten() {
        bundle.pod(target, pod, (CONTAINER, ports::METRICS)).await?;
    }
    bundle.recordings(target, &facts.cluster, flags).await?;
    let operator = Target {
        namespace: flags.operator_namespace.clone(),
        ..target.clone()
    };
    let labels = ListParams::default().labels("app.kubernetes.io/name=witan-operator");
    let operators = operator.list::<Pod>(&labels, "pods of the operator").await;
    if operators.as_ref().is_ok_and(Vec::is_empty) {
        let text = "found no pod of the operator; see --operator-namespace";
        bundle.missing.push(text.to_owned());
    }
    bundle.list("operator.yaml", &operators)?;
    for pod in operators.iter().flatten() {
        let source = (OPERATOR_CONTAINER, OPERATOR_METRICS_PORT);
        bundle.pod(&operator, pod, source).await?;
    }
    let file = flags.file.clone();
    let file = file.unwrap_or_else(|| PathBuf::from(format!("{cluster}-report.tar.gz")));
    let kubernetes = match target.client.apiserver_version().await {
        Ok(version) => version.git_version,
        Err(error) => of_kube(&error),
    };
    let plugin = env!("CARGO_PKG_VERSION");
    let versions = format!("kubectl witan {plugin}\nkubernetes {kubernetes}\n");
    bundle.add("versions.txt", versions.as_bytes())?;
    let missing = mem::take(&mut bundle.missing);
    bundle.add("missing.txt", (missing.join("\n") + "\n").as_bytes())?;
    let bytes = bundle.pack()?;
    let failed = |error| words!("cannot write {}: {error}", file.display());
    std::fs::write(&file, &bytes).map_err(failed)?;
    print(&format!("{} written\n", file.display()))?;
    for each in missing {
        print(&format!("  without: {each}\n"))?;
    }
    Ok(())
}

impl Bundle {
    /// Adds the file `report/<path>` to the archive.
    fn add(&mut self, path: &str, content: &[u8]) -> Result<(), PluginError> {
        let mut header = Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(FILE_MODE);
        header.set_mtime(self.time);
        let path = format!("report/{path}");
        let added = self.archive.append_data(&mut header, &path, content);
        added.map_err(|error| words!("cannot pack {path}: {error}"))
    }

    /// Adds a resource as YAML, without the parts that [`scrub`] removes.
    fn resource<T: Serialize>(&mut self, path: &str, resource: &T) -> Result<(), PluginError> {
        let json = serde_json::to_value(resource);
        let mut json = json.map_err(|error| words!("{path}: {error}"))?;
        scrub(&mut json);
        self.add(path, yaml(&json)?.as_bytes())
    }

    /// Adds a list of resources. If the list could not be read, adds the error to the missing parts. Fails if the archive
    /// cannot be written.
    fn list<T: Serialize>(
        &mut self,
        path: &str,
        list: &Result<Vec<T>, PluginError>,
    ) -> Result<(), PluginError> {
        match list {
            Ok(list) => self.resource(path, list),
            Err(error) => {
                self.missing.push(error.to_string());
                Ok(())
            }
        }
    }

    /// Adds a file. If the content could not be read, adds the error to the missing parts.
    fn file(
        &mut self,
        path: &str,
        content: Result<impl AsRef<[u8]>, String>,
    ) -> Result<(), PluginError> {
        match content {
            Ok(content) => self.add(path, content.as_ref()),
            Err(error) => {
                self.missing.push(error);
                Ok(())
            }
        }
    }

    /// Adds a pod's log, its log before the last restart, and its metrics. Adds unreadable parts to the missing parts. Reads
    /// the log of the container `preferred` if the pod has it. `metrics` is a port.
    async fn pod(
        &mut self,
        target: &Target,
        pod: &Pod,
        (preferred, metrics): (&str, i32),
    ) -> Result<(), PluginError> {
        let name = pod.name_any();
        let container = container(pod, preferred);
        let status = pod.status.as_ref();
        let restarted = status.and_then(|status| status.container_statuses.as_ref());
        let restarted = restarted.is_some_and(|all| all.iter().any(|own| own.restart_count > 0));
        for (previous, path) in [(false, "log"), (true, "previous.log")] {
            if previous && !restarted {
                continue;
            }
            let params = LogParams {
                container: container.clone(),
                previous,
                tail_lines: Some(LOG_LINES),
                limit_bytes: Some(LOG_BYTES),
                ..LogParams::default()
            };
            let log = target.api::<Pod>().logs(&name, &params).await;
            let log = log.map_err(|error| format!("the {path} of {name}: {}", of_kube(&error)));
            self.file(&format!("logs/{name}.{path}"), log)?;
        }
        let metrics = page(target, &name, metrics).await;
        let metrics = metrics.map_err(|error| format!("metrics of {name}: {error}"));
        self.file(&format!("metrics/{name}.txt"), metrics)
    }

    /// Adds the flight recordings of members, one at a time because of their size. Does nothing if the spec does not enable
    /// them.
    async fn recordings(
        &mut self,
        target: &Target,
        cluster: &EtcdCluster,
        flags: &ReportFlags,
    ) -> Result<(), PluginError> {
        if !recordings::records(cluster) {
            return Ok(());
        }
        let reach = match Reach::open(target, cluster, &flags.members).await {
            Ok(reach) => reach,
            Err(error) => {
                self.missing.push(format!("recordings: {error}"));
                return Ok(());
            }
        };
        for address in &reach.addresses {
            let member = &address.member;
            let bytes = recordings::read(&reach, address).await;
            let bytes = bytes.map_err(|error| format!("the recording of {member}: {error}"));
            self.file(&format!("recordings/{member}.rec"), bytes)?;
        }
        Ok(())
    }

    fn pack(self) -> Result<Vec<u8>, PluginError> {
        let packed = self.archive.into_inner().and_then(GzEncoder::finish);
        packed.map_err(|error| words!("cannot pack: {error}"))
    }
}

/// Reads the metrics of a pod through the API server.
async fn page(target: &Target, pod: &str, port: i32) -> Result<String, String> {
    let namespace = &target.namespace;
    let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy/metrics");
    let request = http::Request::get(path).body(Vec::new());
    let request = request.map_err(|error| chain(&error))?;
    target
        .client
        .request_text(request)
        .await
        .map_err(|error| of_kube(&error))
}

/// Returns the container whose log is read: `preferred` if the pod has it, otherwise the first, or `None` if the pod has none.
/// Injected containers may come first.
fn container(pod: &Pod, preferred: &str) -> Option<String> {
    let all = &pod.spec.as_ref()?.containers;
    let found = all.iter().find(|each| each.name == preferred);
    found.or(all.first()).map(|each| each.name.clone())
}

/// Returns whether the name of an event's object contains the name of the cluster or of one of its backups or schedules.
fn is_about(event: &Event, facts: &Facts) -> bool {
    let object = event.involved_object.name.as_deref().unwrap_or_default();
    let backups = facts.backups.iter().map(ResourceExt::name_any);
    let schedules = facts.schedules.iter().map(ResourceExt::name_any);
    let mut names = backups.chain(schedules).chain([facts.cluster.name_any()]);
    names.any(|name| object.contains(&name))
}

/// Removes the fields [`LEFT_OUT`] at every level, and replaces the values of environment variables with [`REMOVED`].
fn scrub(json: &mut Value) {
    match json {
        Value::Object(fields) => {
            for name in LEFT_OUT {
                fields.remove(name);
            }
            if let Some(Value::Array(variables)) = fields.get_mut("env") {
                for value in variables
                    .iter_mut()
                    .filter_map(|each| each.get_mut("value"))
                {
                    *value = REMOVED.into();
                }
            }
            fields.values_mut().for_each(scrub);
        }
        Value::Array(items) => items.iter_mut().for_each(scrub),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use serde_json::json;

    use super::*;

    #[test]
    fn values_of_variables_are_removed() {
        let mut pod = json!({
            "metadata": {"managedFields": [], "name": "a"},
            "spec": {"containers": [{"env": [
                {"name": "A", "value": "secret"},
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s"}}},
            ]}]},
            "status": {"admittedSpec": "secret"},
        });
        scrub(&mut pod);
        let text = pod.to_string();
        assert!(
            !text.contains("\"secret\"") && !text.contains("managedFields"),
            "{text}"
        );
        assert!(
            text.contains(REMOVED) && text.contains("secretKeyRef"),
            "{text}"
        );
    }

    #[test]
    fn a_file_of_a_pod_with_a_long_name_is_packed() {
        let mut bundle = Bundle {
            archive: Builder::new(GzEncoder::new(Vec::new(), Compression::default())),
            time: 1_000,
            missing: Vec::new(),
        };
        let path = format!("logs/{}.log", "a".repeat(253));
        bundle.add(&path, b"hello").unwrap();
        bundle.add("empty.txt", b"").unwrap();
        let bytes = bundle.pack().unwrap();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&*bytes));
        let files = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            (path, io::read_to_string(&mut entry).unwrap())
        });
        let long = (format!("report/{path}"), "hello".to_owned());
        let empty = ("report/empty.txt".to_owned(), String::new());
        assert_eq!(files.collect::<Vec<_>>(), [long, empty]);
    }

    #[test]
    fn injected_containers_do_not_hide_the_log_of_the_member() {
        let pod = |names: &[&str]| -> Pod {
            let containers: Vec<_> = names.iter().map(|name| json!({"name": name})).collect();
            serde_json::from_value(json!({"metadata": {}, "spec": {"containers": containers}}))
                .unwrap()
        };
        let of = |names| container(&pod(names), CONTAINER);
        assert_eq!(of(&["proxy", CONTAINER]).as_deref(), Some(CONTAINER));
        assert_eq!(of(&["operator"]).as_deref(), Some("operator"));
    }
}
