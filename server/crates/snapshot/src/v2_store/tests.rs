//! A store that etcd 3.4 wrote, and what etcd answered.
