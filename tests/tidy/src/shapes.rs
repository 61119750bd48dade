//! Writes `server/crates/api/src/v3/generated/shapes.rs`: each message's fields as a static table.

use std::fmt::Write as _;

use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};

/// Returns the tables of all messages and enums in `set`. Panics if a proto nests messages or uses kinds that the tables do not
/// support.
pub fn generate(set: &FileDescriptorSet) -> String {
    let mut out = String::from(
        "// This file is @generated from the protos: what JSON must know about messages.\n\
         use crate::v3::shape::{EnumShape, FieldKind, FieldShape, shaped};\n",
    );
    for file in &set.file {
        for kind in &file.enum_type {
            enumeration(&mut out, file.package(), "", kind);
        }
        for message in &file.message_type {
            assert!(
                message.nested_type.is_empty(),
                "{} nests messages",
                message.name()
            );
            for kind in &message.enum_type {
                enumeration(&mut out, file.package(), message.name(), kind);
            }
            table(&mut out, file.package(), message);
        }
    }
    out
}

fn enumeration(out: &mut String, package: &str, outer: &str, kind: &EnumDescriptorProto) {
    let dot = if outer.is_empty() { "" } else { "." };
    let name = constant(&format!("{package}.{outer}{dot}{}", kind.name()));
    let line = if outer.is_empty() { "" } else { "_" };
    let _ = write!(
        out,
        "static {name}: EnumShape = EnumShape {{ name: \"{package}.{outer}{line}{}\", values: &[",
        kind.name()
    );
    for value in &kind.value {
        let _ = write!(out, "({:?}, {}), ", value.name(), value.number());
    }
    out.push_str("] };\n");
}

fn table(out: &mut String, package: &str, message: &DescriptorProto) {
    let full = format!("{package}.{}", message.name());
    // Prost spells the name this way.
    let prost_name = message.name().replace("KV", "Kv");
    let _ = writeln!(
        out,
        "shaped!({}, super::{package}::{prost_name}, [",
        constant(&full)
    );
    for field in &message.field {
        let oneof = field.oneof_index.map(|index| {
            let index = usize::try_from(index).unwrap_or_default();
            format!("{full}.{}", message.oneof_decl[index].name())
        });
        let _ = writeln!(
            out,
            "    FieldShape {{ name: {:?}, json_name: {:?}, number: {}, kind: {}, list: {}, oneof: {oneof:?} }},",
            field.name(),
            field.json_name(),
            field.number(),
            kind(field),
            field.label() == Label::Repeated,
        );
    }
    out.push_str("]);\n");
}

fn kind(field: &FieldDescriptorProto) -> String {
    let of = || constant(field.type_name().trim_start_matches('.'));
    match field.r#type() {
        Type::Bool => "FieldKind::Bool".into(),
        Type::Int64 => "FieldKind::Int64".into(),
        Type::Uint64 => "FieldKind::Uint64".into(),
        Type::Uint32 => "FieldKind::Uint32".into(),
        Type::String => "FieldKind::String".into(),
        Type::Bytes => "FieldKind::Bytes".into(),
        Type::Enum => format!("FieldKind::Enum(&{})", of()),
        Type::Message => format!("FieldKind::Message(&{})", of()),
        other @ (Type::Double
        | Type::Float
        | Type::Int32
        | Type::Fixed64
        | Type::Fixed32
        | Type::Group
        | Type::Sfixed32
        | Type::Sfixed64
        | Type::Sint32
        | Type::Sint64) => panic!("{} is {other:?}, which no table supports", field.name()),
    }
}

/// Converts `pkg.Outer.Name` to the name of a static.
fn constant(full: &str) -> String {
    let mut out = String::new();
    let mut before = '.';
    for letter in full.chars() {
        if letter.is_ascii_uppercase() && before.is_ascii_lowercase() || letter == '.' {
            out.push('_');
        }
        if letter != '.' {
            out.push(letter.to_ascii_uppercase());
        }
        before = letter;
    }
    out
}
