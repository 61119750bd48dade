//! Counts the resources that a connection holds and reserves them from the service's budgets. Each unit belongs to a
//! [`ResourceCharge`], which releases it on drop, so the count always equals the sum of the charges.

use std::{cell::Cell, rc::Rc};

use crate::{Resource, Service};

/// Counts the units of one resource that a connection holds: calls for [`Resource::Calls`], otherwise bytes.
#[derive(Debug)]
pub(crate) struct ResourceMeter<S: Service> {
    service: Rc<S>,
    resource: Resource,
    /// Number of units that need no reservation.
    free: usize,
    /// Minimum number of units in a reservation, so that small charges rarely call the service.
    step: usize,
    used: Cell<usize>,
    reserved: Cell<usize>,
}

impl<S: Service> ResourceMeter<S> {
    /// Creates a meter without charges. Units beyond the first `free` are reserved in steps of at least `step`.
    pub(crate) fn new(service: Rc<S>, resource: Resource, free: usize, step: usize) -> Rc<Self> {
        Rc::new(Self {
            service,
            resource,
            free,
            step,
            used: Cell::new(0),
            reserved: Cell::new(0),
        })
    }

    pub(crate) fn used(&self) -> usize {
        self.used.get()
    }

    /// Adds units. If they exceed the reservation, reserves a complete step or, if the service refuses the step, only the
    /// missing units. Returns `false` and changes nothing if the service refuses both.
    fn take(&self, units: usize) -> bool {
        let used = self.used.get().saturating_add(units);
        let needed = used.saturating_sub(self.free);
        let reserved = self.reserved.get();
        if needed > reserved {
            let step = (needed - reserved).max(self.step);
            if self.service.reserve(self.resource, step) {
                self.reserved.set(reserved + step);
            } else if step > needed - reserved
                && self.service.reserve(self.resource, needed - reserved)
            {
                self.reserved.set(needed);
            } else {
                return false;
            }
        }
        self.used.set(used);
        true
    }

    /// Subtracts units. Releases the unused part of the reservation if no reservation is needed, or if that part is at least
    /// four steps.
    fn release(&self, units: usize) {
        let used = self.used.get() - units;
        self.used.set(used);
        let needed = used.saturating_sub(self.free);
        let excess = self.reserved.get() - needed;
        if excess > 0 && (needed == 0 || excess >= 4 * self.step) {
            self.service.release(self.resource, excess);
            self.reserved.set(needed);
        }
    }
}

impl<S: Service> Drop for ResourceMeter<S> {
    fn drop(&mut self) {
        if self.reserved.get() > 0 {
            self.service.release(self.resource, self.reserved.get());
        }
    }
}

/// The units that one holder uses, released on drop.
#[derive(Debug)]
pub(crate) struct ResourceCharge<S: Service> {
    meter: Rc<ResourceMeter<S>>,
    units: usize,
}

impl<S: Service> ResourceCharge<S> {
    pub(crate) fn new(meter: &Rc<ResourceMeter<S>>) -> Self {
        Self { meter: meter.clone(), units: 0 }
    }

    pub(crate) fn units(&self) -> usize {
        self.units
    }

    /// Changes the charge to this number of units. Returns `false` and changes nothing if a reservation is refused.
    pub(crate) fn set(&mut self, units: usize) -> bool {
        if units > self.units {
            if !self.meter.take(units - self.units) {
                return false;
            }
        } else {
            self.meter.release(self.units - units);
        }
        self.units = units;
        true
    }
}

impl<S: Service> Drop for ResourceCharge<S> {
    fn drop(&mut self) {
        self.meter.release(self.units);
    }
}
