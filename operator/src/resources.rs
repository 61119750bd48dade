//! Builders of the objects that belong to a cluster. They are pure: who applies them lives elsewhere.
