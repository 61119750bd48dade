//! `convert`: YAML of other operators and charts of etcd as resources of Witan that say the same.
//!
//! It is a function from text to text. `documents` reads the YAML. The file of a format takes the fields that it knows out of a
//! [`Fields`] and sets those of a [`Made`]; what nobody takes is named in a comment. `pods`, `disks`, `tls`, `server` and `stores`
//! are what formats share. `schema` reads our definitions: a value that they would refuse is named, so that every result is
//! accepted.

mod aenix;
mod bitnami;
mod coreos;
mod cozystack;
mod disks;
mod documents;
mod druid;
mod etcd_io;
mod fields;
mod made;
mod notes;
mod pods;
mod schema;
mod selectors;
mod server;
mod stores;
#[cfg(test)]
mod tests;
mod tls;
mod values;
mod write;

use std::io::Read as _;

use serde_json::Value;

use self::{
    documents::Document,
    fields::Fields,
    made::Made,
    notes::{Notes, comment},
};
use super::{
    PluginError,
    command::{ChartValues, ConvertFlags},
    output::print,
};
use witan_crd::ByteQuantity;

/// Most bytes of the input: far more than the manifests of a namespace have.
const INPUT_MAX: u64 = 16 << 20;

/// Why versions, images and defragmentations are not converted.
const VERSION: &str = "it is a version of etcd; members run that of the operator, or spec.version";
const IMAGE: &str = "it is an image of etcd; members run that of the operator, or spec.image";
const DEFRAGMENTATION: &str = "nothing has to be defragmented";

/// Formats that are known by their apiVersion.
const FORMATS: [(&str, &str, Converter); 5] = [
    (
        "etcd.database.coreos.com/v1beta2",
        "EtcdCluster, EtcdBackup",
        coreos::convert,
    ),
    (
        "operator.etcd.io/v1alpha1",
        "EtcdCluster",
        |kind, fields| only_clusters(kind, fields, etcd_io::cluster),
    ),
    ("druid.gardener.cloud/v1alpha1", "Etcd", druid::convert),
    ("etcd.aenix.io/v1alpha1", "EtcdCluster", |kind, fields| {
        only_clusters(kind, fields, aenix::cluster)
    }),
    (
        "etcd-operator.cozystack.io/v1alpha2",
        "EtcdCluster, EtcdSnapshot",
        cozystack::convert,
    ),
];

/// Kinds that other operators of etcd have: one of an unknown apiVersion is a mistake, and no object of another sort.
const OF_ETCD: [&str; 2] = ["EtcdCluster", "Etcd"];

const OWN_GROUP: &str = "witan.dev/";

type Converter = fn(&str, &mut Fields) -> Result<Outcome, String>;

enum Outcome {
    Made(Vec<Made>),
    PassedOver(&'static str),
}

impl Outcome {
    /// A kind without a counterpart.
    const UNKNOWN: Self = Self::PassedOver("nothing is converted of this kind");
}

pub(super) fn run(flags: &ConvertFlags) -> Result<(), PluginError> {
    let (place, text) = read(flags)?;
    let converted = convert(&text, flags.from, flags.name.as_deref());
    let converted = converted.map_err(|reason| words!("{place}: {reason}"))?;
    print(&converted)
}

/// Reads the file or stdin; returns its name for errors, and its text.
fn read(flags: &ConvertFlags) -> Result<(String, String), PluginError> {
    let stdin = flags.filename.as_os_str() == "-";
    let place = if stdin {
        "stdin".to_owned()
    } else {
        flags.filename.display().to_string()
    };
    let wrong = |reason: String| words!("cannot read {place}: {reason}");
    let mut text = String::new();
    let done = if stdin {
        std::io::stdin()
            .lock()
            .take(INPUT_MAX + 1)
            .read_to_string(&mut text)
    } else {
        let file = std::fs::File::open(&flags.filename);
        file.and_then(|file| file.take(INPUT_MAX + 1).read_to_string(&mut text))
    };
    done.map_err(|error| wrong(error.to_string()))?;
    if u64::try_from(text.len()).is_ok_and(|length| length > INPUT_MAX) {
        return Err(wrong(format!("it has more than {INPUT_MAX} bytes")));
    }
    Ok((place, text))
}

/// Converts all documents of a text. The error is for people.
fn convert(text: &str, from: Option<ChartValues>, name: Option<&str>) -> Result<String, String> {
    let documents = documents::read(text)?;
    if documents.is_empty() {
        return Err("there is no document in it".to_owned());
    }
    let mut out = String::new();
    let mut made = 0;
    for document in documents {
        let place = document.place.clone();
        let title = title(&document);
        let converted = document_as_yaml(document, &title, from, name);
        let (notes, resources) = converted.map_err(|reason| format!("{place}: {reason}"))?;
        if made > 0 && !resources.is_empty() {
            out.push_str("---\n");
        }
        made += resources.len();
        out.push_str(&notes);
        out.push_str(&resources.join("---\n"));
    }
    if made == 0 {
        return Err(format!("nothing in it is converted:\n{out}{}", known()));
    }
    Ok(out)
}

fn title(document: &Document) -> String {
    match document.text("apiVersion") {
        "" => "values of the bitnami chart etcd".to_owned(),
        version => format!("{} ({version})", document.title()),
    }
}

/// Converts one document; returns the comment about it and the YAML of each resource, none if it is of another kind and
/// passed over. Fails if it is a cluster of an unknown format, or cannot be converted.
fn document_as_yaml(
    document: Document,
    title: &str,
    from: Option<ChartValues>,
    name: Option<&str>,
) -> Result<(String, Vec<String>), String> {
    let version = document.text("apiVersion").to_owned();
    let kind = document.text("kind").to_owned();
    let format = FORMATS.iter().find(|(known, ..)| *known == version);
    let is_values = version.is_empty() && kind.is_empty();
    let recognized = from == Some(ChartValues::Bitnami) || bitnami::recognizes(&document.fields);
    let mut fields = Fields::new(Value::Object(document.fields));
    fields.take("apiVersion");
    fields.take("kind");
    let outcome = match format {
        Some((.., convert)) => convert(&kind, &mut fields)?,
        None if is_values && recognized => bitnami::convert(&mut fields, name)?,
        None if is_values => {
            return Err(format!(
                "it has neither apiVersion nor kind; values of the bitnami chart etcd are known by --from bitnami. {}",
                known()
            ));
        }
        None if version.starts_with(OWN_GROUP) => {
            Outcome::PassedOver("it is of this operator already")
        }
        None if OF_ETCD.contains(&kind.as_str()) => {
            return Err(format!(
                "{kind} with the apiVersion {version:?} is not known. {}",
                known()
            ));
        }
        None => Outcome::PassedOver("it is no cluster of etcd"),
    };
    match outcome {
        Outcome::PassedOver(reason) => Ok((
            comment(&format!("passed over: {title}: {reason}")),
            Vec::new(),
        )),
        Outcome::Made(made) => {
            let notes = fields.finish().text();
            let resources = made.into_iter().map(Made::finish);
            let resources = resources.map(|resource| Ok(write::document(&resource?)));
            let resources = resources.collect::<Result<_, String>>()?;
            Ok((comment(&format!("from: {title}")) + &notes, resources))
        }
    }
}

fn known() -> String {
    let formats = FORMATS
        .iter()
        .map(|(version, kinds, _)| format!("{version} ({kinds})"));
    let formats: Vec<_> = formats.collect();
    format!(
        "Known are {} and values of the bitnami chart etcd",
        formats.join(", ")
    )
}

/// Converts a resource of an operator whose only kind is EtcdCluster.
fn only_clusters(
    kind: &str,
    fields: &mut Fields,
    cluster: fn(&mut Fields) -> Result<Made, String>,
) -> Result<Outcome, String> {
    match kind {
        "EtcdCluster" => cluster(fields).map(|made| Outcome::Made(vec![made])),
        _ => Ok(Outcome::UNKNOWN),
    }
}

/// Refuses numbers of ports other than those of members.
fn ports(fields: &mut Fields, ports: &[(&str, i64)]) {
    for (path, port) in ports {
        if fields.number(path).is_some_and(|number| number != *port) {
            fields.refuse(
                path,
                "members listen on 2379 for clients and on 2380 for one another",
            );
        }
    }
}

/// Adds the comments that every cluster has: about its memory and its data.
fn finish_cluster(fields: &mut Fields, made: &Made) {
    about_memory(&mut fields.notes, made);
    let notes = &mut fields.notes;
    notes.by_hand(
        "Services, pods and claims have the names of the old cluster's: create this one when they are gone, or in another namespace",
    );
    if made.get("bootstrap.restore").is_some() {
        notes.data("it is that of the snapshot in spec.bootstrap.restore, and not that of a running cluster (docs/operating/kubernetes-backup.md#restore)");
    } else {
        notes.data("this cluster begins empty. To begin it from a snapshot of the old one, set spec.bootstrap.restore before you create it (docs/operating/kubernetes-backup.md#restore); witan follow copies a running etcd, and witan adopt takes over a data directory (docs/start/coming-from-etcd.md)");
    }
}

/// The quota if nothing sets it, as etcd's.
const QUOTA_DEFAULT: u64 = 2 << 30;

/// Compares the limit of memory with what a full quota needs.
fn about_memory(notes: &mut Notes, made: &Made) {
    let amount = |path: &str| {
        let text = fields::text_of(made.get(path)?)?;
        ByteQuantity(text).bytes()
    };
    let Some(limit) = amount("resources.limits.memory") else {
        return;
    };
    let quota = amount("options.quotaBackendBytes").unwrap_or(QUOTA_DEFAULT);
    // the rule of docs/operating/sizing.md
    let needed = quota.saturating_add(quota / 5 * 2).saturating_add(1 << 30);
    if limit < needed {
        let mebibytes = needed.div_ceil(1 << 20);
        notes.by_hand(format!(
            "spec.resources.limits.memory: all data is in memory, and the quota needs {mebibytes}Mi (docs/operating/sizing.md)"
        ));
    }
}
