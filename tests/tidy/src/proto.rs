//! Generates `server/crates/api/src/v3/generated` from `server/crates/api/proto`: messages, their JSON rules as serde
//! attributes, tables of fields (`shapes`), and the descriptor set that server reflection serves. Does not need protoc.

use std::{fs, io, path::Path};

use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};
use protox::prost::Message as _;
use tonic_prost_build::Config;

/// The files to compile, which import the other files.
const ROOTS: [&str; 8] = [
    "etcdserverpb/auth.proto",
    "etcdserverpb/cluster.proto",
    "etcdserverpb/kv.proto",
    "etcdserverpb/lease.proto",
    "etcdserverpb/maintenance.proto",
    "etcdserverpb/watch.proto",
    "v3electionpb.proto",
    "v3lockpb.proto",
];

/// File name of the encoded descriptor set.
pub const DESCRIPTORS: &str = "descriptors.bin";

/// Generates all files from the protos in `protos` and writes them to `out`.
pub fn generate(protos: &Path, out: &Path) -> io::Result<()> {
    let mut set = protox::compile(ROOTS, [protos]).map_err(io::Error::other)?;
    let mut config = Config::new();
    config.bytes(["."]);
    config.out_dir(out);
    let mut builder = tonic_prost_build::configure()
        .out_dir(out)
        .build_server(false)
        .build_client(false);
    for file in &set.file {
        for message in &file.message_type {
            builder = attributes(builder, file.package(), message);
        }
    }
    builder.compile_fds_with_config(set.clone(), config)?;
    for entry in fs::read_dir(out)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "rs") {
            fs::write(&path, mend(&fs::read_to_string(&path)?))?;
        }
    }
    fs::write(out.join("shapes.rs"), crate::shapes::generate(&set))?;
    for file in &mut set.file {
        file.source_code_info = None;
    }
    fs::write(out.join(DESCRIPTORS), set.encode_to_vec())
}

/// Decodes a descriptor set.
pub fn descriptors(bytes: &[u8]) -> io::Result<FileDescriptorSet> {
    FileDescriptorSet::decode(bytes).map_err(io::Error::other)
}

const DERIVE: &str = "#[derive(serde::Serialize)]";

fn attributes(
    mut builder: tonic_prost_build::Builder,
    package: &str,
    message: &DescriptorProto,
) -> tonic_prost_build::Builder {
    let name = format!(".{package}.{}", message.name());
    builder = builder.message_attribute(&name, DERIVE);
    for oneof in &message.oneof_decl {
        builder = builder.enum_attribute(format!("{name}.{}", oneof.name()), DERIVE);
    }
    for field in &message.field {
        let (path, rules) = match field.oneof_index {
            Some(index) => {
                let oneof = message.oneof_decl[usize::try_from(index).unwrap_or_default()].name();
                (
                    format!("{name}.{oneof}.{}", field.name()),
                    variant_rules(field),
                )
            }
            None => (format!("{name}.{}", field.name()), field_rules(field)),
        };
        builder = builder.field_attribute(path, format!("#[serde({})]", rules.join(", ")));
    }
    builder
}

fn name(field: &FieldDescriptorProto) -> String {
    format!("rename = {:?}", field.name())
}

fn field_rules(field: &FieldDescriptorProto) -> Vec<String> {
    let mut rules = vec![name(field)];
    rules.push("skip_serializing_if = \"crate::v3::json::is_default\"".into());
    rules.extend(form(field));
    rules
}

fn variant_rules(field: &FieldDescriptorProto) -> Vec<String> {
    [name(field)].into_iter().chain(form(field)).collect()
}

/// The types whose JSON form differs from serde's, with the function that writes it.
const FORMS: [(Type, &str); 4] = [
    (Type::Int64, "integer"),
    (Type::Uint64, "integer"),
    (Type::Bytes, "bytes"),
    (Type::Enum, "named"),
];

fn form(field: &FieldDescriptorProto) -> Option<String> {
    let known = FORMS.iter().find(|(kind, _)| *kind == field.r#type());
    let (kind, function) = known?;
    let list = if field.label() == Label::Repeated {
        "_list"
    } else {
        ""
    };
    let of = if *kind == Type::Enum {
        format!("::<{}, _>", enum_path(field))
    } else {
        String::new()
    };
    Some(format!(
        "serialize_with = \"crate::v3::json::{function}{list}{of}\""
    ))
}

/// Returns the path of `.pkg.Message.Enum` from the module `pkg`.
fn enum_path(field: &FieldDescriptorProto) -> String {
    let parts: Vec<&str> = field
        .type_name()
        .trim_start_matches('.')
        .split('.')
        .collect();
    let (name, outer) = parts.split_last().expect("a type name has parts");
    let modules = outer.iter().skip(1).map(|message| snake(message) + "::");
    format!("super::{}::{}{name}", outer[0], modules.collect::<String>())
}

fn snake(name: &str) -> String {
    let mut out = String::new();
    for (i, c) in name.char_indices() {
        if i > 0 && c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// Adds the serde attribute of fields with a oneof, because a path pattern would also match their variants. Also corrects
/// prost's spelling of `URLs`.
fn mend(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    let code = code
        .replace("peer_ur_ls", "peer_urls")
        .replace("client_ur_ls", "client_urls");
    for line in code.lines() {
        if line.trim_start().starts_with("#[prost(oneof") {
            let indent = &line[..line.len() - line.trim_start().len()];
            out.push_str(indent);
            out.push_str("#[serde(flatten)]\n");
        }
        out.push_str(line);
        out.push('\n');
    }
    out
}
