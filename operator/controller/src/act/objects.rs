//! Creates, applies, annotates and deletes one object. `action` is a verb phrase for the error, such as `create the pod`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::{
    Api, Resource, ResourceExt as _,
    api::{DynamicObject, Patch, PatchParams, PostParams},
};
use serde_json::json;
use witan_crd::{CLUSTER, Object};
use witan_members::Members;

use super::{ActError, ActResult, Actor};
use crate::{
    api_server::{cannot, create, delete, untyped},
    resources::{self, MANAGER, Ownership, VERSION},
};

/// The field manager for created objects. The first apply takes over the fields of this manager, so that omitted fields are
/// removed.
const CREATOR: &str = "witan-operator-create";

impl<M: Members> Actor<'_, M> {
    /// Creates an object if `live`, the observed object, is `None`. Otherwise, applies it to exactly that object, and removes
    /// fields that only the creation has set.
    pub(super) async fn apply<K: Object>(
        &self,
        object: &K,
        live: Option<&K>,
        action: &'static str,
    ) -> ActResult {
        let Some(live) = live else {
            return self.create(object, action).await;
        };
        let mut object = object.clone();
        // The uid rules out another object with the same name.
        object.meta_mut().uid = live.uid();
        if let Some(version) = self.take_over(live, action).await?
            && object.resource_version().is_some()
        {
            object.meta_mut().resource_version = Some(version);
        }
        self.force(&object, action).await
    }

    /// Creates an object as [`CREATOR`]. If an object of this cluster exists, succeeds without applying the new fields, because
    /// the response of an earlier attempt can be lost. Only restores the labels of such an object if passes would not find it.
    /// Fails if another owner's object has the name.
    pub(super) async fn create<K: Object>(&self, object: &K, action: &'static str) -> ActResult {
        let params = PostParams {
            field_manager: Some(CREATOR.to_owned()),
            ..PostParams::default()
        };
        match create(self.client, &self.cluster.namespace, &params, object).await {
            Err(kube::Error::Api(refusal)) if refusal.code == 409 => {}
            created => {
                created.map_err(cannot(action))?;
                return Ok(());
            }
        }
        let found = self.api::<K>().get_metadata_opt(&object.name_any()).await;
        let Some(found) = found.map_err(cannot(action))? else {
            let gone = format!("the object whose name is needed to {action}");
            return Err(ActError::Gone(gone));
        };
        match resources::ownership(self.cluster, &found) {
            Ownership::Ours if found.labels().get(CLUSTER) == Some(&self.cluster.name) => Ok(()),
            Ownership::Ours => {
                let mut labels = object.labels().clone();
                // The existing object may be from an earlier release, so the current version label may be wrong.
                labels.remove(VERSION);
                self.mark_named::<K>(&found, json!({"labels": labels}), action)
                    .await
            }
            Ownership::Ending | Ownership::Foreign => {
                let holder = resources::holder_of(self.cluster, &K::kind(&()), &found);
                Err(ActError::NameTaken { action, holder })
            }
        }
    }

    /// Transfers the fields of [`CREATOR`] to [`MANAGER`], whose next apply removes fields that it does not contain. If
    /// [`MANAGER`] has applied the object before, the fields only lose their owner. Returns the new resource version for that
    /// apply; `None` if nothing changed. Fails if the object has changed since `live` was observed.
    pub(super) async fn take_over<K: Object>(
        &self,
        live: &K,
        action: &'static str,
    ) -> Result<Option<String>, ActError> {
        let is = |name: &str, entry: &ManagedFieldsEntry| entry.manager.as_deref() == Some(name);
        let applied = |entry: &ManagedFieldsEntry| {
            is(MANAGER, entry) && entry.operation.as_deref() == Some("Apply")
        };
        let mut fields = live.managed_fields().to_vec();
        if !fields.iter().any(|entry| is(CREATOR, entry)) {
            return Ok(None);
        }
        if fields.iter().any(applied) {
            fields.retain(|entry| !is(CREATOR, entry));
        }
        for entry in fields.iter_mut().filter(|entry| is(CREATOR, entry)) {
            entry.manager = Some(MANAGER.to_owned());
            entry.operation = Some("Apply".to_owned());
        }
        let version = live.resource_version();
        let change = json!({"metadata": {"resourceVersion": version, "managedFields": fields}});
        let (name, params, api) = (live.name_any(), PatchParams::default(), self.api::<K>());
        let change = Patch::Merge(change);
        let changed = api.patch_metadata(&name, &params, &change).await;
        Ok(changed.map_err(cannot(action))?.resource_version())
    }

    /// Applies an object as [`MANAGER`] and takes over conflicting fields. An object without a uid is created if it is missing.
    pub(super) async fn force<K: Object>(&self, object: &K, action: &'static str) -> ActResult {
        let params = PatchParams::apply(MANAGER).force();
        let json = serde_json::to_value(object).map_err(kube::Error::SerdeError);
        let patch = Patch::Apply(json.map_err(cannot(action))?);
        let api = self.api::<K>();
        let applied = api.patch(&object.name_any(), &params, &patch).await;
        applied.map_err(cannot(action))?;
        Ok(())
    }

    /// Changes metadata of exactly this object, identified by its uid, with a JSON merge patch. Fails if `live` is `None`.
    pub(super) async fn mark<K: Object>(
        &self,
        live: Option<&K>,
        marks: serde_json::Value,
        action: &'static str,
    ) -> ActResult {
        match live {
            Some(live) => self.mark_named::<K>(live, marks, action).await,
            None => Err(ActError::Gone(format!("the object needed to {action}"))),
        }
    }

    /// Like [`Self::mark`], but `live` can be only the metadata of an object of the kind `K`.
    async fn mark_named<K: Object>(
        &self,
        live: &(impl Resource + Sync),
        mut marks: serde_json::Value,
        action: &'static str,
    ) -> ActResult {
        marks["uid"] = json!(live.uid());
        let params = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let (name, api) = (live.name_any(), self.api::<K>());
        let change = Patch::Merge(json!({"metadata": marks}));
        let marked = api.patch_metadata(&name, &params, &change).await;
        marked.map_err(cannot(action))?;
        Ok(())
    }

    /// Deletes exactly this object. Succeeds if the object is `None` or already deleted.
    pub(super) async fn delete<K: Object>(
        &self,
        object: Option<&K>,
        action: &'static str,
    ) -> ActResult {
        if let Some(object) = object {
            delete(self.client, object, action).await?;
        }
        Ok(())
    }

    /// Returns the API of the kind `K` in the cluster's namespace, with unparsed objects.
    fn api<K: Object>(&self) -> Api<DynamicObject> {
        untyped::<K>(self.client, &self.cluster.namespace)
    }
}
