//! Witan's messages and services have etcd's names, numbers and types. The test compiles etcd's own .proto files without their
//! options and compares them with the descriptors that the server reflects.

use std::{collections::BTreeMap, fs};

use prost::Message as _;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorSet};
use protox::{
    Compiler,
    file::{ChainFileResolver, File, FileResolver, GoogleFileResolver},
};
use witan_e2e::binaries;

/// etcd's files, with the names under which they import each other.
const FILES: [(&str, &str); 5] = [
    ("etcd/api/etcdserverpb/rpc.proto", "rpc.proto"),
    ("etcd/api/mvccpb/kv.proto", "kv.proto"),
    ("etcd/api/authpb/auth.proto", "auth.proto"),
    ("v3lock.proto", "v3lock.proto"),
    ("v3election.proto", "v3election.proto"),
];

struct Stripped;

impl FileResolver for Stripped {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        let Some((_, file)) = FILES.iter().find(|(known, _)| *known == name) else {
            return Err(protox::Error::file_not_found(name));
        };
        let folder = binaries::cached("../etcd-protos", "tests/tools/etcd-protos.sh");
        let source = fs::read_to_string(folder.join(file)).map_err(protox::Error::new)?;
        File::from_source(name, &strip(&source))
    }
}

/// Removes comments, options, and the imports of files that are not compared.
fn strip(source: &str) -> String {
    let mut code = String::new();
    for line in source.lines() {
        let line = line.split("//").next().unwrap_or_default();
        if !line.trim_start().starts_with("import") || line.contains("\"etcd/") {
            code.push_str(line);
            code.push('\n');
        }
    }
    let code = code.replace("import \"etcd/api/versionpb/version.proto\";", "");
    let code = without(&code, "option ", &[';']);
    without(&code, "[", &[']'])
}

/// Removes everything from each `start` to the next of `ends` outside of braces.
fn without(code: &str, start: &str, ends: &[char]) -> String {
    let mut out = String::new();
    let mut rest = code;
    while let Some(at) = rest.find(start) {
        out.push_str(&rest[..at]);
        let mut depth = 0;
        let end = rest[at..].find(|c: char| {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            depth == 0 && ends.contains(&c)
        });
        rest = &rest[at + end.expect("an option ends") + 1..];
    }
    out.push_str(rest);
    out
}

/// The wire format: a map from the name of each field, enum value, method and message to its properties.
type Facts = BTreeMap<String, String>;

fn facts(set: &FileDescriptorSet) -> Facts {
    let mut facts = Facts::new();
    for file in &set.file {
        let package = file.package();
        for message in &file.message_type {
            let name = format!("{package}.{}", message.name());
            add_message(&mut facts, &name, message);
        }
        for kind in &file.enum_type {
            add_enum(&mut facts, &format!("{package}.{}", kind.name()), kind);
        }
        for service in &file.service {
            for method in &service.method {
                let name = format!("method {package}.{}.{}", service.name(), method.name());
                let stream = |yes| if yes { "stream " } else { "" };
                let shape = format!(
                    "{}{} -> {}{}",
                    stream(method.client_streaming()),
                    method.input_type(),
                    stream(method.server_streaming()),
                    method.output_type()
                );
                facts.insert(name, shape);
            }
        }
    }
    facts
}

fn add_message(facts: &mut Facts, name: &str, message: &DescriptorProto) {
    let fields = format!("{} fields", message.field.len());
    facts.insert(format!("message {name}"), fields);
    for field in &message.field {
        let oneof = field
            .oneof_index
            .and_then(|at| message.oneof_decl.get(usize::try_from(at).ok()?));
        let shape = format!(
            "{} {:?} {:?} {} {}",
            field.number(),
            field.label(),
            field.r#type(),
            field.type_name(),
            oneof.map_or("", |oneof| oneof.name())
        );
        facts.insert(format!("field {name}.{}", field.name()), shape);
    }
    for kind in &message.enum_type {
        add_enum(facts, &format!("{name}.{}", kind.name()), kind);
    }
    for nested in &message.nested_type {
        add_message(facts, &format!("{name}.{}", nested.name()), nested);
    }
}

fn add_enum(facts: &mut Facts, name: &str, kind: &EnumDescriptorProto) {
    for value in &kind.value {
        let key = format!("value {name}.{}", value.name());
        facts.insert(key, value.number().to_string());
    }
}

fn etcds() -> Facts {
    let mut resolver = ChainFileResolver::new();
    resolver.add(Stripped);
    resolver.add(GoogleFileResolver::new());
    let mut compiler = Compiler::with_file_resolver(resolver);
    compiler.include_imports(true);
    for (name, _) in FILES {
        compiler.open_file(name).expect("etcd's files are whole");
    }
    facts(&compiler.file_descriptor_set())
}

#[test]
fn the_wire_format_equals_etcds() {
    let ours = FileDescriptorSet::decode(witan_api::v3::DESCRIPTORS).unwrap();
    let (ours, theirs) = (facts(&ours), etcds());
    assert!(theirs.len() > 400, "etcd has {} facts", theirs.len());
    let differ: Vec<String> = ours
        .keys()
        .chain(theirs.keys())
        .filter(|name| ours.get(*name) != theirs.get(*name))
        .map(|name| {
            let (ours, theirs) = (ours.get(name), theirs.get(name));
            format!("{name}: ours {ours:?}, etcd's {theirs:?}")
        })
        .collect();
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}
