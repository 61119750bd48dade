//! The gateway's OpenAPI document, generated from the table of calls and the protobuf descriptors.

use std::{collections::BTreeSet, sync::LazyLock};

use actix_web::{HttpResponse, http::header::CONTENT_TYPE};
use bytes::Bytes;
use prost::Message as _;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    MethodDescriptorProto,
    field_descriptor_proto::{Label, Type},
};
use serde_json::{Map, Value, json};
use witan_api::{access::gateway_paths, v3::DESCRIPTORS};
use witan_base::version;
use witan_dialect::reply;

use super::encoding::{self, Encoding};

/// Returns the document. Builds it on the first call.
pub fn answer() -> HttpResponse {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| document().to_string().into());
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, reply::JSON))
        .body(DOCUMENT.clone())
}

/// Builds the document: a path for each call, and the schemas of all types that the calls use.
fn document() -> Value {
    let set = FileDescriptorSet::decode(DESCRIPTORS).expect("a test decodes the descriptors");
    let protos = Protos::new(&set);
    let mut paths = Map::new();
    let mut schemas = Map::new();
    let mut wanted = BTreeSet::new();
    for (path, route) in gateway_paths() {
        let call = route.method.trim_start_matches('/');
        let Some(method) = protos.method(call) else {
            continue;
        };
        paths.insert(format!("/v3/{path}"), operation(path, call, method));
        wanted.extend([
            full_name(method.input_type()),
            full_name(method.output_type()),
        ]);
    }
    while let Some(next) = wanted.pop_first() {
        if !schemas.contains_key(&next) {
            let schema = protos.schema(&next, &mut wanted);
            schemas.insert(next, schema);
        }
    }
    schemas.insert("Error".to_owned(), error_schema());
    schemas.insert("StreamError".to_owned(), stream_error_schema());
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": "etcd v3 as JSON",
            "version": version::API,
            "description": "Calls require POST. Bytes are base64 by default, and 64-bit integers are strings. The same \
                calls are available under /v3beta and /v3alpha, with the errors of etcd 3.4.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "parameters": { encoding::PARAMETER: parameter() },
            "securitySchemes": {
                "token": { "type": "apiKey", "in": "header", "name": "Authorization" },
            },
        },
        "security": [{}, { "token": [] }],
    })
}

/// Builds the path item of a call, whose only operation is POST. The response of a stream consists of lines.
fn operation(path: &str, call: &str, method: &MethodDescriptorProto) -> Value {
    let content = |schema: Value| json!({ "application/json": { "schema": schema } });
    let answer = reference(&full_name(method.output_type()));
    let (told, answer, failure) = if method.server_streaming() {
        let error = reference("StreamError");
        let failed = json!({ "type": "object", "properties": { "error": error } });
        let line = json!({ "type": "object", "properties": { "result": answer, "error": error } });
        // A body that cannot be read has the error of a unary call.
        let failure = json!({ "anyOf": [failed, reference("Error")] });
        ("One JSON object per line.", line, failure)
    } else {
        ("The answer.", answer, reference("Error"))
    };
    let group = path.split('/').next().unwrap_or_default();
    json!({
        "post": {
            // Aliases of a call need distinct IDs.
            "operationId": path.replace(['/', '-'], "_"),
            "summary": call,
            "tags": [group],
            "parameters": [{ "$ref": format!("#/components/parameters/{}", encoding::PARAMETER) }],
            "requestBody": {
                "required": true,
                "content": content(reference(&full_name(method.input_type()))),
            },
            "responses": {
                "200": { "description": told, "content": content(answer) },
                "default": { "description": "The error.", "content": content(failure) },
            },
        },
    })
}

/// Builds the description of the query parameter `encoding`, which every path accepts.
fn parameter() -> Value {
    json!({
        "name": encoding::PARAMETER,
        "in": "query",
        "description": format!(
            "How requests and responses represent fields of the format \"byte\": as base64, or with utf8 \
                as plain strings. With utf8, bytes that are not UTF-8 are base64 in a field NAME{} \
                instead of NAME; requests can also use this field. Snapshots are always base64.",
            encoding::SUFFIX,
        ),
        "schema": {
            "type": "string",
            "enum": Encoding::NAMES,
            "default": Encoding::NAMES[0],
        },
    })
}

/// Builds the schema `Error`, the response body of a failed call.
fn error_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "code": { "type": "integer", "format": "int32", "description": "The gRPC code." },
            "message": { "type": "string" },
            "error": { "type": "string", "description": "The message, for clients of etcd 3.4." },
        },
    })
}

/// Builds the schema `StreamError`, the field `error` in the last line of a failed stream.
fn stream_error_schema() -> Value {
    let code = "The gRPC code. Missing under /v3beta and /v3alpha.";
    json!({
        "type": "object",
        "properties": {
            "grpc_code": { "type": "integer", "format": "int32", "description": "The gRPC code." },
            "http_code": { "type": "integer", "format": "int32", "description": "The HTTP status." },
            "message": { "type": "string" },
            "http_status": { "type": "string", "description": "The name of the HTTP status." },
            "code": { "type": "integer", "format": "int32", "description": code },
        },
    })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// Returns the full name in a descriptor's type reference, without the leading dot.
fn full_name(reference: &str) -> String {
    reference.trim_start_matches('.').to_owned()
}

/// All declarations in the protos, by full name.
struct Protos<'a> {
    messages: Vec<(String, &'a DescriptorProto)>,
    enums: Vec<(String, &'a EnumDescriptorProto)>,
    methods: Vec<(String, &'a MethodDescriptorProto)>,
}

impl<'a> Protos<'a> {
    /// Collects the messages, enums and methods of all files.
    fn new(set: &'a FileDescriptorSet) -> Self {
        let mut protos = Self { messages: Vec::new(), enums: Vec::new(), methods: Vec::new() };
        for file in &set.file {
            let package = file.package();
            let full = |name: &str| format!("{package}.{name}");
            for message in &file.message_type {
                protos.add(full(message.name()), message);
            }
            let enums = file.enum_type.iter();
            protos
                .enums
                .extend(enums.map(|one| (full(one.name()), one)));
            for service in &file.service {
                let methods = service.method.iter();
                protos.methods.extend(methods.map(|method| {
                    let call = format!("{}/{}", full(service.name()), method.name());
                    (call, method)
                }));
            }
        }
        protos
    }

    /// Adds a message and the declarations inside it.
    fn add(&mut self, full: String, message: &'a DescriptorProto) {
        let enums = message.enum_type.iter();
        self.enums
            .extend(enums.map(|one| (format!("{full}.{}", one.name()), one)));
        for nested in &message.nested_type {
            self.add(format!("{full}.{}", nested.name()), nested);
        }
        self.messages.push((full, message));
    }

    /// Returns the method with this name, `package.Service/Method`, or `None`.
    fn method(&self, call: &str) -> Option<&'a MethodDescriptorProto> {
        let mut methods = self.methods.iter();
        methods.find(|(known, _)| known == call).map(|(_, m)| *m)
    }

    /// Builds the schema of a message or an enum and adds the types of its fields to `wanted`.
    fn schema(&self, full: &str, wanted: &mut BTreeSet<String>) -> Value {
        if let Some((_, known)) = self.enums.iter().find(|(known, _)| known == full) {
            let names: Vec<&str> = known.value.iter().map(|value| value.name()).collect();
            return json!({ "type": "string", "enum": names });
        }
        let known = self.messages.iter().find(|(known, _)| known == full);
        let fields = known.map_or(&[][..], |(_, message)| &message.field);
        let mut properties = Map::new();
        for field in fields {
            let item = field_schema(field, wanted);
            let schema = if field.label() == Label::Repeated {
                json!({ "type": "array", "items": item })
            } else {
                item
            };
            properties.insert(field.name().to_owned(), schema);
        }
        json!({ "type": "object", "properties": properties })
    }
}

/// Builds the schema of one value of a field and adds its type to `wanted`.
fn field_schema(field: &FieldDescriptorProto, wanted: &mut BTreeSet<String>) -> Value {
    match field.r#type() {
        Type::Bool => json!({ "type": "boolean" }),
        Type::String => json!({ "type": "string" }),
        Type::Bytes => json!({ "type": "string", "format": "byte" }),
        Type::Int64 | Type::Sint64 | Type::Sfixed64 => {
            json!({ "type": "string", "format": "int64" })
        }
        Type::Uint64 | Type::Fixed64 => json!({ "type": "string", "format": "uint64" }),
        Type::Int32 | Type::Sint32 | Type::Sfixed32 => {
            json!({ "type": "integer", "format": "int32" })
        }
        Type::Uint32 | Type::Fixed32 => json!({ "type": "integer", "format": "int64" }),
        Type::Float | Type::Double => json!({ "type": "number" }),
        Type::Message | Type::Enum | Type::Group => {
            let full = full_name(field.type_name());
            wanted.insert(full.clone());
            reference(&full)
        }
    }
}

#[cfg(test)]
mod tests;
