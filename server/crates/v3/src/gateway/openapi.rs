//! The gateway's OpenAPI document, generated from the table of calls and the protobuf descriptors.

use std::sync::LazyLock;

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

/// Responds with the document, which the first call builds.
pub fn answer() -> HttpResponse {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| document().to_string().into());
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, reply::JSON))
        .body(DOCUMENT.clone())
}

/// Builds the document: the paths of all calls, and the schemas of all types.
fn document() -> Value {
    let set = FileDescriptorSet::decode(DESCRIPTORS).expect("a test decodes the descriptors");
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    for file in &set.file {
        let package = file.package();
        add_enums(&mut schemas, package, &file.enum_type);
        for message in &file.message_type {
            add_message(&mut schemas, package, message);
        }
        for service in &file.service {
            for method in &service.method {
                let call = format!("/{package}.{}/{}", service.name(), method.name());
                for (path, _) in gateway_paths().filter(|(_, route)| route.method == call) {
                    paths.insert(format!("/v3/{path}"), operation(path, &call[1..], method));
                }
            }
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
    let answer = reference(method.output_type());
    let (description, answer, failure) = if method.server_streaming() {
        let error = reference("StreamError");
        let failed = json!({ "type": "object", "properties": { "error": error } });
        let line = json!({ "type": "object", "properties": { "result": answer, "error": error } });
        // A body that cannot be read has the error of a unary call.
        let failure = json!({ "anyOf": [failed, reference("Error")] });
        ("One JSON object per line.", line, failure)
    } else {
        ("The response.", answer, reference("Error"))
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
                "content": content(reference(method.input_type())),
            },
            "responses": {
                "200": { "description": description, "content": content(answer) },
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

/// Builds the reference to a type's schema, without the dot at the start of a full name in descriptors.
fn reference(name: &str) -> Value {
    let name = name.trim_start_matches('.');
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// Adds the schemas of a message and of the types inside it. `scope` is the package or the message that contains it.
fn add_message(schemas: &mut Map<String, Value>, scope: &str, message: &DescriptorProto) {
    let name = format!("{scope}.{}", message.name());
    add_enums(schemas, &name, &message.enum_type);
    for nested in &message.nested_type {
        add_message(schemas, &name, nested);
    }
    let fields = message.field.iter();
    let properties: Map<String, Value> = fields
        .map(|field| (field.name().to_owned(), field_schema(field)))
        .collect();
    schemas.insert(name, json!({ "type": "object", "properties": properties }));
}

/// Adds the schemas of the enums in a package or a message.
fn add_enums(schemas: &mut Map<String, Value>, scope: &str, enums: &[EnumDescriptorProto]) {
    for declared in enums {
        let names: Vec<&str> = declared.value.iter().map(|value| value.name()).collect();
        let schema = json!({ "type": "string", "enum": names });
        schemas.insert(format!("{scope}.{}", declared.name()), schema);
    }
}

/// Builds the schema of a field. As in the JSON of protobuf, 64-bit integers are strings.
fn field_schema(field: &FieldDescriptorProto) -> Value {
    let item = match field.r#type() {
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
        Type::Message | Type::Enum | Type::Group => reference(field.type_name()),
    };
    if field.label() == Label::Repeated {
        json!({ "type": "array", "items": item })
    } else {
        item
    }
}

#[cfg(test)]
mod tests;
