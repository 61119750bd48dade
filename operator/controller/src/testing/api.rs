//! A fake API server that creates, applies and deletes objects. This server checks neither schemas nor permissions.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Method, Request, Response, StatusCode};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use witan_base::sync::Mutex;

#[derive(Clone, Debug, Default)]
pub(crate) struct FakeApi(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Value>,
    version: u64,
    refused: Option<Refused>,
}

/// A rule that refuses requests, and the response to them.
#[derive(Debug)]
struct Refused {
    end: String,
    part: String,
    code: StatusCode,
    words: String,
}

struct Asked {
    method: Method,
    path: String,
    query: String,
    body: Value,
}

impl FakeApi {
    pub(crate) fn client(&self) -> Client {
        Client::new(self.clone(), "default")
    }

    /// Creates or replaces an object, as another client would.
    pub(crate) fn put(&self, object: Value) {
        let mut state = self.0.lock();
        let (kind, name) = (text(&object["kind"]), text(&object["metadata"]["name"]));
        let namespace = text(&object["metadata"]["namespace"]);
        let version = text(&object["apiVersion"]);
        let root = if version.contains('/') { "apis" } else { "api" };
        let plural = format!("{}s", kind.to_lowercase());
        let path = format!("/{root}/{version}/namespaces/{namespace}/{plural}/{name}");
        state.store(&path, object);
    }

    /// Returns an API server with one cluster: [`super::cluster`], merged with `more`.
    pub(crate) fn with_cluster(more: &Value) -> Self {
        let fake = Self::default();
        fake.put_cluster(more);
        fake
    }

    pub(crate) fn put_cluster(&self, more: &Value) {
        self.put(super::cluster(more));
    }

    /// Changes fields of the object whose path ends with `end`, as another client would. A null removes a field.
    pub(crate) fn change(&self, end: &str, more: &Value) {
        let object = self.get(end).expect("the object");
        self.put(super::with(object, more));
    }

    /// Returns the object whose path ends with `end`.
    pub(crate) fn get(&self, end: &str) -> Option<Value> {
        let state = self.0.lock();
        let mut objects = state.objects.iter();
        objects
            .find(|(path, _)| path.ends_with(end))
            .map(|(_, object)| object.clone())
    }

    pub(crate) fn all(&self, part: &str) -> Vec<Value> {
        let state = self.0.lock();
        let of = state.objects.iter();
        let of = of.filter(|(path, _)| path.contains(part));
        of.map(|(_, object)| object.clone()).collect()
    }

    /// From now on, refuses to create, apply or delete objects whose path ends with `end`, if the request's JSON contains
    /// `part`. Replaces an earlier rule.
    pub(crate) fn refuse(&self, end: &str, part: &str, (code, words): (StatusCode, &str)) {
        let (end, part, words) = (end.to_owned(), part.to_owned(), words.to_owned());
        let mut state = self.0.lock();
        state.refused = Some(Refused { end, part, code, words });
    }

    pub(crate) fn admit(&self) {
        self.0.lock().refused = None;
    }

    pub(crate) fn remove(&self, end: &str) {
        let mut state = self.0.lock();
        state.objects.retain(|path, _| !path.ends_with(end));
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Returns an error response. `reason` is also the message.
fn refusal(code: StatusCode, reason: &str) -> (StatusCode, Value) {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "reason": reason, "message": reason, "code": code.as_u16(),
    });
    (code, body)
}

impl State {
    /// Stores an object with a new resource version, and with a new uid if it has none. Returns the stored object.
    fn store(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        let meta = &mut object["metadata"];
        meta["resourceVersion"] = self.version.to_string().into();
        if meta["uid"].is_null() {
            meta["uid"] = format!("uid-{}", self.version).into();
        }
        self.objects.insert(path.to_owned(), object.clone());
        object
    }

    /// Executes a request. Merges any patch into the object. Of all patches, only a forced apply without a uid creates a
    /// missing object.
    fn answer(&mut self, asked: &Asked) -> (StatusCode, Value) {
        let path = asked.path.trim_end_matches("/status").to_owned();
        if asked.method == Method::POST {
            return self.create(&path, asked);
        }
        // An object's name follows the namespace and the kind.
        let named = path.split("/namespaces/").nth(1).unwrap_or_default();
        if named.split('/').count() < 3 {
            return (StatusCode::OK, self.list(&path, &asked.query));
        }
        let Some(live) = self.objects.get(&path).cloned() else {
            let applies = asked.method == Method::PATCH && asked.query.contains("force=true");
            return match applies && asked.body["metadata"]["uid"].is_null() {
                true => (StatusCode::CREATED, self.store(&path, asked.body.clone())),
                false => refusal(StatusCode::NOT_FOUND, "NotFound"),
            };
        };
        if asked.method == Method::GET {
            return (StatusCode::OK, live);
        }
        let wanted = match asked.method == Method::DELETE {
            true => &asked.body["preconditions"],
            false => &asked.body["metadata"],
        };
        for field in ["uid", "resourceVersion"] {
            if !wanted[field].is_null() && wanted[field] != live["metadata"][field] {
                return refusal(StatusCode::CONFLICT, "Conflict");
            }
        }
        if (asked.method == Method::DELETE || asked.query.contains("force=true"))
            && let Some(refusal) = self.refusal(&path, asked)
        {
            return refusal;
        }
        if asked.method == Method::DELETE {
            self.objects.remove(&path);
            return (StatusCode::OK, live);
        }
        let mut changed = live;
        merge(&mut changed, &asked.body);
        // Server-side apply removes fields that the sole manager of the status no longer sets.
        if asked.path.ends_with("/status") && asked.query.contains("force=true") {
            changed["status"] = asked.body["status"].clone();
        }
        (StatusCode::OK, self.store(&path, changed))
    }

    /// Creates an object. A dry run only checks it.
    fn create(&mut self, path: &str, asked: &Asked) -> (StatusCode, Value) {
        let mut object = asked.body.clone();
        let prefix = text(&object["metadata"]["generateName"]);
        if !prefix.is_empty() {
            object["metadata"]["name"] = format!("{prefix}{}", self.version).into();
        }
        let path = format!("{path}/{}", text(&object["metadata"]["name"]));
        if let Some(refusal) = self.refusal(&path, asked) {
            return refusal;
        }
        if self.objects.contains_key(&path) {
            return refusal(StatusCode::CONFLICT, "AlreadyExists");
        }
        let dry = asked.query.contains("dryRun=All");
        let made = match dry {
            true => object,
            false => self.store(&path, object),
        };
        (StatusCode::CREATED, made)
    }

    fn refusal(&self, path: &str, asked: &Asked) -> Option<(StatusCode, Value)> {
        let body = asked.body.to_string();
        let refused = self.refused.as_ref()?;
        let meant = path.ends_with(&refused.end) && body.contains(&refused.part);
        meant.then(|| refusal(refused.code, &refused.words))
    }

    /// Lists the objects below a path whose labels match the selector.
    fn list(&self, path: &str, query: &str) -> Value {
        let below = format!("{path}/");
        let of = self
            .objects
            .iter()
            .filter(|(path, _)| path.starts_with(&below));
        let selector = query.split("labelSelector=").nth(1).unwrap_or_default();
        let selector = selector.split('&').next().unwrap_or_default();
        let selector = selector.replace("%2F", "/").replace("%3D", "=");
        let labeled = |object: &&Value| match selector.split_once('=') {
            Some((key, value)) => object["metadata"]["labels"][key] == value,
            None => true,
        };
        let items: Vec<&Value> = of.map(|(_, object)| object).filter(labeled).collect();
        json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items})
    }
}

/// Merges `more` into `base` as a JSON merge patch: a null removes a field, and a list replaces a list.
pub(super) fn merge(base: &mut Value, more: &Value) {
    match (base, more) {
        (Value::Object(base), Value::Object(more)) => {
            for (key, value) in more {
                if value.is_null() {
                    base.remove(key);
                } else {
                    merge(base.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (base, more) => *base = more.clone(),
    }
}

impl tower_service::Service<Request<Body>> for FakeApi {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let fake = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect_bytes().await.unwrap_or_default();
            let asked = Asked {
                method: head.method,
                path: head.uri.path().to_owned(),
                query: head.uri.query().unwrap_or_default().to_owned(),
                body: serde_json::from_slice(&body).unwrap_or_default(),
            };
            let (code, answer) = fake.0.lock().answer(&asked);
            let body = Body::from(answer.to_string().into_bytes());
            let mut response = Response::new(body);
            *response.status_mut() = code;
            Ok(response)
        })
    }
}
