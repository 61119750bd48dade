//! Tests of the document: its paths, references and schemas.

use std::collections::BTreeSet;

use super::*;

/// Appends the targets of all `$ref` members in `value`.
fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            if let Some(to) = members.get("$ref").and_then(Value::as_str) {
                found.push(to);
            }
            members.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn the_document_contains_every_route_and_every_referenced_schema() {
    let document = document();
    for (path, _) in gateway_paths() {
        let route = &document["paths"][format!("/v3/{path}")]["post"];
        assert!(route["summary"].is_string(), "{path}");
        assert!(route["responses"]["200"]["content"].is_object(), "{path}");
        assert!(route["parameters"][0]["$ref"].is_string(), "{path}");
    }
    let routes = document["paths"].as_object().unwrap();
    assert_eq!(routes.len(), gateway_paths().count());
    let ids: BTreeSet<&str> = routes
        .values()
        .map(|route| route["post"]["operationId"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), routes.len(), "ids are distinct");
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 100);
    for to in found {
        let pointer = to.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{to} does not exist");
    }
}

#[test]
fn schemas_describe_the_json_of_fields() {
    let document = document();
    let schema = |name: &str| document["components"]["schemas"][name]["properties"].clone();
    let range = schema("etcdserverpb.RangeRequest");
    assert_eq!(range["key"]["format"], "byte");
    assert_eq!(
        (&range["limit"]["type"], &range["limit"]["format"]),
        (&json!("string"), &json!("int64"))
    );
    let order = range["sort_order"]["$ref"].as_str().unwrap();
    let order = document.pointer(order.strip_prefix('#').unwrap()).unwrap();
    assert_eq!(order["enum"], json!(["NONE", "ASCEND", "DESCEND"]));
    assert_eq!(schema("etcdserverpb.RangeResponse")["kvs"]["type"], "array");
}

#[test]
fn a_failed_stream_has_an_error_object_and_a_failed_call_has_a_text() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    let stream = &document["paths"]["/v3/watch"]["post"]["responses"];
    let of = |response: &Value| response["content"]["application/json"]["schema"].clone();
    let object = reference("StreamError");
    assert_eq!(of(&stream["200"])["properties"]["error"], object);
    let failures = of(&stream["default"])["anyOf"].clone();
    assert_eq!(failures[0]["properties"]["error"], object);
    assert_eq!(failures[1], reference("Error"));
    let code = &schemas["StreamError"]["properties"]["grpc_code"];
    assert_eq!(code["type"], "integer");
    let call = &document["paths"]["/v3/kv/put"]["post"]["responses"]["default"];
    assert_eq!(of(call), reference("Error"));
    assert_eq!(schemas["Error"]["properties"]["error"]["type"], "string");
}
