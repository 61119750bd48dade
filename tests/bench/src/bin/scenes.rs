//! Compares Witan with etcd in scenes: `scenes [--seconds N] [--rounds N] [--servers witan,etcd36,etcd34] [--witan
//! after=PATH,before=PATH] [--scenes watch-one,…]` plays each scene on a new server of each program. Prints a table per scene,
//! with a line for each program and round.
#![expect(clippy::print_stdout, reason = "a program that prints tables")]

use std::{env, process::ExitCode, time::Duration};

use witan_bench::{
    program::{Program, programs, turns},
    scene::Scene,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Options {
    length: Duration,
    rounds: usize,
    servers: Vec<Program>,
    scenes: Vec<Scene>,
}

fn main() -> ExitCode {
    witan_bench::run(
        options(env::args().skip(1)),
        "bin/scenes.rs",
        async |options| {
            play(&options).await;
        },
    )
}

async fn play(options: &Options) {
    for scene in &options.scenes {
        println!("{}\n\n{}", scene.label(), scene.head());
        for at in turns(options.servers.len(), options.rounds) {
            let program = &options.servers[at];
            let launch = program.launch();
            let line = scene.play(launch, options.length).await;
            println!("| {} | {line}", program.name);
        }
        println!();
    }
}

fn options(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        length: Duration::from_secs(5),
        rounds: 1,
        servers: Vec::new(),
        scenes: Scene::ALL.to_vec(),
    };
    let (mut servers, mut builds) = ("witan,etcd36".to_owned(), None);
    while let Some(flag) = args.next() {
        let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--seconds" => {
                let seconds = value.parse().map_err(|_| format!("no number: {value}"))?;
                options.length = Duration::from_secs(seconds);
            }
            "--rounds" => {
                options.rounds = value.parse().map_err(|_| format!("no number: {value}"))?;
            }
            "--servers" => servers = value,
            "--witan" => builds = Some(value),
            "--scenes" => {
                options.scenes = value.split(',').map(scene).collect::<Result<_, _>>()?;
            }
            _ => return Err(format!("no such flag: {flag}")),
        }
    }
    options.servers = programs(&servers, builds.as_deref())?;
    Ok(options)
}

fn scene(name: &str) -> Result<Scene, String> {
    Scene::ALL
        .into_iter()
        .find(|scene| scene.name() == name)
        .ok_or_else(|| format!("no such scene: {name}"))
}
