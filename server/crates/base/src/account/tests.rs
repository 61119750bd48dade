//! Tests the rules by which charges and permits are granted.

use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use super::*;

const WHAT: Resource = Resource::Passwords;
const LIMIT: usize = WHAT.limit();

fn totals() -> Totals {
    Totals::register(&Register::default(), u64::MAX)
}

fn charged(totals: &Totals) -> usize {
    totals.0.charged[WHAT as usize].charged.load(Relaxed)
}

fn poll<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}

#[test]
fn charges_are_released_and_an_only_charge_can_exceed_the_limit() {
    let totals = totals();
    let account = totals.open();
    let vast = account.hold(WHAT, 10 * LIMIT).expect("no other charge");
    assert!(totals.open().hold(WHAT, 1).is_none());
    drop(vast);
    let mut held = account.hold_later(WHAT);
    assert!(held.grow(1) && held.grow(LIMIT / 2 - 1) && !held.grow(1));
    held.shrink(3);
    assert!(held.grow(3) && !held.grow(1));
    drop(held);
    assert_eq!(charged(&totals), 0);
    assert_eq!(totals.0.charged[WHAT as usize].refused.get(), 3);
}

#[test]
fn the_connection_that_holds_the_most_is_refused_first() {
    let totals = totals();
    let accounts: Vec<Account> = (0..3).map(|_| totals.open()).collect();
    let fill = |account: &Account| std::iter::from_fn(|| account.hold(WHAT, 1)).collect::<Vec<_>>();
    // The first connection holds half of the limit, the second connection half of the remaining half, and so on.
    let mut held: Vec<Vec<Charge>> = accounts.iter().map(fill).collect();
    let counts: Vec<usize> = held.iter().map(Vec::len).collect();
    assert_eq!(counts, [LIMIT / 2, LIMIT / 4, LIMIT / 8]);
    let clone = accounts[2].clone();
    assert!(clone.hold(WHAT, 1).is_none(), "clones share the charges");
    let newcomer = totals.open().hold(WHAT, LIMIT / 16);
    assert!(newcomer.is_some(), "a small connection gets a share");
    held[0].truncate(LIMIT / 4);
    assert!(accounts[0].hold(WHAT, 1).is_some());
    drop((held, newcomer));
    assert_eq!(charged(&totals), 0);
}

#[test]
fn a_small_memory_budget_lowers_the_limits_on_bytes_and_calls() {
    let totals = Totals::register(&Register::default(), 256 << 20);
    for (what, limit) in [
        (Resource::Requests, 32 << 20),
        (Resource::Answers, 64 << 20),
        (Resource::Proposals, 32 << 20),
        (Resource::Watchers, 64 << 20),
        (Resource::Calls, 4096),
        (Resource::Passwords, LIMIT),
    ] {
        let account = totals.open();
        let half = account.hold(what, limit / 2).expect("no other charge");
        assert!(account.hold(what, 1).is_none(), "{what:?}");
        assert!(totals.open().hold(what, limit / 4).is_some(), "{what:?}");
        drop(half);
    }
    for what in [Resource::Requests, Resource::Calls] {
        assert_eq!(what.limit_within(1 << 40), what.limit());
    }
}

#[test]
fn a_connection_has_a_share_of_the_permits_and_waits_for_its_own_jobs() {
    let totals = totals();
    let [one, two, three] = [(); 3].map(|()| totals.open());
    let now = |account: &Account| poll(pin!(account.permit(JobKind::Read)));
    let first = [now(&one), now(&one)].map(|permit| permit.expect("its half"));
    assert!(now(&one).is_none() && one.try_permit(JobKind::Read).is_none());
    let mut third = pin!(one.permit(JobKind::Read));
    assert!(poll(third.as_mut()).is_none());
    let others = [now(&two), now(&three)].map(|permit| permit.expect("the rest"));
    assert!(now(&two).is_none() && three.try_permit(JobKind::Read).is_none());
    assert!(three.try_permit(JobKind::Scan).is_some(), "another kind");
    drop(others);
    assert!(poll(third.as_mut()).is_none(), "the first has its half");
    drop(first);
    assert!(poll(third.as_mut()).is_some());
    let permits = |jobs: &[Semaphore; 6]| jobs[JobKind::Read as usize].available_permits();
    assert_eq!((permits(&totals.0.jobs), permits(&one.0.jobs)), (4, 2));
}

#[test]
fn many_jobs_of_one_connection_delay_another_by_one_round() {
    let totals = totals();
    let [busy, other] = [(); 2].map(|()| totals.open());
    let round = JobKind::Message.limits(totals.0.processors).0;
    let permit = |account: &Account| {
        let account = account.clone();
        Box::pin(async move { account.permit(JobKind::Message).await })
    };
    let mut waiting: Vec<_> = (0..50 * round).map(|_| permit(&busy)).collect();
    let mut running: Vec<Permit> = waiting
        .iter_mut()
        .filter_map(|it| poll(it.as_mut()))
        .collect();
    assert_eq!(running.len(), round);
    waiting.drain(..round);
    let mut own = permit(&other);
    assert!(poll(own.as_mut()).is_none());
    drop(running.pop());
    assert!(poll(own.as_mut()).is_some());
    // A connection that stops waiting leaves the queue.
    drop((waiting, running));
    assert_eq!(
        totals.0.jobs[JobKind::Message as usize].available_permits(),
        round
    );
}
