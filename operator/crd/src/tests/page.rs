//! Tests that the page that maps fields of other operators to ours names only existing fields, and that its example is
//! accepted.

use serde_json::Value;

use super::{judge, schema};

const PAGE: &str = include_str!("../../../../docs/start/other-operators.md");

/// Minimum number of fields that the tables name. A lower number means that this test does not parse them.
const NAMED_MIN: usize = 100;

#[test]
fn tables_name_fields_that_exist() {
    let mut of = None;
    let mut named = 0;
    let mut unknown = Vec::new();
    for line in PAGE.lines() {
        let Some(cell) = line.split('|').nth(2) else {
            of = None;
            continue;
        };
        let Some(schema) = &of else {
            let kind = cell.trim();
            // In other tables, the header of the second column is not one of our kinds.
            let ours = ["EtcdCluster", "EtcdBackup", "EtcdBackupSchedule"].contains(&kind);
            of = Some(if ours { schema(kind) } else { Value::Null });
            continue;
        };
        for field in cell.split('`').skip(1).step_by(2) {
            let path = field.split(':').next().unwrap_or_default();
            if schema.is_object() && path.starts_with("spec.") {
                named += 1;
                if !has(schema, path) {
                    unknown.push(format!("{path} in {line}"));
                }
            }
        }
    }
    assert!(unknown.is_empty(), "{unknown:#?}");
    assert!(named > NAMED_MIN, "{named} fields were read");
}

#[test]
fn the_resource_is_accepted() {
    let (_, block) = PAGE.split_once("```yaml\n").expect("a block of YAML");
    let (block, _) = block.split_once("```").expect("its end");
    let resource: Value = serde_yaml::from_str(block).expect("YAML");
    let wrong = judge(&resource);
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// Returns whether a schema has the field with this path, such as `spec.tls.peer`.
fn has(schema: &Value, path: &str) -> bool {
    let step = |at: &Value, key: &str| at["properties"].get(key).cloned();
    path.split('.')
        .try_fold(schema.clone(), |at, key| step(&at, key))
        .is_some()
}
