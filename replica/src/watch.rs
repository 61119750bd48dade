//! Who is to be woken when something changes; no events and no queues (I7).
