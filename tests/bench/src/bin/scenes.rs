//! Compares Witan with etcd in scenes: plays each scene on a new server of each program. Prints a table per scene, with a line
//! for each program and round. `--help` lists the options.
#![expect(
    clippy::print_stdout,
    reason = "the program prints its results as tables"
)]

use std::time::Duration;

use clap::{Parser, ValueEnum as _};
use witan_bench::{
    program::{Selection, turns},
    scene::Scene,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Compares Witan with etcd in scenes.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    selection: Selection,
    /// Seconds that a scene takes.
    #[arg(long, default_value = "5", value_parser = witan_bench::seconds)]
    seconds: Duration,
    /// Number of times that each program plays a scene.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// The scenes; by default, all.
    #[arg(long, value_delimiter = ',')]
    scenes: Vec<Scene>,
}

fn main() {
    witan_bench::run(play(&Arguments::parse()));
}

async fn play(arguments: &Arguments) {
    let programs = arguments.selection.programs();
    let scenes = match arguments.scenes.as_slice() {
        [] => Scene::value_variants(),
        chosen => chosen,
    };
    for scene in scenes {
        println!("{}\n\n{}", scene.label(), scene.head());
        for at in turns(programs.len(), arguments.rounds) {
            let program = &programs[at];
            let line = scene.play(program.launch(), arguments.seconds).await;
            println!("| {} | {line}", program.name);
        }
        println!();
    }
}
