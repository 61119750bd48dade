//! Checks the fields that `podTemplate` must not set. Arguments and variables of the server's container decide which cluster a
//! member belongs to: `--force-new-cluster` in every pod would split the cluster into single-member clusters.

use serde_json::Value;
use witan_crd::{CONTAINER, OPERATOR_FLAGS, OpenObject};

use super::{
    BuildResult, ResourceError,
    restore::{FETCH, RESTORE},
};

/// Fields of the container that only the operator sets. `envFrom` is one of them, because its keys are not in the template.
const OPERATOR_FIELDS: [&str; 3] = ["command", "args", "envFrom"];

/// The operator's init containers, which restore a backup.
const RESERVED_INIT_CONTAINERS: [&str; 2] = [FETCH, RESTORE];

/// Fails if the template sets a field, variable or container name that is reserved for the operator.
pub(super) fn check(template: &OpenObject) -> BuildResult<()> {
    let containers = |field| {
        let found = template.0.get("spec").and_then(|spec| spec.get(field));
        found.and_then(Value::as_array).into_iter().flatten()
    };
    let mut init = containers("initContainers").filter_map(name);
    if let Some(name) = init.find(|name| RESERVED_INIT_CONTAINERS.contains(name)) {
        let reason = format!("the name of init container {name} is reserved for the operator");
        return refused(reason);
    }
    let own = containers("containers").filter(|one| name(one) == Some(CONTAINER));
    for container in own {
        let set = |field: &&&str| container.get(**field).is_some();
        if let Some(field) = OPERATOR_FIELDS.iter().find(set) {
            let reason = format!("only the operator sets {field} of container {CONTAINER}");
            return refused(reason);
        }
        let variables = container.get("env").and_then(Value::as_array);
        let mut names = variables.into_iter().flatten().filter_map(name);
        if let Some(name) = names.find(|name| is_managed(name)) {
            return refused(format!(
                "the operator manages the flag of variable {name} of container {CONTAINER}"
            ));
        }
    }
    Ok(())
}

fn name(element: &Value) -> Option<&str> {
    element.get("name")?.as_str()
}

/// Returns the error for a part of the user's `podTemplate` that is not allowed. `reason` names the part.
fn refused(reason: String) -> BuildResult<()> {
    let text = format!("spec.podTemplate: {reason}. Remove it from the EtcdCluster");
    Err(ResourceError(text))
}

/// Returns whether a variable sets a flag that the operator manages.
fn is_managed(variable: &str) -> bool {
    let flag = variable.strip_prefix("ETCD_");
    let flag = flag.map(|flag| flag.to_lowercase().replace('_', "-"));
    flag.is_some_and(|flag| OPERATOR_FLAGS.contains(&flag.as_str()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_template_does_not_decide_which_cluster_a_member_belongs_to() {
        let said = |container: Value| {
            let template =
                json!({"spec": {"containers": [{"name": "other", "args": ["-v"]}, container]}});
            let template: OpenObject = serde_json::from_value(template).expect("an object");
            check(&template).err().map(|error| error.to_string())
        };
        for (container, words) in [
            (
                json!({"name": "etcd", "args": ["--force-new-cluster"]}),
                "args of container etcd",
            ),
            (json!({"name": "etcd", "command": ["/bin/sh"]}), "command"),
            (
                json!({"name": "etcd", "envFrom": [{"configMapRef": {"name": "c"}}]}),
                "envFrom",
            ),
            (
                json!({"name": "etcd", "env": [{"name": "A"}, {"name": "ETCD_FORCE_NEW_CLUSTER", "value": "true"}]}),
                "variable ETCD_FORCE_NEW_CLUSTER",
            ),
            (
                json!({"name": "etcd", "env": [{"name": "ETCD_CONFIG_FILE"}]}),
                "ETCD_CONFIG_FILE",
            ),
        ] {
            let said = said(container).expect("it is refused");
            assert!(said.contains(words), "{said}");
        }
        let init = json!({"spec": {"initContainers": [{"name": "restore", "args": ["--name=x"]}]}});
        let init: OpenObject = serde_json::from_value(init).expect("an object");
        let refused = check(&init).expect_err("it is refused").to_string();
        assert!(refused.contains("init container restore"), "{refused}");
        let fine = json!({"name": "etcd", "env": [{"name": "ETCD_LOG_LEVEL"}, {"name": "TZ"}]});
        assert_eq!(said(fine), None);
    }
}
