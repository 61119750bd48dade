//! One member as a process: flags, its names, health, how it stops, and etcdctl.

mod etcdctl;
mod flags;
mod health;
mod names;
mod settings;
mod stop;
mod top;
