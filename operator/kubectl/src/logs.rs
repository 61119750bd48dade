//! `logs`: prints the logs of members, with the name of the member before each line.

use futures_util::{
    AsyncBufReadExt as _, StreamExt as _,
    stream::{self, BoxStream, select_all},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt,
    api::{ListParams, LogParams},
};
use witan_crd::{CLUSTER, CONTAINER};

use super::{
    command::LogFlags,
    error::PluginError,
    output::{print, tell},
    target::Target,
};

pub(super) async fn run(target: &Target, flags: &LogFlags) -> Result<(), PluginError> {
    let params = LogParams {
        container: Some(CONTAINER.to_owned()),
        follow: flags.follow,
        previous: flags.previous,
        tail_lines: Some(flags.tail),
        ..LogParams::default()
    };
    let all = members(target, flags).await?;
    let mut streams = Vec::new();
    for member in &all {
        let prefix = if flags.member.is_some() {
            String::new()
        } else {
            format!("{member} ")
        };
        match lines(target, member, &params, prefix).await {
            Ok(lines) => streams.push(lines),
            // A pod that has not started has no log. The logs of the others can show why.
            Err(error) if all.len() > 1 => tell(&error.to_string()),
            Err(error) => return Err(error),
        }
    }
    if streams.is_empty() {
        return Err(words!("no member of {} has a log", flags.cluster));
    }
    let mut merged = match flags.follow {
        true => select_all(streams).boxed(),
        false => stream::iter(streams).flatten().boxed(),
    };
    while let Some(line) = merged.next().await {
        match line {
            Ok(line) => print(&line)?,
            Err(error) if all.len() > 1 => tell(&error.to_string()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn members(target: &Target, flags: &LogFlags) -> Result<Vec<String>, PluginError> {
    let own = ListParams::default().labels(&format!("{CLUSTER}={}", flags.cluster));
    let pods: Vec<Pod> = target.list(&own, "pods").await?;
    let names: Vec<_> = pods.iter().map(ResourceExt::name_any).collect();
    let Some(member) = &flags.member else {
        if names.is_empty() {
            // If the cluster does not exist, this call returns a better error.
            target.cluster(&flags.cluster).await?;
            return Err(words!("{} has no pod", flags.cluster));
        }
        return Ok(names);
    };
    if names.contains(member) {
        return Ok(vec![member.clone()]);
    }
    let (cluster, names) = (&flags.cluster, names.join(", "));
    Err(words!(
        "{cluster} has no pod {member}; its pods are {names}"
    ))
}

async fn lines(
    target: &Target,
    member: &str,
    params: &LogParams,
    prefix: String,
) -> Result<BoxStream<'static, Result<String, PluginError>>, PluginError> {
    let reader = target.api::<Pod>().log_stream(member, params).await;
    let reader =
        reader.map_err(|error| PluginError::api(format!("read the log of {member}"), error))?;
    let member = member.to_owned();
    let lines = reader.lines().map(move |line| match line {
        Ok(line) => Ok(format!("{prefix}{line}\n")),
        Err(error) => Err(words!("the log of {member} ended: {error}")),
    });
    Ok(lines.boxed())
}
