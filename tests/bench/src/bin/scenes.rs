//! Scenes beside etcd: `scenes [--seconds N] [--servers witan,etcd36,etcd34] [--scenes watch-one,…]`
//! plays each of them on a fresh server of each kind and prints a table per scene.
#![allow(clippy::print_stdout, reason = "a program that prints tables")]

use std::{env, process::ExitCode, time::Duration};

use tokio::task::LocalSet;
use witan_bench::scene::Scene;
use witan_e2e::{Kind, Launch};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Options {
    length: Duration,
    servers: Vec<Kind>,
    scenes: Vec<Scene>,
}

fn main() -> ExitCode {
    let options = match options(env::args().skip(1)) {
        Ok(options) => options,
        Err(wrong) => {
            println!("{wrong}; see the head of tests/bench/src/bin/scenes.rs");
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime needs only a thread");
    LocalSet::new().block_on(&runtime, play(&options));
    ExitCode::SUCCESS
}

async fn play(options: &Options) {
    for scene in &options.scenes {
        println!("{}\n\n{}", scene.name(), scene.head());
        for kind in &options.servers {
            let server = Launch::new(*kind).start();
            let line = scene.play(&server, options.length).await;
            println!("| {} | {line}", kind.name());
        }
        println!();
    }
}

fn options(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        length: Duration::from_secs(5),
        servers: vec![Kind::Witan, Kind::Etcd36],
        scenes: Scene::ALL.to_vec(),
    };
    while let Some(flag) = args.next() {
        let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
        let names = value.split(',');
        match flag.as_str() {
            "--seconds" => {
                let seconds = value.parse().map_err(|_| format!("no number: {value}"))?;
                options.length = Duration::from_secs(seconds);
            }
            "--servers" => options.servers = names.map(kind).collect::<Result<_, _>>()?,
            "--scenes" => options.scenes = names.map(scene).collect::<Result<_, _>>()?,
            _ => return Err(format!("no such flag: {flag}")),
        }
    }
    Ok(options)
}

fn kind(name: &str) -> Result<Kind, String> {
    Kind::named(name).ok_or_else(|| format!("no such server: {name}"))
}

fn scene(name: &str) -> Result<Scene, String> {
    Scene::ALL
        .into_iter()
        .find(|scene| scene.name() == name)
        .ok_or_else(|| format!("no such scene: {name}"))
}
